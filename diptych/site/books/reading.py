"""Find and read the notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).parents[3] / "notebooks"
FOLDED = {"answer": "Answer", "setup": "Imports"}
"""Tags of cells that a page folds, and the text in their place."""


@dataclass(frozen=True, eq=False)
class Notebook:
    """An executed notebook: its cells, and what its metadata say of it.

    The metadata "diptych" hold `models`, the models that it is about; `minutes`, the time to read
    it; and `seconds`, the time to run it.
    """

    name: str
    """such as "05_vlae" """
    cells: tuple[Any, ...]
    models: tuple[str, ...] = ()
    minutes: int = 0
    seconds: int = 0

    @property
    def slug(self) -> str:
        """The name of its page: "notebook.05_vlae" for pages/notebook.05_vlae.html."""
        return f"notebook.{self.name}"

    @property
    def title(self) -> str:
        """The first heading."""
        first = str(self.cells[0].source).splitlines()[0]
        return first.removeprefix("# ")

    @property
    def text(self) -> str:
        """All Markdown, code and shown code, to search for names of files in it."""
        parts = [cell.source for cell in self.cells]
        for cell in self.cells:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                parts += [data[kind] for kind in ("text/html", "text/markdown") if kind in data]
        return "\n".join(parts)


@cache
def notebooks() -> tuple[Notebook, ...]:
    """The notebooks in reading order; none in an installed package, which comes without them."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.ipynb")))


def _read(path: Path) -> Notebook:
    content: Any = nbformat.read(path, as_version=4)
    facts = content.metadata.get("diptych", {})
    return Notebook(
        path.stem,
        tuple(content.cells),
        tuple(facts.get("models", ())),
        facts.get("minutes", 0),
        facts.get("seconds", 0),
    )


def summary(cell: Any) -> str:
    """The text that stands in place of a folded cell, "" for a cell that is not folded."""
    tags = cell.metadata.get("tags", ())
    return next((text for tag, text in FOLDED.items() if tag in tags), "")
