"""Every page in a browser: no error, no request, no broken link; twins at one height; phones."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from helpers.site_in_browser import NARROW, WIDE, Reader

TOLERANCE = 2  # pixels

LINKS = "[...document.links].map((a) => a.href)"
NAMES = "[...document.querySelectorAll('[id]')].map((e) => e.id)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
DUPLICATES = "[...new Set(ids.filter((id, k) => ids.indexOf(id) !== k))]"
OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true"
# the groups of which both sides have code: [id, top of the first line left, and right, bottom left]
PAIRS = """[...document.querySelectorAll(".g")].flatMap((g) => {
  const [left, right] = [".L .ln", ".R .ln"].map((side) => g.querySelector(side));
  if (!left || !right) return [];
  const last = [...g.querySelectorAll(".L .ln")].pop().getBoundingClientRect().bottom;
  return [[g.dataset.g, left.getBoundingClientRect().top, right.getBoundingClientRect().top, last]];
})"""


def pages_of(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def test_links_and_anchors_of_every_page_lead_somewhere(reader: Reader, built_site: Path) -> None:
    links, names = {}, {}
    for page in pages_of(built_site):
        tab = reader.open(page)
        links[page], names[page] = tab.evaluate(LINKS), tab.evaluate(NAMES)
    broken = []
    for page, addresses in links.items():
        for address in sorted(set(addresses)):
            url, anchor = urldefrag(address)
            if urlparse(url).scheme in ("http", "https"):
                continue
            path = Path(unquote(urlparse(url).path))
            target = path.relative_to(built_site).as_posix() if path.exists() else None
            if target is None or (anchor and unquote(anchor) not in names.get(target, [])):
                broken.append(f"{page} -> {address}")
    assert not broken, "\n".join(broken)
    repeated = {page: [n for n in set(ids) if ids.count(n) > 1] for page, ids in names.items()}
    assert not {page: ids for page, ids in repeated.items() if ids}


def test_twins_stand_at_one_height_in_two_columns_and_below_each_other_on_a_phone(
    reader: Reader, built_site: Path
) -> None:
    apart, beside, count = [], [], 0
    for page in pages_of(built_site):
        tab = reader.open(page)
        tab.set_viewport_size(WIDE)
        tab.evaluate(OPEN_ALL)
        for name, left, right, _ in tab.evaluate(PAIRS):
            count += 1
            if abs(left - right) > TOLERANCE:
                apart.append(f"{page} {name}: {left} {right}")
        tab.set_viewport_size(NARROW)
        for name, _, right, bottom in tab.evaluate(PAIRS):
            if right < bottom - 1:
                beside.append(f"{page} {name}")
    assert count > 1000
    assert not apart, "\n".join(apart)
    assert not beside, "\n".join(beside)


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["phone", "desk"])
def test_no_page_is_wider_than_its_window(
    reader: Reader, built_site: Path, size: dict[str, int]
) -> None:
    reader.tab.set_viewport_size(size)
    wide = {}
    for page in pages_of(built_site):
        if overflow := reader.open(page).evaluate(OVERFLOW):
            wide[page] = overflow
    assert not wide


def test_the_longest_page_opens_within_a_second(reader: Reader, built_site: Path) -> None:
    longest = max((built_site / "pages").glob("*.html"), key=lambda path: path.stat().st_size)
    loads = []
    for _ in range(5):
        tab = reader.open(f"pages/{longest.name}")
        loads.append(
            tab.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
        )
    assert min(loads) < 1000, longest.name
