"""The documentation of a page or a definition, from the docstrings of both panels."""

from __future__ import annotations

import ast

from diptych.site.prose.docstrings import Doc, document
from diptych.site.sources.page import Definition, SourcePage

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documentation(part: Definition | SourcePage) -> Doc:
    """The docstring of the left panel, and what that of the right panel says besides."""
    if isinstance(part, SourcePage):
        nodes = [ast.parse(part.texts[side]) for side in ("left", "right")]
    else:
        nodes = [part.left, part.right]
    texts = [ast.get_docstring(n) if isinstance(n, DOCUMENTED) else None for n in nodes]
    return document(*texts)
