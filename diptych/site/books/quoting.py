"""Tables with the code of both panels side by side, read from its source.

A notebook stores such a table with the names of its functions and marks, so that it can be made
again when the sources have changed.
"""

from __future__ import annotations

import html
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from diptych.site.sources.alignment import align
from diptych.site.sources.page import SideName, Statement
from diptych.site.sources.statements import cut

AUTOGRAD = "autograd does this"
SUPPLIED = "torch supplies this"
CELL = 'style="text-align: left; vertical-align: top"'
TABLE = re.compile(r'<table class="beside" data-quote="([^"]*)">.*?</table>', re.DOTALL)
Lines = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Lines of the left panel beside those of the right that compute the same."""

    left: Lines
    right: Lines
    is_vjp: bool = False

    def matching(self, marks: Sequence[str]) -> Row:
        """The row, without the lines of a vjp that hold no mark."""
        if not self.is_vjp:
            return self
        return replace(self, left=tuple(line for line in self.left if holds(line, marks)))


def table(left: Callable[..., Any], right: Callable[..., Any] | str, *marks: str) -> str:
    """The HTML table of `diptych.notebook.beside`.

    Raises: LookupError for marks that neither panel contains.
    """
    name = " and ".join(name_of(f) for f in (left, right) if callable(f))
    rows = _selected(_rows(left, right), marks, name)
    heads = location(left), SUPPLIED if isinstance(right, str) else location(right)
    call = right if isinstance(right, str) else None
    if call:
        rows[0] = replace(rows[0], right=tuple(call.splitlines()))
    sides = [[f.__module__, name_of(f)] if callable(f) else f for f in (left, right)]
    return _html(heads, rows, json.dumps([*sides, *marks]))


def renewed(text: str) -> str:
    """HTML in which every table is made again from the sources as they are now.

    Raises: LookupError for a function or a mark that is gone.
    """
    return TABLE.sub(lambda match: _again(json.loads(html.unescape(match[1]))), text)


def _again(quotation: list[Any]) -> str:
    left, right, *marks = quotation
    return table(_function(*left), right if isinstance(right, str) else _function(*right), *marks)


def _function(module: str, name: str) -> Callable[..., Any]:
    """The function of a name such as "MLPVAE.loss" or "sample_pixels of PixelCNN"."""
    result: Any = importlib.import_module(module)
    path, _, kind = name.partition(" of ")
    for part in path.split("."):
        result = getattr(result, part, None)
        if result is None:
            raise LookupError(f"{module} has no {name}")
    if not kind:
        return result
    for registered, implementation in result.registry.items():
        if registered.__name__ == kind:
            return implementation
    raise LookupError(f"{module} has no {name}")


class _Code:
    """The lines and the statements of a function."""

    def __init__(self, function: Callable[..., Any], side: SideName) -> None:
        text = textwrap.dedent(inspect.getsource(function))
        self.lines = text.splitlines()
        (unit,) = cut(text, side)
        if unit.kind != "function":
            raise TypeError(f"{side}: got {name_of(function)}, takes a function")
        self.statements = unit.statements

    def of(self, statements: Sequence[Statement]) -> Lines:
        """The lines of some statements."""
        return tuple(line for s in statements for line in self.lines[s.first - 1 : s.last])


def _rows(left: Callable[..., Any], right: Callable[..., Any] | str) -> list[Row]:
    ours = _Code(left, "left")
    if isinstance(right, str):
        return [Row(ours.of((s,)), (), s.kind == "vjp") for s in ours.statements]
    theirs = _Code(right, "right")
    rows = [
        Row(ours.of(p), theirs.of(q), bool(p) and p[0].kind == "vjp")
        for p, q in align(ours.statements, theirs.statements)
    ]
    gaps = groupby(rows, lambda row: not (row.left and row.right))
    return [row for is_gap, run in gaps for row in (_closed(list(run)) if is_gap else run)]


def _closed(gap: list[Row]) -> list[Row]:
    """Rows of one panel alone, side by side in order, those that look most alike.

    Both are all that a panel does between two aligned statements, or up to the end.
    """
    left, right = [r for r in gap if r.left], [r for r in gap if r.right]
    places = [i for i, row in enumerate(left) if not row.is_vjp]
    count = min(len(places), len(right))
    last = right[len(right) - count :]

    def total(chosen: Iterable[int]) -> float:
        return sum(_likeness(left[i], row) for i, row in zip(chosen, last, strict=True))

    for i, row in zip(max(combinations(places, count), key=total), last, strict=True):
        left[i] = replace(left[i], right=row.right)
    return right[: len(right) - count] + left


def _likeness(left: Row, right: Row) -> float:
    return SequenceMatcher(None, "\n".join(left.left), "\n".join(right.right)).ratio()


def _selected(rows: list[Row], marks: Sequence[str], name: str) -> list[Row]:
    """The rows that contain a mark; all rows without marks."""
    check_marks(marks, [line for row in rows for line in row.left + row.right], name)
    if not marks:
        return rows
    kept = [row for row in rows if any(holds(line, marks) for line in row.left + row.right)]
    return [row.matching(marks) for row in kept]


def check_marks(marks: Sequence[str], lines: Sequence[str], name: str) -> None:
    missing = [mark for mark in marks if not any(mark in line for line in lines)]
    if missing:
        raise LookupError(f"{name} has no line with {', '.join(map(repr, missing))}")


def holds(line: str, marks: Sequence[str]) -> bool:
    return any(mark in line for mark in marks)


def _html(heads: tuple[str, str], rows: Sequence[Row], quotation: str) -> str:
    """An HTML table with a row for each pair of statements."""
    left, right = (
        _dedented([row.left for row in rows]),
        _dedented([row.right for row in rows]),
    )
    body = ""
    for row, a, b in zip(rows, left, right, strict=True):
        cell = f"<pre>{html.escape(b)}</pre>" if b else f"<em>{AUTOGRAD}</em>" * row.is_vjp
        kind = ' class="vjp"' if row.is_vjp else ""
        code = f"<pre>{html.escape(a)}</pre>" if a else ""
        body += f"<tr{kind}><td {CELL}>{code}</td><td {CELL}>{cell}</td></tr>\n"
    titles = "".join(f"<th {CELL}>{_as_html(head)}</th>" for head in heads)
    start = f'<table class="beside" data-quote="{html.escape(quotation)}">'
    return f"{start}<thead><tr>{titles}</tr></thead><tbody>\n{body}</tbody></table>"


def _dedented(parts: Sequence[Lines]) -> list[str]:
    """The lines of each part as text, all dedented by the indent that they share."""
    lines = textwrap.dedent("\n".join(line for part in parts for line in part)).split("\n")
    texts = []
    for part in parts:
        texts.append("\n".join(lines[: len(part)]))
        lines = lines[len(part) :]
    return texts


def location(function: Callable[..., Any]) -> str:
    folder = Path(*function.__module__.split("."))
    is_package = Path(inspect.getsourcefile(function) or "").name == "__init__.py"
    file = folder / "__init__.py" if is_package else folder.with_suffix(".py")
    return f"`{file.as_posix()}`, `{name_of(function)}`"


def name_of(function: Any) -> str:
    name = str(getattr(function, "__qualname__", function))
    if name != "_":
        return name
    decorator = inspect.getsource(function).splitlines()[0]  # @sample_pixels.register
    first = next(iter(inspect.signature(function).parameters.values()))
    return f"{decorator.strip('@').removesuffix('.register')} of {first.annotation}"


def _as_html(text: str) -> str:
    """Backquoted parts as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
