"""Pages of the site made from two small sources, and the pages of the panels."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

from diptych.site.sources.page import Definition, SourcePage, Statement, TwinFile
from diptych.site.sources.read import read_page
from diptych.site.sources.remarks import first_line
from diptych.site.sources.twin_files import twin_files


@functools.cache
def pages_of_the_panels() -> tuple[SourcePage, ...]:
    """Every page of the site, in reading order."""
    return tuple(read_page(file) for file in twin_files())


def page_of(folder: Path, left: str | None, right: str | None, stem: str = "small") -> SourcePage:
    """The page of two sources; None for a file that a panel lacks."""
    paths = []
    for side, text in (("left", left), ("right", right)):
        path = folder / f"{side}.py"
        if text is not None:
            path.write_text(dedent(text).lstrip("\n"))
        paths.append(path if text is not None else None)
    return read_page(TwinFile(stem, *paths))


def definition_of(page: SourcePage, name: str) -> Definition:
    """The definition of a page by its qualified name."""
    return next(d for d in page.walk() if d.name == name)


def rows_of(page: SourcePage, name: str) -> list[tuple[str, str, str]]:
    """Kind, left code and right code of each row of a definition, but its head."""
    rows = [group for group in definition_of(page, name).groups if group.kind != "head"]
    return [(row.kind, _code(row.left), _code(row.right)) for row in rows]


def _code(statements: Iterable[Statement]) -> str:
    """The first line of each statement."""
    return "; ".join(first_line(statement.node) for statement in statements)
