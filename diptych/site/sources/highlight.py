"""The code of a page as HTML: highlighted lines whose identifiers can be lit up.

A line is `<span class="ln" id="L12"><i>12</i><code>...</code></span>`, `R12` on the right. Within
it `<b data-n="name">` is an identifier, and k, s, c, m, d are keywords, strings, comments, numbers
and decorators. The class bw marks the hand-written backward pass.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup, escape
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from diptych.site.sources.page import Quote, SideName, SourcePage, Statement
from diptych.site.sources.vocabulary import is_backward_name, twin

CLASSES = ((Keyword, "k"), (Operator.Word, "k"), (String, "s"), (Comment, "c"), (Number, "m"))
LONG = 72
"""A longer line may be broken after a bracket or a comma."""
SIGNS = re.compile(r"-&gt;|-<b [^>]*>[^<]*</b>")
Token = tuple[Any, str]
Interval = tuple[int, int]


class Highlighter:
    """The lines of both sides of a page, as HTML."""

    def __init__(self, page: SourcePage) -> None:
        self._lines = {side: _lines(text, side) for side, text in page.texts.items()}
        self._indents = {
            side: [len(line) - len(line.lstrip()) for line in text.splitlines()]
            for side, text in page.texts.items()
        }

    def html(self, statements: Iterable[Statement], side: SideName) -> Markup:
        """The lines of statements; `--i` is a line's indentation, for one that is broken."""
        return Markup().join(
            self._line(number, side, statement.kind == "vjp")
            for statement in statements
            for number in range(statement.first, statement.last + 1)
        )

    def quote(self, quote: Quote) -> Markup:
        """The code of a quoted line."""
        return _lines(quote.text, "right")[0]

    def _line(self, number: int, side: SideName, is_vjp: bool) -> Markup:
        indent = self._indents[side][number - 1]
        return Markup('<span class="{}" id="{}{}"{}><i>{}</i><code>{}</code></span>').format(
            "ln bw" if is_vjp else "ln",
            side[0].upper(),
            number,
            Markup(' style="--i:{}"').format(indent) if indent else "",
            number,
            self._lines[side][number - 1],
        )


def _lines(text: str, side: SideName) -> list[Markup]:
    """The highlighted lines of a source text."""
    lambdas = _backward_lambdas(text) if side == "left" else {}
    tokens = _token_lines(text)
    widths = [sum(len(part) for _, part in line) for line in tokens]
    return [
        keep_signs(Markup().join(_spans(line, lambdas.get(number, []), side, width > LONG)))
        for number, (line, width) in enumerate(zip(tokens, widths, strict=True), 1)
    ]


def keep_signs(html: Markup) -> Markup:
    """Python as HTML in which no line wraps within an arrow or after the sign of a name."""
    return Markup(SIGNS.sub(r'<span class="nw">\g<0></span>', html))


def _token_lines(text: str) -> list[list[Token]]:
    """The tokens of each line; neighbours of the same class are one token."""
    lines: list[list[Token]] = [[]]
    for kind, value in PythonLexer(stripnl=False).get_tokens(text):
        for k, part in enumerate(value.split("\n")):
            if k:
                lines.append([])
            if not part:
                continue
            line = lines[-1]
            if line and _css(kind) and _css(line[-1][0]) == _css(kind) != "b":
                line[-1] = kind, line[-1][1] + part
            else:
                line.append((kind, part))
    return lines


def _spans(
    line: list[Token], backward: list[Interval], side: SideName, is_long: bool
) -> Iterator[Markup]:
    column, is_open = 0, False
    for kind, text in line:
        inside = any(first <= column < last for first, last in backward)
        if inside != is_open:
            yield Markup('<span class="bw">' if inside else "</span>")
            is_open = inside
        yield _span(kind, text, side, is_long)
        column += len(text)
    if is_open:
        yield Markup("</span>")


def _span(kind: Any, text: str, side: SideName, is_long: bool) -> Markup:
    css = _css(kind)
    if css == "b":
        tint = Markup(' class="bw"') if side == "left" and is_backward_name(text) else ""
        return Markup('<b data-n="{}"{}>{}</b>').format(twin(text), tint, text)
    if css:
        return Markup('<span class="{}">{}</span>').format(css, text)
    html = str(escape(text))
    return Markup(re.sub(r"[(,]", r"\g<0><wbr>", html) if is_long else html)


def _css(kind: Any) -> str:
    """The class of a token: "b" for an identifier, "" for brackets, operators and the rest."""
    if kind in Name.Decorator:
        return "d"
    if kind in Name.Builtin or kind in Name.Exception:
        return ""
    if kind in Name:
        return "b"
    return next((css for parent, css in CLASSES if kind in parent), "")


def _backward_lambdas(text: str) -> dict[int, list[Interval]]:
    """By line, the columns of lambdas that are vjps: returned, or assigned to a vjp's name."""
    lines = text.splitlines()
    result: dict[int, list[Interval]] = {}
    for node in ast.walk(ast.parse(text)):
        for vjp in _lambdas(node):
            for number in range(vjp.lineno, (vjp.end_lineno or 0) + 1):
                line = lines[number - 1]
                first = _column(line, vjp.col_offset) if number == vjp.lineno else 0
                is_last = number == vjp.end_lineno
                last = _column(line, vjp.end_col_offset or 0) if is_last else len(line)
                result.setdefault(number, []).append((first, last))
    return result


def _lambdas(node: ast.AST) -> list[ast.Lambda]:
    """The vjps of one statement."""
    value = getattr(node, "value", None)
    values = value.elts if isinstance(value, ast.Tuple) else []
    if isinstance(node, ast.Return):
        return [v for v in values if isinstance(v, ast.Lambda)]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        places = node.targets[0].elts
        pairs = zip(places, values, strict=False) if len(places) == len(values) else ()
        return [
            v
            for place, v in pairs
            if isinstance(v, ast.Lambda) and is_backward_name(getattr(place, "id", ""))
        ]
    return []


def _column(line: str, offset: int) -> int:
    """The column of an offset in bytes."""
    return len(line.encode()[:offset].decode())
