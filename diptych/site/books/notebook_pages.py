"""The pages of the notebooks, and which notebooks tell of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from diptych.files import write_atomically
from diptych.site.books.outputs import Outputs
from diptych.site.books.prose import FILE, Prose
from diptych.site.books.reading import Notebook, notebooks, summary
from diptych.site.sources.code import highlight
from diptych.site.sources.twin_files import twin_files

FOLD = Markup('<details class="fold {}"><summary>{}</summary>\n{}</details>\n')


@dataclass(frozen=True)
class NotebookPage:
    """A notebook as a page of the site."""

    slug: str
    """"notebook.05_vlae" for pages/notebook.05_vlae.html"""
    title: str
    html: Markup
    reading_minutes: int
    run_seconds: int
    models: tuple[str, ...]
    outline: tuple[tuple[str, Markup], ...] = ()
    """Anchors and titles of its sections."""
    images: dict[str, bytes] = field(default_factory=dict, repr=False)
    """The pictures by file name, to be written to assets/notebooks."""
    problems: tuple[str, ...] = ()
    """Functions and lines of the panels that the notebook shows and that are gone, in words."""

    @property
    def file(self) -> str:
        """The notebook itself, such as "05_vlae.ipynb"."""
        return f"{self.slug.removeprefix('notebook.')}.ipynb"


@cache
def pages() -> tuple[NotebookPage, ...]:
    """The pages of all notebooks in reading order; none where the notebooks are not there."""
    slugs = {file.slug for file in twin_files()} | {book.slug for book in notebooks()}
    prose = Prose(slugs)
    return tuple(_page(book, prose) for book in notebooks())


def for_page(slug: str) -> list[tuple[str, str]]:
    """The titles of the notebooks that tell of a file, and their addresses from its page.

    The notebooks about the model come first, then those that name the file.
    """
    about = [book for book in notebooks() if slug in book.models]
    names = [book for book in notebooks() if slug in _files(book) and book not in about]
    return [(book.title, f"{book.slug}.html") for book in about + names]


def write_pages(out: Path, render: Callable[[NotebookPage], str]) -> None:
    """Write every notebook's page and pictures to the folder of the site."""
    for page in pages():
        write_atomically(out / "pages" / f"{page.slug}.html", render(page).encode())
        for name, content in page.images.items():
            write_atomically(out / "assets" / "notebooks" / name, content)


@cache
def _files(book: Notebook) -> frozenset[str]:
    """The slugs of the files that a notebook names or shows."""
    return frozenset(match[1].replace("/", ".") for match in FILE.finditer(book.text))


def _page(book: Notebook, prose: Prose) -> NotebookPage:
    outputs = Outputs(book.name, prose)
    html, outline = Markup(), []
    for label, cells in groupby(book.cells, summary):
        block = Markup().join(_cell(cell, prose, outputs) for cell in cells)
        html += FOLD.format(label.lower(), label, block) if label else block
    for cell in book.cells:
        if cell.cell_type == "markdown":
            outline += prose.headings(cell.source)
    return NotebookPage(
        book.slug,
        book.title,
        html,
        book.minutes,
        book.seconds,
        book.models,
        tuple(outline),
        outputs.images,
        tuple(outputs.problems),
    )


def _cell(cell: Any, prose: Prose, outputs: Outputs) -> Markup:
    if cell.cell_type == "markdown":
        return Markup('<div class="prose">{}</div>\n').format(prose.html(cell.source))
    if cell.cell_type != "code":
        return Markup()
    code = Markup('<pre class="cell">{}</pre>\n').format(highlight(cell.source))
    return code + outputs.html(cell) + Markup("\n")
