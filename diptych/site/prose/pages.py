"""The docstrings of both panels for the pages of the site."""

from __future__ import annotations

import ast
from collections.abc import Callable

from jinja2 import Environment
from markupsafe import Markup

from diptych.site.prose.docstrings import Doc, document
from diptych.site.sources.page import Definition, SourcePage

_DOCUMENTED = ast.FunctionDef | ast.ClassDef | ast.Module


def docs_of(thing: Definition | SourcePage) -> Doc:
    """The docstring of a definition, or that of a page's files."""
    if isinstance(thing, SourcePage):
        left, right = (_docstring(ast.parse(thing.texts[s])) for s in ("left", "right"))
    else:
        left, right = _docstring(thing.left), _docstring(thing.right)
    return document(left, right)


def page_docs(environment: Environment) -> Callable[[Definition | SourcePage], Markup]:
    """A function that renders `docs_of` by doc.html.j2."""
    macros = environment.get_template("doc.html.j2").module

    def docs(thing: Definition | SourcePage) -> Markup:
        return Markup(macros.doc(docs_of(thing)))  # type: ignore[attr-defined]

    return docs


def _docstring(node: ast.AST | None) -> str:
    return ast.get_docstring(node) or "" if isinstance(node, _DOCUMENTED) else ""
