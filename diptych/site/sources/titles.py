"""The title, the first sentence and the source of a page, from the docstring of its file."""

from __future__ import annotations

import ast
import re


def title(text: str) -> str:
    """The subject of the first sentence: "The LSTM language model"."""
    subject = re.split(r", by hand|, vectorised|: |, so that", lede(text))[0]
    return subject.rstrip(".")


def lede(text: str) -> str:
    """The first sentence of the docstring."""
    first = _docstring(text).partition("\n\n")[0]
    return re.split(r"   |(?<=\.)\s", " ".join(first.splitlines()))[0].strip()


def source(text: str) -> str:
    """The paragraph after "Source:" or "Sources:", up to "Where we differ"."""
    for paragraph in _docstring(text).split("\n\n"):
        for match in re.finditer(r"^Sources?: (.*)", paragraph, re.MULTILINE | re.DOTALL):
            return re.split(r"\nWhere |; see model_specs", match[1])[0].replace("\n", " ").strip()
    return ""


def _docstring(text: str) -> str:
    return ast.get_docstring(ast.parse(text)) or ""
