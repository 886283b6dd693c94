"""Show code of the panels in a notebook, read from its source when the cell runs."""

from __future__ import annotations

import ast
import html
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from IPython.display import HTML, Markdown, display

from diptych.site.sources.alignment import align
from diptych.site.sources.page import Statement
from diptych.site.sources.statements import Function, flatten, head

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
        return Row(tuple(line for line in self.left if _holds(line, marks)), self.right, True)


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
    if isinstance(right, str):
        rows = _rows(_Code(left), None)
        heads = _location(left), SUPPLIED
    else:
        rows = _rows(_Code(left), _Code(right))
        heads = _location(left), _location(right)
    rows = _selected(rows, marks, " and ".join(_name(f) for f in (left, right) if callable(f)))
    supplied = right if isinstance(right, str) else None
    display(HTML(_table(heads, rows, supplied)))


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

    def __init__(self, function: Callable[..., Any]) -> None:
        self.lines = textwrap.dedent(inspect.getsource(function)).splitlines()
        (node,) = ast.parse("\n".join(self.lines)).body
        if not isinstance(node, Function):
            raise TypeError(f"function: got {_name(function)}, a class, takes a function")
        first = head(node)
        self.head = Statement(node, node.lineno, first.last, "head")
        self.statements = flatten(node.body, self.lines, first.last)

    def of(self, statements: Sequence[Statement]) -> Lines:
        """The lines of some statements, with blank lines only within a statement."""
        return tuple(line for s in statements for line in self.lines[s.first - 1 : s.last])


def _rows(left: _Code, right: _Code | None) -> list[Row]:
    if right is None:
        pairs = [((statement,), ()) for statement in left.statements]
        rows = [Row(left.of((left.head,)), ())]
        return rows + [Row(left.of(p), (), p[0].kind == "vjp") for p, _ in pairs]
    rows = [Row(left.of((left.head,)), right.of((right.head,)))]
    for p, q in align(left.statements, right.statements):
        rows.append(Row(left.of(p), right.of(q), bool(p) and p[0].kind == "vjp"))
    return rows


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


def _table(heads: tuple[str, str], rows: Sequence[Row], supplied: str | None) -> str:
    """An HTML table with a row for each pair of statements."""
    left, right = (
        _dedented([row.left for row in rows]),
        _dedented([row.right for row in rows]),
    )
    body = ""
    for i, (row, a, b) in enumerate(zip(rows, left, right, strict=True)):
        text = supplied if supplied is not None and i == 0 else b
        cell = f"<pre>{html.escape(text)}</pre>" if text else ""
        if not text and row.is_vjp:
            cell = f"<em>{AUTOGRAD}</em>"
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
    return f"`{function.__module__.replace('.', '/')}.py`, `{_name(function)}`"


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _as_html(text: str) -> str:
    """Backquoted parts as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
