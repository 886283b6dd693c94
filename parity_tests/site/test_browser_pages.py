"""Every page in a browser: no error, no request, no broken link; twins at one height; phones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from filelock import FileLock
from helpers.site_in_browser import NARROW, WIDE, Reader

TOLERANCE = 2  # pixels

LINKS = "[...document.links].map((a) => a.href)"
NAMES = "[...document.querySelectorAll('[id]')].map((e) => e.id)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true"
# rows of which both sides have code: [id, top of the left, top of the right, bottom of the left]
PAIRS = """[...document.querySelectorAll(".g")].flatMap((g) => {
  const [left, right] = ["L", "R"].map((side) => [...g.querySelectorAll(`.${side} > .ln`)]);
  if (!left.length || !right.length) return [];
  const [a, b, z] = [left[0], right[0], left.at(-1)].map((line) => line.getBoundingClientRect());
  return [[g.dataset.g, a.top, b.top, z.bottom]];
})"""

Page = dict[str, Any]


@pytest.fixture(scope="module")
def survey(browser: Any, built_site: Path) -> dict[str, Page]:
    """Every page with its links, names, and the places of its twins on a desk and on a phone.

    The first worker makes it, the others wait for it.
    """
    file = built_site.with_name("survey_of_browser_tests.json")
    with FileLock(f"{file}.lock"):
        if not file.exists():
            file.write_text(json.dumps(make_survey(browser, built_site)))
    return json.loads(file.read_text())


def make_survey(browser: Any, site: Path) -> dict[str, Page]:
    reader, pages = Reader(browser, site), {}
    for path in sorted(site.rglob("*.html")):
        tab = reader.open(name := path.relative_to(site).as_posix())
        page = {"links": tab.evaluate(LINKS), "names": tab.evaluate(NAMES)}
        tab.evaluate(OPEN_ALL)
        for kind, size in (("desk", WIDE), ("phone", NARROW)):
            tab.set_viewport_size(size)
            page[kind] = {"overflow": tab.evaluate(OVERFLOW), "pairs": tab.evaluate(PAIRS)}
        tab.set_viewport_size(WIDE)
        pages[name] = page
    reader.close()
    pages["index.html"]["complaints"] = reader.complaints
    return pages


def test_no_page_writes_an_error_or_asks_for_anything_outside_the_folder(
    survey: dict[str, Page],
) -> None:
    assert len(survey) > 30
    assert not (complaints := survey["index.html"]["complaints"]), "\n".join(complaints)


def test_links_and_anchors_lead_somewhere(survey: dict[str, Page], built_site: Path) -> None:
    broken = []
    for name, page in survey.items():
        for address in sorted(set(page["links"])):
            url, anchor = urldefrag(address)
            if urlparse(url).scheme in ("http", "https"):
                continue
            path = Path(unquote(urlparse(url).path))
            target = path.relative_to(built_site).as_posix() if path.exists() else ""
            anchors = survey[target]["names"] if target in survey else []
            if not target or (anchor and unquote(anchor) not in anchors):
                broken.append(f"{name} -> {address}")
    assert not broken, "\n".join(broken)


def test_no_name_stands_twice_on_a_page(survey: dict[str, Page]) -> None:
    repeated = [
        f"{name}#{anchor}"
        for name, page in survey.items()
        for anchor in set(page["names"])
        if page["names"].count(anchor) > 1
    ]
    assert not repeated


def test_twins_stand_at_one_height_in_two_columns(survey: dict[str, Page]) -> None:
    pairs = [(name, *pair) for name, page in survey.items() for pair in page["desk"]["pairs"]]
    assert len(pairs) > 1000
    apart = [pair for pair in pairs if abs(pair[2] - pair[3]) > TOLERANCE]
    assert not apart


def test_twins_stand_below_each_other_on_a_phone(survey: dict[str, Page]) -> None:
    beside = [
        (name, group)
        for name, page in survey.items()
        for group, _, right, bottom in page["phone"]["pairs"]
        if right < bottom - 1
    ]
    assert not beside


@pytest.mark.parametrize("kind", ["desk", "phone"])
def test_no_page_is_wider_than_its_window(survey: dict[str, Page], kind: str) -> None:
    assert not {n: page[kind]["overflow"] for n, page in survey.items() if page[kind]["overflow"]}


def test_the_longest_page_opens_within_a_second(reader: Reader, built_site: Path) -> None:
    longest = max((built_site / "pages").glob("[!n]*.html"), key=lambda path: path.stat().st_size)
    time = "performance.timing.loadEventEnd - performance.timing.navigationStart"
    loads = [reader.open(f"pages/{longest.name}").evaluate(time) for _ in range(5)]
    assert min(loads) < 1000, longest.name
