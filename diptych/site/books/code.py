"""Python code as HTML."""

from __future__ import annotations

from markupsafe import Markup
from pygments import highlight as pygments_highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

_LEXER, _FORMATTER = PythonLexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)


def highlight(code: str) -> Markup:
    """Lines of Python with a span for every token; the classes are Pygments'."""
    return Markup(pygments_highlight(code.rstrip("\n"), _LEXER, _FORMATTER))
