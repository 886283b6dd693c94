"""The pictures in a browser: sliders, switches, mouse and arrow keys show what Python computes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from helpers.site_in_browser import NARROW, Reader

from diptych.site.pictures import convolutions, optimisers, pixels, schemes, unrolled

CELLS = "path => path.getAttribute('d').split('M').length - 1"


def put(tab: Any, control: str, value: int) -> None:
    """Move a slider of the page by keys, as a reader without a mouse does."""
    slider = tab.locator(control)
    slider.focus()
    slider.press("Home")
    for _ in range(value):
        slider.press("ArrowRight")


def test_the_sliders_of_the_masks_show_the_bits_of_their_seed_and_rate(reader: Reader) -> None:
    tab = reader.open("pages/lstm.html")
    put(tab, '#masks input[name="seed"]', 4)
    put(tab, '#masks input[name="rate"]', 3)
    data = schemes.scheme_masks("lstm").data
    raw = np.frombuffer(base64.b64decode(data["bits"]), np.uint8)
    block = raw.reshape(len(schemes.RATES), len(schemes.SEEDS), data["bytes"])[3, 4]
    bits, start = np.unpackbits(block), 0
    for index, (steps, units) in enumerate(data["masks"]):
        mask = bits[start : start + steps * units].reshape(steps, units)
        start += steps * units
        shape = tab.locator(f"#mask-{index}").get_attribute("d")
        assert sorted(shape.split("M")) == sorted(schemes.cells(mask).split("M"))
    assert tab.locator("#masks output").all_text_contents() == ["4", "0.7"]
    assert tab.locator('#masks input[name="rate"]').get_attribute("aria-valuetext") == "0.7"


def test_a_switch_shows_one_drawing_by_mouse_and_by_keys(reader: Reader) -> None:
    tab = reader.open("pages/lstm.html")
    shown = '#unrolled [data-switch-name="scheme"]:not([hidden])'
    assert tab.locator(shown).get_attribute("data-when") == "per_step"
    tab.click('#unrolled label:has(input[value="recurrent"])')
    assert tab.locator(shown).get_attribute("data-when") == "recurrent"
    tab.keyboard.press("ArrowRight")
    assert tab.locator(shown).get_attribute("data-when") == "none"
    assert tab.locator(shown).count() == 1
    edges = tab.locator(f"{shown} .edge:not(.bare)").count()
    assert edges == 0
    tab.keyboard.press("ArrowRight")  # back to the first
    assert tab.locator(f"{shown} .edge:not(.bare)").count() == 3 * unrolled.STEPS


def test_the_field_follows_the_mouse_the_keys_and_the_number_of_layers(reader: Reader) -> None:
    tab = reader.open("pages/autoregressive.stacked_pixel_cnn.html")
    tab.click('#fields label:has(input[value="raster"])')
    put(tab, '#fields input[name="depth"]', 2)
    image = tab.locator("#fields svg.fields")
    image.focus()
    for _ in range(2):
        image.press("ArrowLeft")
    image.press("ArrowUp")
    row, column = pixels.FIRST[0] - 1, pixels.FIRST[1] - 2
    assert image.locator("path.read").evaluate_all(f"l => l.map({CELLS})") == read(row, column, 3)
    corner = pixels.CELL * (pixels.WIDTH - 0.5), pixels.CELL * (pixels.HEIGHT - 0.5)
    box = image.bounding_box()
    scale = box["width"] / image.evaluate("i => i.viewBox.baseVal.width")
    tab.mouse.move(box["x"] + scale * corner[0], box["y"] + scale * corner[1])
    expected = read(pixels.HEIGHT - 1, pixels.WIDTH - 1, 3)
    assert image.locator("path.read").evaluate_all(f"l => l.map({CELLS})") == expected
    assert f"reads {sum(expected)} of the 186 before it" in tab.inner_text("#fields")


def read(row: int, column: int, depth: int) -> list[int]:
    """The number of pixels that the raster reads through 1 ... 6 layers, and no more than depth."""
    counts = [0] * len(pixels.DEPTHS)
    for (i, j), least in pixels.depths_of("raster").items():
        inside = 0 <= row + i < pixels.HEIGHT and 0 <= column + j < pixels.WIDTH
        counts[least - 1] += inside and least <= depth
    return counts


def test_a_heat_map_reads_out_the_entry_under_its_cursor(reader: Reader) -> None:
    tab = reader.open("pages/autoregressive.flow.html")
    first = tab.locator("#jacobians svg.heat").nth(1)
    rows = [row.split(",") for row in first.get_attribute("data-rows").split(";")]
    first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        first.press(key)
    note = tab.locator("#jacobians [data-readout]")
    assert note.text_content() == f"∂y3/∂z2 = {rows[2][1].replace('-', '−')}"
    box = first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 16, box["y"] + box["height"] / 16)
    assert note.text_content() == f"∂y1/∂z1 = {rows[0][0]}"


def test_a_convolution_shows_the_pixels_of_an_output_and_the_outputs_of_a_pixel(
    reader: Reader,
) -> None:
    tab = reader.open("pages/nn.convolution.html")
    put(tab, '#convolution input[name="kernel"]', 2)
    put(tab, '#convolution input[name="stride"]', 1)
    put(tab, '#convolution input[name="padding"]', 0)
    reads = convolutions.intervals(convolutions.reads((3, 2, 0)))
    image = tab.locator("#convolution svg.convolution")
    image.focus()
    image.press("ArrowUp")
    assert "Output (2, 3) reads 9 input pixels." in tab.inner_text("#convolution")
    for _ in range(3):
        image.press("ArrowLeft")  # beyond the first output stands the last pixel of the row
    image.press("ArrowDown")
    image.press("ArrowLeft")
    readers = [sum(lo <= n <= hi for lo, hi in reads) for n in (2, convolutions.SIZE - 2)]
    assert readers == [2, 1]
    assert "Input pixel (3, 9) is read by 2 outputs." in tab.inner_text("#convolution")


def test_the_paths_of_the_optimisers_follow_the_learning_rate(reader: Reader) -> None:
    tab = reader.open("pages/nn.optim.html")
    put(tab, '#optimisers input[name="lr"]', 4)
    data = optimisers.optimiser_paths().data
    walks = tab.locator("#optimisers svg svg .walk")
    shapes = walks.evaluate_all("l => l.map(p => p.getAttribute('d'))")
    assert shapes == data["paths"][4]
    assert data["sentences"][4] in tab.inner_text("#optimisers")


def test_a_box_of_the_data_flow_leads_to_its_code(reader: Reader) -> None:
    tab = reader.open("pages/mlp_vae.html")
    tab.locator("#flow a", has_text="reparameterize").first.click()
    assert tab.url.endswith("#LogvarPosterior.reparameterize")
    tab.locator("#flow a", has_text="Linear").first.click()
    tab.wait_for_url("**/nn.layers.html#Linear.forward")


def test_on_a_phone_wide_pictures_scroll_within_their_own_box(reader: Reader) -> None:
    for page in ("vlae", "lstm", "autoregressive.flow"):
        tab = reader.open(f"pages/{page}.html")
        tab.set_viewport_size(NARROW)
        assert tab.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
        widths = tab.locator(".picture-scroll").evaluate_all("l => l.map(e => e.clientWidth)")
        assert all(width <= NARROW["width"] for width in widths)
