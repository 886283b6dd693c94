"""Show code of the panels in a notebook, read from its source when the cell runs."""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from IPython.display import HTML, Markdown, display

from diptych.site.sources.alignment import align
from diptych.site.sources.page import SideName, Statement
from diptych.site.sources.statements import cut

AUTOGRAD = "autograd does this"
SUPPLIED = "torch supplies this"
CELL = 'style="text-align: left; vertical-align: top"'
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
        return replace(self, left=tuple(line for line in self.left if _holds(line, marks)))


def beside(left: Callable[..., Any], right: Callable[..., Any] | str, *marks: str) -> None:
    """Show the code of a function of the left panel beside its twin of the right.

        beside(numpy_mlp_vae.MLPVAE.encode, torch_mlp_vae.MLPVAE.encode)
        beside(functional.gaussian_kl, torch_functional.gaussian_kl, "excess =", "kl =")
        beside(functional.linear, "F.linear(x, W, b)")

    Statements are aligned as on the study pages, and docstrings are left out. With marks, only the
    statements of either panel that contain one are shown, each with its twin; of a vjp, only the
    lines that contain one. `right` is a text if torch supplies the function: the call.

    Raises: LookupError for marks that neither panel contains.
    """
    heads = _location(left), SUPPLIED if isinstance(right, str) else _location(right)
    name = " and ".join(_name(f) for f in (left, right) if callable(f))
    rows = _selected(_rows(left, right), marks, name)
    if isinstance(right, str):
        rows[0] = replace(rows[0], right=tuple(right.splitlines()))
    display(HTML(_table(heads, rows)))


def quote(function: Callable[..., Any], *marks: str) -> None:
    """Show the code of a function that has no twin, or only its lines that contain a mark.

    Raises: LookupError for marks that the code does not contain.
    """
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    _check(marks, lines, _name(function))
    kept = [line for line in lines if not marks or _holds(line, marks)]
    text = textwrap.dedent("\n".join(kept))
    display(Markdown(f"{_location(function)}\n\n```python\n{text}\n```"))


class _Code:
    """The lines and the statements of a function."""

    def __init__(self, function: Callable[..., Any], side: SideName) -> None:
        text = textwrap.dedent(inspect.getsource(function))
        self.lines = text.splitlines()
        (unit,) = cut(text, side)
        if unit.kind != "function":
            raise TypeError(f"{side}: got {_name(function)}, takes a function")
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
    _check(marks, [line for row in rows for line in row.left + row.right], name)
    if not marks:
        return rows
    kept = [row for row in rows if any(_holds(line, marks) for line in row.left + row.right)]
    return [row.matching(marks) for row in kept]


def _check(marks: Sequence[str], lines: Sequence[str], name: str) -> None:
    missing = [mark for mark in marks if not any(mark in line for line in lines)]
    if missing:
        raise LookupError(f"{name} has no line with {', '.join(map(repr, missing))}")


def _holds(line: str, marks: Sequence[str]) -> bool:
    return any(mark in line for mark in marks)


def _table(heads: tuple[str, str], rows: Sequence[Row]) -> str:
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
    return f'<table class="beside"><thead><tr>{titles}</tr></thead><tbody>\n{body}</tbody></table>'


def _dedented(parts: Sequence[Lines]) -> list[str]:
    """The lines of each part as text, all dedented by the indent that they share."""
    lines = textwrap.dedent("\n".join(line for part in parts for line in part)).split("\n")
    texts = []
    for part in parts:
        texts.append("\n".join(lines[: len(part)]))
        lines = lines[len(part) :]
    return texts


def _location(function: Callable[..., Any]) -> str:
    folder = Path(*function.__module__.split("."))
    is_package = Path(inspect.getsourcefile(function) or "").name == "__init__.py"
    file = folder / "__init__.py" if is_package else folder.with_suffix(".py")
    return f"`{file.as_posix()}`, `{_name(function)}`"


def _name(function: Any) -> str:
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
