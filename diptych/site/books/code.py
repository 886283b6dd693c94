"""Python code as HTML."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Token

STYLED: tuple[Any, ...] = (
    Token.Keyword,
    Token.Operator.Word,
    Token.Literal.String,
    Token.Comment,
    Token.Name.Function,
    Token.Name.Class,
    Token.Name.Decorator,
)
"""The tokens that notebook.css styles; a span for every name would double the size of a page."""
_LEXER = PythonLexer(stripnl=False, ensurenl=False)


def highlight(code: str) -> Markup:
    """Lines of Python with a span around keywords, strings, comments and names that are defined.

    The classes are those of Pygments.
    """
    return Markup().join(_span(kind, text) for kind, text in _LEXER.get_tokens(code.rstrip("\n")))


def _span(kind: Any, text: str) -> Markup:
    if not any(kind in styled for styled in STYLED):
        return escape(text)
    css = STANDARD_TYPES.get(kind, "")
    return Markup('<span class="{}">{}</span>').format(css, text)
