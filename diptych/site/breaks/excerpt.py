"""Both panels around the line of a fault, the line before and after the edit."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from diptych.site.breaks.fault import Edit, Fault
from diptych.site.breaks.places import Change, Places, changes_of
from diptych.site.sources.highlight import code_lines, numbered_line
from diptych.site.sources.page import Definition, Group, SideName, SourcePage

AROUND = 2
"""Groups that are shown before and after those with a fault."""
LINES_AROUND = 4
"""Lines that are shown of a long group before and after the fault."""
SIDES: tuple[SideName, SideName] = ("left", "right")
STRUCTURE = ('<span class="ln', '<span class="bw"', '<span class="nw"', "<i>", "<code", "</")
TOKENS = (
    r'<span class="(?:ln|bw|nw)[^>]*>|<i>\d+</i>|</?code>|<(?:b|span)[^>]*>[^<]*</(?:b|span)>'
    r"|</span>|&#?\w+;|\w+|\s+|[^<\w\s]"
)
"""The parts of a line: its frame, highlighted tokens, and what is not highlighted."""
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
    by_definition: dict[tuple[str, str], tuple[Definition, list[Edit], set[str]]] = {}
    for edit in fault.edits:
        for place, definition, _ in places.of_edit(edit):
            key = edit.stem, definition.name
            _, edits, groups = by_definition.setdefault(key, (definition, [], set()))
            groups.add(place.group)
            if edit not in edits:
                edits.append(edit)
    result = []
    for (stem, _), parts in by_definition.items():
        page = places.page(stem)
        assert page is not None
        result.append(_excerpt(page, *parts))
    return result


def _excerpt(
    page: SourcePage, definition: Definition, edits: list[Edit], faulty: set[str]
) -> Excerpt:
    numbers = [k for k, group in enumerate(definition.groups) if group.id in faulty]
    first, last = min(numbers) - AROUND, max(numbers) + AROUND
    groups = [g for k, g in enumerate(definition.groups) if first <= k <= last or k == 0]
    sides = [_Side(page, side, definition, edits) for side in SIDES]
    rows: list[ExcerptRow] = []
    remark = ""
    for group in groups:
        before = remark
        remark = group.remark or ("" if group.left and group.right else definition.remark)
        left, right = (side.html(group, cut=group.id in faulty) for side in sides)
        shown = "" if remark == before else remark
        rows.append(ExcerptRow(group.kind, left, right, shown, group.id in faulty))
    files = (
        f"numpy_ref/{page.file.stem}.py" if page.file.left else "",
        f"torch_impl/{page.file.stem}.py" if page.file.right else "",
    )
    return Excerpt(page.file.slug, definition.name, files, tuple(rows))


class _Side:
    """The lines of one side, with those that edits replace and those that they insert."""

    def __init__(
        self, page: SourcePage, side: SideName, definition: Definition, edits: list[Edit]
    ) -> None:
        self._side = side
        text = page.texts[side]
        node = definition.left if side == "left" else definition.right
        kinds = {
            n: statement.kind
            for group in definition.groups
            for statement in group.side(side)
            for n in range(statement.first, statement.last + 1)
        }
        code = _code_lines(page, side, text, node)
        self._lines = {n: _line(code, text, n, kind) for n, kind in kinds.items()}
        self._changes: list[tuple[Change, list[Markup]]] = []
        for edit in edits:
            if edit.panel == side:
                edited = edit.apply(text)
                code = _code_lines(page, side, edited, node)
                for change in changes_of(edit, text):
                    kind = kinds[change.old.start]
                    inserted = [_line(code, edited, n, kind) for n in change.new]
                    self._changes.append((change, self._marked(change, inserted)))

    def _marked(self, change: Change, inserted: list[Markup]) -> list[Markup]:
        """The inserted lines; parts that differ are marked, in the replaced lines as well."""
        for k, n in enumerate(change.old[: len(inserted)]):
            self._lines[n], inserted[k] = mark_differences(self._lines[n], inserted[k])
        for n in change.old:
            self._lines[n] = _with_class(self._lines[n], "del")
        return [_with_class(line, "ins") for line in inserted]

    def html(self, group: Group, *, cut: bool) -> Markup:
        """The lines of a group; if `cut`, of a long group those around the changes alone."""
        numbers = [n for s in group.side(self._side) for n in range(s.first, s.last + 1)]
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
        yield self._lines[n]
        for change, inserted in self._changes:
            if change.old and n == change.old[-1]:
                yield from inserted


def _code_lines(page: SourcePage, side: SideName, text: str, node: ast.AST | None) -> list[Markup]:
    """The highlighted lines of a text, of which only those of a definition are read.

    They keep their numbers. A text that is no Python, as some faults may be, has no colours.
    """
    lines = text.splitlines()
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        last = (node.end_lineno or 0) + len(lines) - len(page.texts[side].splitlines())
        lines = [""] * (first - 1) + lines[first - 1 : last]
        if lines[first - 1].startswith(" "):
            lines[first - 2] = "if True:"
    try:
        return code_lines("\n".join(lines), side)
    except SyntaxError:
        return code_lines("\n".join(f"# {line}" for line in lines), side)


def _line(code: list[Markup], text: str, n: int, kind: str) -> Markup:
    """One line, without an anchor, since a page may show it several times."""
    return numbered_line(n, code[n - 1], text=text.splitlines()[n - 1], is_vjp=kind == "vjp")


def _with_class(line: Markup, name: str) -> Markup:
    return Markup(str(line).replace('class="ln', f'class="ln {name}', 1))


def mark_differences(old: Markup, new: Markup) -> tuple[Markup, Markup]:
    """Both lines with <mark> around the tokens that differ."""
    tokens = [re.findall(TOKENS, str(line).replace("<wbr>", "")) for line in (old, new)]
    results: tuple[list[str], list[str]] = ([], [])
    matcher = difflib.SequenceMatcher(None, tokens[0], tokens[1], autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        for result, part in zip(results, (tokens[0][i1:i2], tokens[1][j1:j2]), strict=True):
            html = "".join(part)
            is_code = html.strip() and not html.startswith(STRUCTURE)
            result.append(f"<mark>{html}</mark>" if kind != "equal" and is_code else html)
    return Markup("".join(results[0])), Markup("".join(results[1]))
