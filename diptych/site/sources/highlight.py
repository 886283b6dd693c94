"""The code of a page as HTML: highlighted lines whose identifiers can be lit up.

A line is `<span class="ln" id="L12"><i>12</i><code>...</code></span>`, `R12` on the right. Within
it `<b data-n="name">` is an identifier; the other classes are those of code.py. The class bw marks
the hand-written backward pass.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

from markupsafe import Markup, escape

from diptych.site.sources.code import NAME, Token, token_lines
from diptych.site.sources.page import Quote, SideName, SourcePage, Statement
from diptych.site.sources.vocabulary import is_backward_name, twin

LONG = 72
"""A longer line may be broken after a bracket or a comma."""
SIGNS = re.compile(r"-&gt;|-<b [^>]*>[^<]*</b>")
Interval = tuple[int, int]


class Highlighter:
    """The lines of both sides of a page, as HTML."""

    def __init__(self, page: SourcePage) -> None:
        self._texts = {side: text.splitlines() for side, text in page.texts.items()}
        self._lines = {side: code_lines(text, side) for side, text in page.texts.items()}

    def html(self, statements: Iterable[Statement], side: SideName) -> Markup:
        """The lines of statements, each with its number as anchor."""
        return Markup().join(
            numbered_line(
                number,
                self._lines[side][number - 1],
                text=self._texts[side][number - 1],
                is_vjp=statement.kind == "vjp",
                anchor=f"{side[0].upper()}{number}",
            )
            for statement in statements
            for number in range(statement.first, statement.last + 1)
        )

    def quote(self, quote: Quote) -> Markup:
        """The code of a quoted line."""
        return code_lines(quote.text, "right")[0]


def code_lines(text: str, side: SideName) -> list[Markup]:
    """The highlighted lines of a source text."""
    lambdas = _backward_lambdas(text) if side == "left" else {}
    return [
        keep_signs(Markup().join(_spans(line, lambdas.get(number, []), side)))
        for number, line in enumerate(token_lines(text), 1)
    ]


def keep_signs(html: Markup) -> Markup:
    """Python as HTML in which no line wraps within an arrow or after the sign of a name."""
    return Markup(SIGNS.sub(r'<span class="nw">\g<0></span>', str(html)))


def numbered_line(
    number: int, code: Markup, *, text: str, is_vjp: bool, anchor: str = ""
) -> Markup:
    """A line with its number; `--i` is the indentation of `text`, for a line that is broken."""
    indent = len(text) - len(text.lstrip())
    return Markup('<span class="{}"{}{}><i>{}</i><code>{}</code></span>').format(
        "ln bw" if is_vjp else "ln",
        Markup(' id="{}"').format(anchor) if anchor else "",
        Markup(' style="--i:{}"').format(indent) if indent else "",
        number,
        code,
    )


def _spans(line: list[Token], backward: list[Interval], side: SideName) -> Iterator[Markup]:
    column, is_open, is_long = 0, False, sum(len(part) for _, part in line) > LONG
    for css, text in line:
        inside = any(first <= column < last for first, last in backward)
        if inside != is_open:
            yield Markup('<span class="bw">' if inside else "</span>")
            is_open = inside
        yield _span(css, text, side, is_long)
        column += len(text)
    if is_open:
        yield Markup("</span>")


@cache
def _span(css: str, text: str, side: SideName, is_long: bool) -> Markup:
    if css in (NAME, "f"):
        tint = ' class="bw"' if side == "left" and is_backward_name(text) else ""
        return Markup(f'<b data-n="{twin(text)}"{tint}>{text}</b>')
    html = str(escape(text))
    if css:
        return Markup(f'<span class="{css}">{html}</span>')
    return Markup(re.sub(r"[(,]", r"\g<0><wbr>", html) if is_long else html)


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
