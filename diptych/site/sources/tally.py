"""Count how much of the left panel is aligned."""

from __future__ import annotations

from collections.abc import Iterator

from diptych.site.sources.page import Definition, Group, SourcePage, Statement, Tally
from diptych.site.sources.statements import Function
from diptych.site.sources.supplied import SUPPLIES


def tally(page: SourcePage) -> Tally:
    """Count the left panel's statements outside vjps, imports and the lines of defs apart."""
    statements = aligned = one_to_one = explained = supplied = 0
    for definition, group in _rows(page):
        count = sum(_counts(s) for s in group.left)
        if any(text.startswith(SUPPLIES) for text in _remarks(page, definition, group)):
            supplied += count
            continue
        statements += count
        if group.right or group.part_of:
            aligned += count
            one_to_one += count * (len(group.left) == len(group.right) == 1)
        elif any(_remarks(page, definition, group)):
            explained += count
    return Tally(statements, aligned, one_to_one, explained, supplied)


def unexplained(page: SourcePage) -> list[Group]:
    """The rows of one panel alone for which neither row nor definition nor page says why."""
    return [
        group
        for definition, group in _rows(page, every=True)
        if not (group.left and group.right) and not any(_remarks(page, definition, group))
    ]


def _remarks(page: SourcePage, definition: Definition, group: Group) -> tuple[str, ...]:
    return group.remark, definition.remark, page.remark


def _rows(page: SourcePage, every: bool = False) -> Iterator[tuple[Definition, Group]]:
    for definition in page.walk():
        if definition.name != "imports" or every:
            for group in definition.groups:
                if group.kind not in ("head", "vjp") or every:
                    yield definition, group


def _counts(statement: Statement) -> bool:
    return not isinstance(statement.node, Function)
