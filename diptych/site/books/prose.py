"""Markdown with formulas as HTML, with links to the study pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from mdit_py_plugins.dollarmath import dollarmath_plugin

from diptych.site.prose.mathml import mathml
from diptych.site.sources.code import highlight

TAG = re.compile(r"\\tag\{([^}]*)\}")
FILE = re.compile(r"(?:numpy_ref|torch_impl)/([a-z_0-9/]+)\.py")
NOTEBOOK = re.compile(r"(\d\d_[a-z_0-9]+)\.ipynb")
STUDY_PAGE = re.compile(r"out/(index\.html|pages/([a-z_0-9.]+)\.html)")


class Prose:
    """Turns the Markdown of notebooks into HTML.

    A file of a panel, a notebook or a page of the site that is named in backquotes becomes a link
    if its page is among `slugs`.
    """

    def __init__(self, slugs: Collection[str]) -> None:
        self.slugs = frozenset(slugs)
        self._markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
        dollarmath_plugin(self._markdown, allow_space=False)
        rules: Mapping[str, Any] = {
            "math_inline": self._math_inline,
            "math_block": self._math_block,
            "fence": self._fence,
            "code_inline": self._code_inline,
            "heading_open": self._heading_open,
            "link_open": self._link_open,
        }
        renderer: Any = self._markdown.renderer
        renderer.rules.update(rules)

    def html(self, text: str) -> Markup:
        """The HTML of a cell's text."""
        html = str(self._markdown.render(text))
        return Markup(html.replace("<th></th>", "<td></td>"))  # a column of names has no head

    def headings(self, text: str) -> list[tuple[str, Markup]]:
        """The anchors and the HTML of the headings of the second level."""
        tokens = self._markdown.parse(text)
        return [
            (anchor(after.content), Markup(self._markdown.renderInline(after.content)))
            for token, after in pairwise(tokens)
            if token.type == "heading_open" and token.tag == "h2"
        ]

    def link(self, code: str) -> str | None:
        """The address of the page of what stands in backquotes, or None."""
        if match := STUDY_PAGE.fullmatch(code):
            page = match[2]
            if page is None:
                return "../index.html"
            return f"{page}.html" if page in self.slugs else None
        if match := FILE.fullmatch(code):
            slug = match[1].replace("/", ".")
        elif match := NOTEBOOK.fullmatch(code):
            slug = f"notebook.{match[1]}"
        else:
            return None
        return f"{slug}.html" if slug in self.slugs else None

    def code(self, text: str) -> Markup:
        """Code within a sentence, as a link if it names something that has a page."""
        html = Markup("<code>{}</code>").format(text)
        address = self.link(text)
        return Markup('<a href="{}">{}</a>').format(address, html) if address else html

    def _math_inline(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        return str(mathml(tokens[i].content))

    def _math_block(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        text = tokens[i].content
        tags = TAG.findall(text)
        number = f'<span class="number">({escape(tags[0])})</span>' if tags else ""
        formula = mathml(TAG.sub("", text).strip(), "block")
        return f'<div class="formula">{formula}{number}</div>\n'

    def _fence(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        return f"<pre>{highlight(tokens[i].content)}</pre>\n"

    def _code_inline(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        return str(self.code(tokens[i].content))

    def _link_open(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        address = str(tokens[i].attrs["href"])
        return f'<a href="{escape(self.link(address) or address)}">'

    def _heading_open(self, tokens: Sequence[Token], i: int, *_: Any) -> str:
        return f'<{tokens[i].tag} id="{anchor(tokens[i + 1].content)}">'


def anchor(text: str) -> str:
    """The id of a heading: its words in lower case, joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
