"""Both panels around the line of a fault, the line before and after the edit."""

from __future__ import annotations

import dataclasses
import difflib
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
OMITTED = Markup('<span class="ln omitted"><i></i><code>...</code></span>')


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
    """the files of both sides; "" for a side that the page lacks"""
    rows: tuple[ExcerptRow, ...]


def excerpts(fault: Fault, places: Places) -> list[Excerpt]:
    """The definitions that the edits of a fault change, in the order of its edits."""
    by_definition: dict[tuple[str, str], list[tuple[Edit, Definition, str]]] = {}
    for edit in fault.edits:
        if (position := places.of_edit(edit)) is not None:
            place, definition = position
            edits = by_definition.setdefault((edit.stem, definition.name), [])
            edits.append((edit, definition, place.group))
    result = []
    for (stem, _), edits in by_definition.items():
        page = places.page(stem)
        assert page is not None
        groups = {group for _, _, group in edits}
        result.append(_excerpt(page, edits[0][1], [edit for edit, _, _ in edits], groups))
    return result


def _excerpt(
    page: SourcePage, definition: Definition, edits: list[Edit], faulty: set[str]
) -> Excerpt:
    numbers = [k for k, group in enumerate(definition.groups) if group.id in faulty]
    first, last = min(numbers) - AROUND, max(numbers) + AROUND
    groups = [g for k, g in enumerate(definition.groups) if first <= k <= last or k == 0]
    sides = [_Side(page, side, groups, edits) for side in SIDES]
    rows = [
        ExcerptRow(
            group.kind,
            *(side.html(group, cut=group.id in faulty) for side in sides),
            group.remark,
            group.id in faulty,
        )
        for group in groups
    ]
    files = (
        f"numpy_ref/{page.file.stem}.py" if page.file.left else "",
        f"torch_impl/{page.file.stem}.py" if page.file.right else "",
    )
    return Excerpt(page.file.slug, definition.name, files, tuple(rows))


class _Side:
    """The lines of one side, with those that edits replace and those that they insert."""

    def __init__(
        self, page: SourcePage, side: SideName, groups: list[Group], edits: list[Edit]
    ) -> None:
        self._side = side
        text = page.texts[side]
        lines = [n for g in groups for s in statements(g, side) for n in (s.first, s.last)]
        span = range(min(lines), max(lines) + 1) if lines else range(0)
        self._lines = _highlighted(page, side, text, span)
        self._changes: list[tuple[Change, list[Markup]]] = []
        for edit in edits:
            if edit.panel != side:
                continue
            for change in changes_of(edit, text):
                inserted = _highlighted(page, side, edit.apply(text), change.new)
                self._changes.append((change, self._marked(change, inserted)))

    def _marked(self, change: Change, inserted: dict[int, Markup]) -> list[Markup]:
        """The inserted lines; parts that differ are marked, in the replaced lines as well."""
        result = []
        for k, (n, html) in enumerate(inserted.items()):
            if k < len(change.old):
                old = change.old[k]
                self._lines[old], html = _mark_differences(self._lines[old], html)
            result.append(_line(n, html, "ins"))
        return result

    def html(self, group: Group, *, cut: bool) -> Markup:
        """The lines of a group; if `cut`, of a long group those around the changes alone."""
        numbers = [n for s in statements(group, self._side) for n in range(s.first, s.last + 1)]
        changed = [
            n for change, _ in self._changes for n in (change.old or [change.old.start])
            if n in numbers
        ]  # fmt: skip
        shown = set(numbers)
        if cut and changed:
            low, high = min(changed) - LINES_AROUND, max(changed) + LINES_AROUND
            shown = {n for n in numbers if low <= n <= high or n == numbers[0]}
        result, omitted = Markup(), False
        for n in numbers:
            if n in shown:
                result += Markup().join(self._with_changes(n))
            elif not omitted:
                result += OMITTED
            omitted = n not in shown
        return result

    def _with_changes(self, n: int) -> Iterator[Markup]:
        for change, inserted in self._changes:
            if not change.old and n == change.old.start:
                yield from inserted
        removed = any(n in change.old for change, _ in self._changes)
        yield _line(n, self._lines[n], "del" if removed else "")
        for change, inserted in self._changes:
            if change.old and n == change.old[-1]:
                yield from inserted


def _highlighted(page: SourcePage, side: SideName, text: str, span: range) -> dict[int, Markup]:
    """The code of some lines of a text as HTML, by number. Only these lines are highlighted."""
    lines = text.splitlines()[span.start - 1 : span.stop - 1] if span else []
    snippet = dataclasses.replace(page, texts={"left": "", "right": "", side: "\n".join(lines)})
    highlighter = Highlighter(snippet)
    result = {}
    for k, n in enumerate(span, 1):
        statement = Statement(node=None, first=k, last=k)  # type: ignore[arg-type]
        code = re.search(r"<code.*</code>", str(highlighter.html((statement,), side)))
        result[n] = Markup(code[0] if code else "<code></code>")
    return result


def _line(n: int, code: Markup, css: str) -> Markup:
    """One line, without an id, since a page may show it several times."""
    return Markup('<span class="{}"><i>{}</i>{}</span>').format(f"ln {css}".strip(), n, code)


def _mark_differences(old: Markup, new: Markup) -> tuple[Markup, Markup]:
    """Both lines with <mark> around the tokens that differ."""
    parts = [
        re.findall(r"<code[^>]*>|</code>|<(?:b|span).*?</(?:b|span)>|[^<]+", x) for x in (old, new)
    ]
    results: list[list[str]] = [[], []]
    matcher = difflib.SequenceMatcher(None, *parts, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        for result, tokens in zip(results, (parts[0][i1:i2], parts[1][j1:j2]), strict=True):
            html = "".join(tokens)
            result.append(html if kind == "equal" or not html.strip() else f"<mark>{html}</mark>")
    return Markup("".join(results[0])), Markup("".join(results[1]))
