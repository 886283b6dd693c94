"""Markdown that a reader of a page on GitHub can read: tables, commands, marks in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
CELL = 80
"""Characters that a cell holds at most."""

Record = dict[str, Any]
Row = tuple[str, ...]


def table(headings: Sequence[str], rows: Iterable[Row]) -> str:
    """A table. Raises: ValueError for a cell of more than 80 characters."""
    lines = [tuple(headings), tuple("---" for _ in headings), *rows]
    for cell in (cell for line in lines for cell in line):
        if len(cell) > CELL:
            raise ValueError(f"cell: got {len(cell)} characters, takes {CELL} at most: {cell}")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def commands(entries: Iterable[tuple[str, list[str]]]) -> str:
    """A block of shell commands to be run in this order, each group under a comment if it has one.

    Groups of the same comment that follow each other share it. A command is given once, where it
    comes first, because a run cannot be trained into the same folder twice.
    """
    lines: list[str] = []
    for comment, groups in groupby(entries, key=itemgetter(0)):
        lines += [f"# {comment}"] if comment else []
        for line in chain.from_iterable(group for _, group in groups):
            if line not in lines:
                lines.append(line)
    return "\n".join(["```sh", *lines, "```"])


def with_tables(page: str, tables: str) -> str:
    """`page` with the text between its two marks replaced. Raises: ValueError for no marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"page: lacks the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}"
