"""The code of a page as HTML: highlighted lines whose identifiers can be lit up."""

from __future__ import annotations

from markupsafe import Markup, escape
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Token

from diptych.site.sources.page import SideName, SourcePage, Statement


class Highlighter:
    """The lines of both sides of a page, as HTML."""

    def __init__(self, page: SourcePage) -> None:
        self._lines = {side: _lines(text) for side, text in page.texts.items()}
        self._indents = {
            side: [len(line) - len(line.lstrip()) for line in text.split("\n")]
            for side, text in page.texts.items()
        }

    def html(self, statements: tuple[Statement, ...], side: SideName) -> Markup:
        """The lines of statements, each in a span with its number."""
        result = Markup()
        for statement in statements:
            for n in range(statement.first, statement.last + 1):
                code = self._lines[side][n - 1]
                result += Markup(
                    '<span class="ln" id="{}{}" style="--i:{}"><i>{}</i><code>{}</code></span>'
                ).format(side[0].upper(), n, self._indents[side][n - 1], n, code)
        return result


def _lines(text: str) -> list[Markup]:
    lines = [Markup()]
    for kind, value in PythonLexer(stripnl=False).get_tokens(text):
        for k, part in enumerate(value.split("\n")):
            if k:
                lines.append(Markup())
            if part:
                lines[-1] += _span(kind, part)
    return lines


def _span(kind: object, text: str) -> Markup:
    if kind in Token.Name and text.isidentifier() and text != "self":
        return Markup('<b data-n="{}">{}</b>').format(text, text)
    css = STANDARD_TYPES.get(kind, "")  # type: ignore[call-overload]
    return Markup('<span class="{}">{}</span>').format(css, text) if css else escape(text)
