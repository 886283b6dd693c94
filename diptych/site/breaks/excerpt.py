"""Both panels around the line of a fault, the line before and after the edit."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from diptych.site.breaks.fault import Edit, Fault
from diptych.site.breaks.places import Change, Places, changes_of, statements
from diptych.site.sources.highlight import Highlighter
from diptych.site.sources.page import Definition, Group, SideName, SourcePage, Statement

AROUND = 2
"""Groups that are shown before and after those with a fault."""
LINES_AROUND = 4
"""Lines that are shown of a long group before and after the fault."""
SIDES: tuple[SideName, SideName] = ("left", "right")


@dataclass(frozen=True)
class ExcerptRow:
    """One row: the lines of both sides, and whether the fault is in it."""

    kind: str
    left: Markup
    right: Markup
    remark: str
    faulty: bool


@dataclass(frozen=True)
class Excerpt:
    """A definition around a fault."""

    slug: str
    definition: str
    files: tuple[str, str]
    """the files of both sides; "" for a side that the file lacks"""
    rows: tuple[ExcerptRow, ...]


def excerpts(fault: Fault, places: Places) -> list[Excerpt]:
    """The definitions that the edits of a fault change, in the order of its edits."""
    by_definition: dict[tuple[str, str], list[tuple[Edit, Definition, str]]] = {}
    for edit in fault.edits:
        if (found := places.of_edit(edit)) is not None:
            place, definition = found
            key = edit.stem, definition.name
            by_definition.setdefault(key, []).append((edit, definition, place.group))
    result = []
    for (stem, _), edits in by_definition.items():
        page = places.page(stem)
        assert page is not None
        groups = [group for _, _, group in edits]
        result.append(_excerpt(page, edits[0][1], [edit for edit, _, _ in edits], groups))
    return result


def _excerpt(
    page: SourcePage, definition: Definition, edits: list[Edit], faulty: list[str]
) -> Excerpt:
    code = {side: _Code(page, side, [e for e in edits if e.panel == side]) for side in SIDES}
    numbers = [k for k, group in enumerate(definition.groups) if group.id in faulty]
    first, last = max(0, min(numbers) - AROUND), max(numbers) + AROUND + 1
    groups = [g for k, g in enumerate(definition.groups) if first <= k < last or k == 0]
    rows = []
    for group in groups:
        cells = [code[side].html(group, cut=group.id in faulty) for side in SIDES]
        rows.append(ExcerptRow(group.kind, *cells, group.remark, group.id in faulty))
    files = tuple(
        f"{folder}/{page.file.stem}.py" if path else ""
        for folder, path in (("numpy_ref", page.file.left), ("torch_impl", page.file.right))
    )
    return Excerpt(page.file.slug, definition.name, files, tuple(rows))  # type: ignore[arg-type]


class _Code:
    """The lines of one side, with those that edits replace and those that they insert."""

    def __init__(self, page: SourcePage, side: SideName, edits: list[Edit]) -> None:
        self._side, self._highlighter = side, Highlighter(page)
        text = page.texts[side]
        self._changes: list[tuple[Change, Highlighter]] = []
        for edit in edits:
            edited = dataclasses.replace(page, texts={**page.texts, side: edit.apply(text)})
            highlighter = Highlighter(edited)
            self._changes += [(change, highlighter) for change in changes_of(edit, text)]

    def html(self, group: Group, *, cut: bool) -> Markup:
        """The lines of a group; if `cut`, of a long group those around the changes alone."""
        numbers = [n for s in statements(group, self._side) for n in range(s.first, s.last + 1)]
        at = [line for change, _ in self._changes for line in _lines_of(change) if line in numbers]
        if cut and at:
            low, high = min(at) - LINES_AROUND, max(at) + LINES_AROUND
            kept = [n for n in numbers if low <= n <= high or n == numbers[0]]
        else:
            kept = numbers
        result, before = Markup(), None
        for n in kept:
            if before is not None and n > before + 1 and before + 1 in numbers:
                result += Markup('<span class="ln more"><i></i><code>...</code></span>')
            result += Markup().join(self._line(n))
            before = n
        if kept and kept[-1] != numbers[-1]:
            result += Markup('<span class="ln more"><i></i><code>...</code></span>')
        return result

    def _line(self, n: int) -> Iterator[Markup]:
        for change, highlighter in self._changes:
            if n == change.old.start and not change.old:
                yield from self._inserted(change, highlighter)
        removed = any(n in change.old for change, _ in self._changes)
        yield _html(self._highlighter, self._side, n, "del" if removed else "")
        for change, highlighter in self._changes:
            if change.old and n == change.old[-1]:
                yield from self._inserted(change, highlighter)

    def _inserted(self, change: Change, highlighter: Highlighter) -> Iterator[Markup]:
        return (_html(highlighter, self._side, n, "ins") for n in change.new)


def _lines_of(change: Change) -> list[int]:
    """The lines that it replaces, or the line before which it inserts."""
    return list(change.old) or [change.old.start]


def _html(highlighter: Highlighter, side: SideName, n: int, css: str) -> Markup:
    """One line, without an id, since a page may show it several times."""
    statement = Statement(node=None, first=n, last=n)  # type: ignore[arg-type]
    html = re.sub(r' id="[LR]\d+"', "", str(highlighter.html((statement,), side)))
    return Markup(html.replace('class="ln"', f'class="ln {css}"', 1) if css else html)
