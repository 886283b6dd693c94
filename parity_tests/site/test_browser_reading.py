"""Reading a page: twins of names, measured errors, values step by step, panels, small screens."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.site_in_browser import MEASURED, NARROW, PLANTED, Reader

PAGE = f"pages/{MEASURED}.html"
LIT = """[...document.querySelectorAll("b.on, b.flow")].map((b) => [
  b.textContent, b.closest(".L") ? "left" : "right", b.classList.contains("on") ? "on" : "flow"])"""


@pytest.fixture
def page(reader: Reader) -> Any:
    return reader.open(PAGE)


def lit(tab: Any) -> set[tuple[str, str, str]]:
    return {tuple(entry) for entry in tab.evaluate(LIT)}


def test_a_name_under_the_mouse_lights_its_twin_and_what_is_computed_from_it(page: Any) -> None:
    cell = '[id="rnn_cell"] .L b[data-n="{}"]'
    page.hover(cell.format("a") + " >> nth=0")
    assert {("a", "left", "on"), ("a", "right", "on")} <= lit(page)
    assert ("h", "left", "flow") in lit(page)
    page.mouse.move(5, 5)
    assert not lit(page)


def test_a_click_pins_a_name_and_escape_lets_go(page: Any) -> None:
    page.click('[id="rnn_cell"] .R b[data-n="a"] >> nth=0')
    page.mouse.move(5, 5)
    assert ("a", "left", "on") in lit(page)
    page.keyboard.press("Escape")
    assert not lit(page)


def test_arrows_walk_names_and_x_crosses_to_the_twin(page: Any) -> None:
    focus = "[document.activeElement.dataset.n, !!document.activeElement.closest('.L')]"
    page.focus('[id="rnn_cell"] b[tabindex="0"]')
    assert page.evaluate(focus) == ["rnn_cell", True]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focus) == ["a", True]
    assert ("a", "right", "on") in lit(page)
    page.keyboard.press("x")
    assert page.evaluate(focus) == ["a", False]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focus)[1] is False
    assert (
        page.evaluate('document.querySelectorAll(\'[id="rnn_cell"] b[tabindex="0"]\').length') == 1
    )


def test_a_name_leads_to_its_definition_on_this_page_and_on_another(page: Any) -> None:
    page.dblclick('[id="TanhLayers._cell"] .L b[data-n="rnn_cell"] >> nth=0')
    assert page.url.endswith("rnn.html#rnn_cell")
    page.click('[id="RNN.draw_noise"] .L b[data-n="draw_masks"] >> nth=0')
    page.wait_for_function("window.SEARCH")
    page.keyboard.press("g")
    page.wait_for_url("**/recurrent.masks.html#draw_masks")


def test_every_line_that_was_measured_shows_its_error_in_the_chosen_precision(page: Any) -> None:
    chip = ".chip:not(.alone):not(.zero) >> nth=0"
    double = page.inner_text(chip)
    assert re.search(r"e−1[5-7]$", double)
    assert page.inner_text("[data-fact=verdict]") == "Agrees"
    page.click("[data-dtype=float32]")
    assert re.search(r"e−0?[6-8]$", page.inner_text(chip))
    assert "dtype=float32" in page.url
    for name in json.loads(page.inner_text("#measured-data"))["not_reached"]:
        assert page.inner_text(f'[id="{name}"] .status') == "not reached by this run"


def test_a_chip_tells_tensors_shapes_and_bounds(page: Any) -> None:
    page.focus(".chip:not(.alone) >> nth=0")
    assert page.is_visible("#tip")
    assert re.search(r"\(\d+(, \d+)*\)", page.inner_text("#tip"))
    assert "1e−13" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


def test_an_error_beyond_its_bound_is_red_with_the_command_that_repeats_it(
    reader: Reader, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(reader.site, site)
    plant(site / PAGE)
    reader.site = site
    tab = reader.open(PAGE)
    assert tab.locator(".chip.bad").count() == 1
    assert tab.inner_text("[data-fact=verdict]") == "Diverges"
    tab.click(".chip.bad")
    assert "diptych check 'rnn'" in tab.inner_text("#tip")
    assert tab.locator("#rug circle.bad").count() == 1


def test_a_planted_fault_is_shown_at_its_line_and_where_the_report_diverges(
    reader: Reader,
) -> None:
    tab = reader.open("pages/break.html")
    links = [link for link in tab.evaluate("[...document.links].map((a) => a.href)") if "?" in link]
    assert links
    for link in links:
        tab = reader.open("pages/" + link.partition("pages/")[2])
        tab.wait_for_selector(".broken")
        assert PLANTED in tab.url
        assert tab.is_visible(".broken-bar")


def test_a_shape_alone_leads_by_key_to_the_variant_that_compares_it(
    reader: Reader, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(reader.site, site)
    place, name = add_variant(site / PAGE)
    reader.site = site
    tab = reader.open(PAGE)
    assert not tab.is_visible(".other-variant")
    chip = f'.g[data-g="{place}"] .chip'
    tab.focus(f"{chip}.alone")
    text = tab.inner_text("#tip")
    assert "not compared in this variant" in text
    assert re.search(rf"Compared in {MEASURED}\[other\]: {re.escape(name)} \d", text)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.dataset.variant") == f"{MEASURED}[other]"
    tab.keyboard.press("Enter")
    assert tab.url.endswith("?variant=rnn%5Bother%5D")
    assert tab.locator(f"{chip}:focus:not(.alone)").count() == 1
    assert f"recorded for {MEASURED}. " in tab.inner_text(".other-variant")


def test_with_a_planted_fault_no_line_is_green_by_a_run_without_it(reader: Reader) -> None:
    tab = reader.open("pages/recurrent.network.html")
    failures = [["value", f"{MEASURED}.dropout#2", 0.5]]
    fault = {"pair": MEASURED, "failures": failures, "verdict": "diverges"}
    tab.evaluate("(fault) => window.Diptych.showFault(fault)", fault)
    assert tab.locator(".g:not(.head) .chip").count()
    assert not tab.locator(".g:not(.head) .chip:not(.stale)").count()
    assert tab.locator('[data-def="Dropout.forward"] > .g.head .chip.bad').count() == 1
    assert tab.inner_text("[data-fact=verdict]") == "Diverges"
    tab.focus(".g:not(.head) .chip.stale >> nth=0")
    assert "Not measured with this fault" in tab.inner_text("#tip")
    tab.click("[data-dtype=float32]")
    assert not tab.locator(".chip:not(.stale)").count()
    assert tab.inner_text("[data-fact=verdict]") == "Not measured"


def edit_measurements(path: Path, edit: Callable[[Any], Any]) -> Any:
    """Change the measurements of a page by a function, and return what it returns."""
    pattern = re.compile(r'(<script type="application/json" id="measured-data">)(.*?)(</script>)')
    text = path.read_text()
    (match,) = pattern.finditer(text)
    data = json.loads(match[2])
    result = edit(data)
    path.write_text(text[: match.start(2)] + json.dumps(data) + text[match.end(2) :])
    return result


def add_variant(path: Path) -> tuple[str, str]:
    """Add a variant that compares one tensor more: the place and name of it."""

    def edit(data: Any) -> tuple[str, str]:
        other, rows = f"{MEASURED}[other]", data["rows"]
        data["variants"].append(other)
        data["verdicts"][other] = data["verdicts"][MEASURED]
        rows[other] = json.loads(json.dumps(rows[MEASURED]))
        place = next(p for p, group in rows[MEASURED].items() if len(group) == 1 and group[0][3])
        rows[MEASURED][place][0][3:7] = [None] * 4
        return place, rows[other][place][0][0]

    return edit_measurements(path, edit)


def plant(path: Path) -> None:
    """Write an error of 2e-3 into the measurements of a page."""

    def edit(data: Any) -> None:
        rows = data["rows"][MEASURED]
        row = next(row for place in rows.values() for row in place if row[3])
        row[0], row[3] = "planted", 2e-3
        data["verdicts"][MEASURED]["float64"][0] = "planted is off by 2e-3"

    edit_measurements(path, edit)


def test_arrow_keys_step_through_the_values_and_light_the_line(page: Any) -> None:
    steps = json.loads(page.inner_text("#values-data"))["steps"]
    selected = ".tape [aria-selected=true]"
    page.focus(selected)
    page.keyboard.press("ArrowRight")
    assert page.inner_text(f"{selected} b") == steps[1]["name"]
    assert page.get_attribute(".g.now", "data-g") == steps[1]["group"]
    page.keyboard.press("End")
    assert page.inner_text(f"{selected} b") == steps[-1]["name"]
    page.keyboard.press("ArrowLeft")
    assert page.inner_text(f"{selected} b") == steps[-2]["name"]
    assert f"step={len(steps) - 1}" in page.url


def test_steps_of_one_name_tell_their_lines(reader: Reader) -> None:
    """A name that a phase assigns on several lines is labelled with the line."""
    tab = reader.open("pages/recurrent.network.html")
    steps = json.loads(tab.inner_text("#values-data"))["steps"]
    labels = tab.evaluate("[...document.querySelectorAll('.tape button')].map((b) => b.innerText)")
    assert len(labels) == len(steps)
    lines: dict[tuple[str, str], set[int]] = {}
    for step in steps:
        lines.setdefault((step["phase"], step["name"]), set()).add(step["line"])
    assert any(len(group) > 1 for group in lines.values())
    for step, label in zip(steps, labels, strict=True):
        several = len(lines[step["phase"], step["name"]]) > 1
        assert (f"line {step['line']}" in label) == several, label


def test_the_maps_show_both_panels_and_read_a_number_by_key(page: Any) -> None:
    steps = json.loads(page.inner_text("#values-data"))["steps"]
    k = next(k for k, step in enumerate(steps) if step["difference"] and len(step["shape"]) > 1)
    page.click(f".tape button >> nth={k}")
    assert page.locator(".map .cells").count() == 3
    page.focus(".map .cells >> nth=0")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".under").startswith(f"{steps[k]['name']}[0, 1]")
    assert page.locator(".cells .cursor").count() == 3


def test_the_maps_follow_the_code_and_return(page: Any) -> None:
    page.click(".follow")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)  # the page scrolls
    box = page.locator(".g.now").bounding_box()
    assert 0 < box["y"] < page.locator(".player").bounding_box()["y"]
    page.keyboard.press("Escape")
    assert page.locator(".docked").count() == 0


def test_one_panel_alone_and_both(page: Any) -> None:
    right = '[id="rnn_cell"] .R .ln >> nth=0'
    page.click("[data-panels=left]")
    assert not page.is_visible(right)
    page.click("[data-panels=both]")
    assert page.is_visible(right)


def test_the_theme_is_remembered_and_a_link_may_choose_it(reader: Reader) -> None:
    tab = reader.open(PAGE)
    colour: Callable[[], str] = lambda: tab.evaluate("getComputedStyle(document.body).color")  # noqa: E731
    light = colour()
    tab.click(".theme")
    dark = colour()
    assert dark != light
    reader.open("pages/lstm.html")
    assert colour() == dark
    reader.open(f"{PAGE}?theme=light")
    assert colour() == light


def test_the_contents_of_a_phone_open_and_close(reader: Reader) -> None:
    reader.tab.set_viewport_size(NARROW)
    tab = reader.open(PAGE)
    assert not tab.is_visible(".side .tree")
    tab.click(".menu")
    tab.click('.inside a[href="#RNN.features"]')
    assert not tab.is_visible(".side .tree")
    assert tab.url.endswith("#RNN.features")
