"""The rows of the index: one for each page, grouped by chapter."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from diptych.runs.tables.speed import step_ratios
from diptych.runs.tables.trained import select
from diptych.site.books.reading import Notebook
from diptych.site.home import reading, repository
from diptych.site.home.tests_of_files import count_tests
from diptych.site.home.verdicts import Verdict, verdicts
from diptych.site.sources.page import SourcePage

CHAPTERS = {
    "": "Models",
    "nn": "Layers, optimisers, random bits",
    "probability": "Probability",
    "recurrent": "Recurrent networks",
    "autoregressive": "Autoregressive models",
}
Measured = Callable[[str], Mapping[str, Any] | None]
"""A function (slug of a page) -> its measurements as JSON, None without any."""


@dataclass(frozen=True)
class Row:
    """One page in the index."""

    page: SourcePage
    source: str
    """the publication that the file names, with author and year; "" without any"""
    verdicts: dict[str, Verdict]
    speed: dict[str, str]
    """NumPy's time for a training step relative to PyTorch's, by dtype"""
    lines: tuple[int, int]
    tests: int | None
    """None in an installed package, which has no tests"""
    notebooks: tuple[Notebook, ...]
    minutes: int

    @property
    def url(self) -> str:
        """The address of the page, from the folder of the site."""
        return f"pages/{self.page.file.slug}.html"

    def measured_url(self, dtype: str) -> str:
        """The address of the page with the variant of the worst error in a dtype."""
        chosen = {"variant": self.verdicts[dtype].variant, "dtype": dtype}
        return f"{self.url}?{urlencode(chosen)}"


def rows_by_chapter(
    pages: Sequence[SourcePage], measured: Measured, books: Sequence[Notebook]
) -> dict[str, list[Row]]:
    """The rows of all pages, by the title of their chapter, in reading order."""
    folder = repository.folder("parity_tests")
    counts = count_tests(folder, [page.file.stem for page in pages]) if folder else None
    ratios = step_ratios(select(repository.records(), "speed"))
    result: dict[str, list[Row]] = {}
    for page in pages:
        stem = page.file.stem
        row = Row(
            page,
            source(page.texts["left"]),
            verdicts(measured(page.file.slug), stem),
            ratios.get(stem, {}),
            reading.lines(page),
            counts[stem] if counts is not None else None,
            reading.notebooks_about(stem, books),
            reading.minutes(page),
        )
        result.setdefault(CHAPTERS.get(page.file.chapter, page.file.chapter), []).append(row)
    return result


def source(text: str) -> str:
    """The publication that a module's docstring names after "Source:", up to its year."""
    match = re.search(r"^Source: (.+?\(?\d{4}\)?)", docstring(text), re.MULTILINE)
    return match[1] if match else ""


def first_sentence(text: str) -> str:
    """The first sentence of a module's docstring, without its remark on the other panel."""
    return re.sub(r"\s*(Left|Right) panel: .*", "", docstring(text).partition("\n")[0])


def docstring(text: str) -> str:
    """The docstring of a module; "" without any."""
    return ast.get_docstring(ast.parse(text)) or ""
