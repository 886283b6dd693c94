"""The entries of the search: every page, definition, derivation, picture, source and notebook."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from diptych.site.books import NotebookPage
from diptych.site.books.reading import Notebook
from diptych.site.home.rows import docstring, first_sentence
from diptych.site.prose.pages import docs_of
from diptych.site.sources.page import Definition, SourcePage

Entry = tuple[str, str, str, str] | tuple[str, str, str, str, str]
"""name, kind, address from the folder of the site, summary; further words that lead to it"""
LONGEST = 160
"""Letters of a summary."""
_WORD = re.compile(r"[a-z][a-z-]{3,}")


def entries(pages: Sequence[SourcePage], books: Sequence[Notebook] = ()) -> Iterator[Entry]:
    """The entries of the pages with their definitions and derivations, and of the notebooks."""
    for page in pages:
        address = f"pages/{page.file.slug}.html"
        text = page.texts["left"] or page.texts["right"]
        summary = first_sentence(text)
        yield page.file.stem, "page", address, summary, _other_words(docstring(text), summary)
        yield from _derivation(page, address, page.file.stem)
        for definition in page.walk():
            if definition.kind != "module":
                yield from _of_definition(definition, f"{address}#{definition.name}")
    for book in books:
        yield book.title, "notebook", f"pages/{book.slug}.html", f"about {book.minutes} minutes"


def sections(books: Iterable[NotebookPage]) -> Iterator[Entry]:
    """The sections of the notebooks by title."""
    for book in books:
        for anchor, title in book.outline:
            yield title.striptags(), "section", f"pages/{book.slug}.html#{anchor}", book.title


def script(items: Iterable[Entry]) -> str:
    """The file assets/search.js; each entry is listed once."""
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in dict.fromkeys(items))
    return f"window.SEARCH = [\n{lines}\n];\n"


def _of_definition(definition: Definition, address: str) -> Iterator[Entry]:
    text = _docstring(definition.left) or _docstring(definition.right)
    summary = _summary(text)
    yield definition.name, definition.kind, address, summary, _other_words(text, summary)
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("Source:"):
            yield line.removeprefix("Source:").strip(), "source", address, definition.name
    yield from _derivation(definition, address, definition.name)


def _derivation(thing: SourcePage | Definition, address: str, name: str) -> Iterator[Entry]:
    if title := docs_of(thing).derivation_title.striptags():
        yield title, "derivation", address, name


def _docstring(node: ast.AST | None) -> str:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return (ast.get_docstring(node) or "") if isinstance(node, kinds) else ""


def _summary(text: str) -> str:
    """The first paragraph on one line, cut at a word."""
    line = " ".join(text.partition("\n\n")[0].split())
    return line if len(line) <= LONGEST else line[:LONGEST].rpartition(" ")[0] + " …"


def _other_words(text: str, summary: str) -> str:
    """The words of a docstring that its summary lacks, each once."""
    known = set(_WORD.findall(summary.lower()))
    words = dict.fromkeys(_WORD.findall(text.lower()))
    return " ".join(word for word in words if word not in known)
