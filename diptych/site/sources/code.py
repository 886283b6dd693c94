"""Python code as HTML.

k, s, c and d are keywords, strings, comments and decorators, f is a function or a class where it
is defined, p and o are the prompts and the outputs of a doctest.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from markupsafe import Markup, escape
from pygments.lexers import PythonConsoleLexer, PythonLexer
from pygments.token import Comment, Generic, Keyword, Name, Operator, String

NAME = "b"
CLASSES = (
    *((Keyword, "k"), (Operator.Word, "k"), (String, "s"), (Comment, "c"), (Name.Decorator, "d")),
    *((Generic.Prompt, "p"), (Generic.Output, "o"), (Name.Function, "f"), (Name.Class, "f")),
    *((Name.Builtin, ""), (Name.Exception, ""), (Name, NAME)),
)
_PYTHON = PythonLexer(stripnl=False, ensurenl=False)
_DOCTEST = PythonConsoleLexer(stripnl=False)

Token = tuple[str, str]
"""The class of a token, and its text; NAME for an identifier, "" for brackets and numbers."""


def highlight(code: str) -> Markup:
    """Python code, or a doctest, with a span around the tokens that have a colour."""
    return Markup("\n").join(highlighted_lines(code)).rstrip()


def highlighted_lines(code: str) -> list[Markup]:
    """The lines of `highlight`, each with its own spans."""
    return [Markup().join(_span(*token) for token in line) for line in token_lines(code)]


def token_lines(text: str) -> list[list[Token]]:
    """The tokens of each line; neighbours of the same class are one token."""
    lines: list[list[Token]] = [[]]
    lexer = _DOCTEST if text.startswith(">>>") else _PYTHON
    for kind, value in lexer.get_tokens(text):
        css = _css(kind)
        for k, part in enumerate(value.split("\n")):
            if k:
                lines.append([])
            line = lines[-1]
            if part and line and css == line[-1][0] and css not in ("", NAME):
                line[-1] = css, line[-1][1] + part
            elif part:
                line.append((css, part))
    return lines


@cache
def _css(kind: Any) -> str:
    return next((css for parent, css in CLASSES if kind in parent), "")


@cache
def _span(css: str, text: str) -> Markup:
    html = escape(text)
    return html if css in ("", NAME) else Markup(f'<span class="{css}">{html}</span>')
