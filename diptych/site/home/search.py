"""The entries of the search: every page, definition, picture, source and notebook."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Sequence

from diptych.site.books.reading import Notebook
from diptych.site.home.rows import first_sentence
from diptych.site.sources.page import Definition, SourcePage

Entry = tuple[str, str, str, str]
"""name, kind, address from the folder of the site, summary"""


def entries(pages: Sequence[SourcePage], books: Sequence[Notebook] = ()) -> Iterator[Entry]:
    """The entries of the pages and their definitions, and of the notebooks."""
    for page in pages:
        address = f"pages/{page.file.slug}.html"
        text = page.texts["left"] or page.texts["right"]
        yield page.file.stem, "page", address, first_sentence(text)
        for definition in page.walk():
            if definition.kind != "module":
                summary = _summary(definition)
                yield definition.name, definition.kind, f"{address}#{definition.name}", summary
                for source in _sources(definition):
                    yield source, "source", f"{address}#{definition.name}", definition.name
    for book in books:
        yield book.title, "notebook", f"pages/{book.slug}.html", f"about {book.minutes} minutes"


def script(items: Iterable[Entry]) -> str:
    """The file assets/search.js; each entry is listed once."""
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in dict.fromkeys(items))
    return f"window.SEARCH = [\n{lines}\n];\n"


def _docstring(node: ast.AST | None) -> str:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return (ast.get_docstring(node) or "") if isinstance(node, kinds) else ""


def _summary(definition: Definition) -> str:
    text = _docstring(definition.left) or _docstring(definition.right)
    return text.partition("\n")[0]


def _sources(definition: Definition) -> list[str]:
    """The publications that a docstring names after "Source:"."""
    text = _docstring(definition.left) or _docstring(definition.right)
    lines = [line.strip() for line in text.splitlines()]
    return [line.removeprefix("Source:").strip() for line in lines if line.startswith("Source:")]
