"""Which group of a page a line of a panel belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.site.sources.page import SideName, SourcePage


@dataclass(frozen=True)
class Place:
    """A group of a page, and the definition that holds it."""

    group: str
    definition: str


class Places:
    """The groups of all pages by file, side and line. It holds no syntax trees: workers get it."""

    def __init__(self, pages: list[SourcePage]) -> None:
        self.slugs = {page.file.stem: page.file.slug for page in pages}
        self._places: dict[tuple[str, SideName], dict[int, Place]] = {}
        for page in pages:
            for side in ("left", "right"):
                self._places[page.file.stem, side] = _lines(page, side)

    def of(self, stem: str, side: SideName, line: int) -> Place | None:
        """The group of a line; None for a line that no group holds."""
        return self._places[stem, side].get(line)


def _lines(page: SourcePage, side: SideName) -> dict[int, Place]:
    spans = [
        (statement.last - statement.first, statement.first, statement.last, Place(group.id, d.name))
        for d in page.walk()
        for group in d.groups
        for statement in getattr(group, side)
    ]
    result = {}
    for _, first, last, place in sorted(spans, key=lambda span: -span[0]):  # small ones win
        result.update(dict.fromkeys(range(first, last + 1), place))
    return result
