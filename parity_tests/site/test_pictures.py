"""All pictures of the site: they are small, readable without colours of their own, and linked."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

import diptych.site
from diptych.site import pictures
from diptych.site.pictures.lossy import RECORD, information_preference
from diptych.site.pictures.picture import Picture, power_of_ten, slider, switch, tag
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

STATIC = Path(diptych.site.__file__).parent / "static"
SLUGS = sorted(pictures.PICTURES)


@cache
def pictures_of(slug: str) -> tuple[Picture, ...]:
    """The pictures of a page, computed once for all tests of this file."""
    return tuple(pictures.for_page(slug))


@cache
def anchors() -> dict[str, set[str]]:
    """The anchors of each page: the names of its definitions."""
    pages = [read_page(file) for file in twin_files()]
    return {page.file.slug: {d.name for d in page.walk()} for page in pages}


def test_pictures_stand_on_pages_that_exist_and_other_pages_have_none() -> None:
    assert set(SLUGS) <= {file.slug for file in twin_files()}
    assert pictures.for_page("nn.layers") == []


@pytest.mark.parametrize("slug", SLUGS)
def test_every_link_of_a_picture_leads_to_a_definition(slug: str) -> None:
    addresses = {
        a for p in pictures_of(slug) for a in re.findall(r'href="([^"]+)"', p.html + p.caption)
    }
    own = {f"#{i}" for p in pictures_of(slug) for i in re.findall(r'id="([^"]+)"', p.html)}
    for address in addresses - own:
        page, _, name = address.partition("#")
        assert name in anchors()[page.removesuffix(".html") or slug], address


@pytest.mark.parametrize("slug", SLUGS)
def test_a_picture_takes_its_colours_from_the_page_and_names_itself(slug: str) -> None:
    for picture in pictures_of(slug):
        assert not re.search(r'(fill|stroke|color)[=:]"?\s*(#|rgb|black|white)', picture.html)
        drawings = re.findall(r"<svg [^>]*viewBox[^>]*>", picture.html)
        assert drawings
        assert all('aria-label="' in drawing for drawing in drawings)
        assert all('role="' in drawing for drawing in drawings)
        assert picture.caption.rstrip().endswith(".")
        assert "\\" not in picture.caption


@pytest.mark.parametrize("slug", SLUGS)
def test_ids_are_unique_on_a_page_and_references_within_it_resolve(slug: str) -> None:
    html = "".join(f'<figure id="{p.id}">{p.html}' for p in pictures_of(slug))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert not set(ids) & anchors()[slug]
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_all_pictures_together_take_less_than_a_megabyte() -> None:
    html = sum(len(p.html.encode()) for slug in SLUGS for p in pictures_of(slug))
    data = sum(len(json.dumps(p.data)) for slug in SLUGS for p in pictures_of(slug) if p.data)
    assert html + data < 1_000_000


def test_scripts_are_short_and_do_nothing_on_other_pages() -> None:
    scripts = sorted(STATIC.glob("pictures*.js"))
    assert scripts
    for script in scripts:
        text = script.read_text()
        assert text.count("\n") <= 300
        assert '"use strict";' in text
        assert "fetch(" not in text and "import " not in text
        assert re.search(r"if \(!.*\) return;", text) or "querySelectorAll" in text


def test_a_picture_whose_check_fails_says_so_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Picture:
        raise ValueError("mask 0 of the panels differs <here>")

    first = pictures.PICTURES["nn.convolution"][0]
    monkeypatch.setitem(pictures.PICTURES, "nn.convolution", [broken, first])
    failure, picture = pictures.for_page("nn.convolution")
    assert failure.problem == "ValueError: mask 0 of the panels differs <here>"
    assert "differs &lt;here&gt;" in failure.html
    assert "picture-failure" in failure.html
    assert not picture.problem


@pytest.mark.parametrize("slug", SLUGS)
def test_no_picture_of_the_project_fails(slug: str) -> None:
    assert [p.problem for p in pictures_of(slug) if p.problem] == []


def test_attributes_and_text_are_escaped() -> None:
    assert tag("text", "a < b", class_="x", data_when='"') == (
        '<text class="x" data-when="&#34;">a &lt; b</text>'
    )
    assert tag("rect", x=1.5, y=2.0, hidden=True, id=None, open=False) == (
        '<rect x="1.5" y="2" hidden></rect>'
    )


def test_controls_are_inputs_that_a_keyboard_reaches() -> None:
    assert slider("seed", "Random seed", ["3", "4"], 1).count('type="range"') == 1
    assert 'aria-valuetext="4"' in slider("seed", "Random seed", ["3", "4"], 1)
    radios = switch("scheme", "Scheme", [("a", "A"), ("b", "B")])
    assert radios.count('type="radio"') == 2
    assert radios.count("checked") == 1


def test_small_numbers_are_written_as_powers_of_ten() -> None:
    assert power_of_ten(2.8e-10) == "3 × 10<sup>−10</sup>"
    assert power_of_ten(0.0) == "0"


def test_the_experiment_with_windows_is_drawn_from_its_record() -> None:
    if not RECORD.exists():
        pytest.skip("benchmarks/ is no part of an installed package")
    picture = information_preference()
    windows = json.loads(RECORD.read_text())["metrics"]["results"]["windows"]
    first, last = windows["none"]["test_kl"], windows["5 × 2"]["test_kl"]
    assert f"from {sum(first) / len(first):.1f} nats" in picture.caption
    assert f"to {sum(last) / len(last):.1f} with the window 5 × 2" in picture.caption
    titles = re.findall(r"<title>([^<]+)</title>", picture.html)
    for name, window in windows.items():
        for value in window["test_kl"]:
            assert f"KL, {name}: {value:.3g}" in titles


def test_without_a_record_a_sentence_says_how_to_make_one(tmp_path: Path) -> None:
    picture = information_preference(tmp_path / "lab_lossy.json")
    assert picture.html == ""
    assert "diptych lab lossy" in picture.caption


def test_classes_of_drawings_have_no_style_in_the_rest_of_the_site() -> None:
    """A class such as .tip would be placed and hidden as the hints of the code are."""
    names = {
        name
        for slug in SLUGS
        for p in pictures_of(slug)
        for words in re.findall(r'class="([^"]+)"', p.html)
        for name in words.split()
    }
    others = "".join(f.read_text() for f in STATIC.glob("*.css") if f.name != "pictures.css")
    # a bare class at the start of a rule applies to the drawings as well
    bare = set(re.findall(r"(?:^|[},])\s*\.([\w-]+)", others))
    assert not names & bare
