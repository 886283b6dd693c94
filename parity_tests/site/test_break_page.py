"""The page of planted faults in a browser, and its marks on study pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.recorded_faults import REAL, record_once
from helpers.site_in_browser import NARROW, Reader

from diptych.site.breaks.page import write_break_page
from diptych.site.look import jinja_environment
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

SHOWN = """[...document.querySelectorAll("article.fault")].filter((a) => a.checkVisibility())
  .map((a) => a.id)"""
MARKS = """[...document.querySelectorAll(".broken")].map((row) =>
  [row.dataset.g.split(".")[0], row.querySelector(".broken-sign").textContent])"""


@pytest.fixture(scope="module")
def site(built_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the site with the faults of REAL."""
    folder = tmp_path_factory.mktemp("breaks") / "site"
    shutil.copytree(built_site, folder)
    base = tmp_path_factory.getbasetemp()
    recorded = record_once(base if built_site.parent == base else base.parent)
    environment = jinja_environment()
    pages = [read_page(file) for file in twin_files()]
    write_break_page(folder, environment, pages, [recorded[name] for name in REAL])
    return folder


@pytest.fixture
def opener(browser: Any, site: Path) -> Iterator[Reader]:
    """A tab of the browser; the test fails if a page writes an error or leaves the folder."""
    reader = Reader(browser, site)
    yield reader
    reader.close()
    assert not reader.complaints, "\n".join(reader.complaints)


def current(tab: Any) -> str:
    """The address of the link that is marked as the current one."""
    return tab.get_attribute('.faults [aria-current="true"]', "href")


def test_a_click_and_arrow_keys_choose_a_fault(opener: Reader) -> None:
    tab = opener.open("pages/break.html")
    assert len(tab.evaluate(SHOWN)) == 1
    tab.click('.faults a[href="#wrong-gate"]')
    assert tab.evaluate(SHOWN) == ["wrong-gate"] and current(tab) == "#wrong-gate"
    assert tab.url.endswith("#wrong-gate")
    for key, name in (("ArrowLeft", "std-for-logvar"), ("ArrowDown", "wrong-gate")):
        tab.keyboard.press(key)
        assert tab.evaluate(SHOWN) == [name] and current(tab) == f"#{name}"
        assert tab.evaluate("document.activeElement.hash") == f"#{name}"


def test_an_address_opens_its_fault_and_links_lead_to_the_next(opener: Reader) -> None:
    tab = opener.open("pages/break.html#rounded-constant")
    assert tab.evaluate(SHOWN) == ["rounded-constant"]
    tab.click('article:visible a[rel="next"]')
    assert tab.evaluate(SHOWN) == ["std-for-logvar"]
    assert "FAILED" in tab.inner_text("article:visible .witness")


def test_the_link_of_a_fault_lights_its_lines_on_the_study_page(opener: Reader) -> None:
    tab = opener.open("pages/break.html#wrong-gate")
    tab.click("article:visible a.button")
    tab.wait_for_selector(".broken-bar")
    assert "/lstm.html?broken=wrong-gate" in tab.url
    assert tab.evaluate(MARKS) == [["lstm_cell", "planted"], ["LSTM", "diverges"]]
    assert tab.inner_text(".broken-first, .broken-call").strip()
    note = tab.inner_text(".broken-call + .broken-note")
    assert "lstm.layer[0]: output off by 1.5e+00 (bound 1e-13)" in note
    planted = tab.inner_text(".broken-planted + .broken-note")
    assert "i, f, g, o =" in planted and "i, f, o, g =" in planted
    box = tab.locator(".broken-call").bounding_box()
    assert 0 < box["y"] < 900, "the line of the address is not in view"
    tab.click(".broken-bar a:text('without the fault')")
    assert not tab.locator(".broken").count()


def test_a_page_without_a_fault_or_with_an_unknown_one_has_no_mark(opener: Reader) -> None:
    for page in ("pages/lstm.html", "pages/lstm.html?broken=nonsense"):
        tab = opener.open(page)
        tab.wait_for_load_state()
        assert not tab.locator(".broken, .broken-bar").count()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("break.html#wrong-gate", ["main"]),
        ("lstm.html?broken=wrong-gate", [".broken", ".broken-note", ".broken-bar"]),
    ],
)
def test_contrast_and_roles_are_those_of_wcag(
    browser: Any, site: Path, theme: str, page: str, parts: list[str]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    reader = Reader(browser, site, color_scheme=theme)
    tab = reader.open(f"pages/{page}")
    tab.wait_for_selector(parts[0])
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    context = {"include": [[part] for part in parts]}
    violations = axe.run(tab, context=context, options=options).response["violations"]
    reader.close()
    assert not violations, [(v["id"], [n["html"] for n in v["nodes"][:3]]) for v in violations]


def test_nothing_is_wider_than_a_phone(browser: Any, site: Path) -> None:
    reader = Reader(browser, site, viewport=NARROW)
    for page in ("break.html#std-for-logvar", "lstm.html?broken=wrong-gate"):
        tab = reader.open(f"pages/{page}")
        assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    reader.close()
