"""The notebooks, and the files of the panels that each of them imports."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

IMPORT = re.compile(r"from (?:numpy_ref|torch_impl)([\w.]*) import ([\w, ]+)")
WORDS_A_MINUTE, LINES_A_MINUTE = 180, 12


@dataclass(frozen=True)
class Notebook:
    """A notebook: its title, the modules that it imports, and the minutes to read it."""

    stem: str
    title: str
    modules: frozenset[str]
    """such as "nn.layers", without the name of the panel"""
    minutes: int

    @property
    def url(self) -> str:
        """The address of its page, from the folder of the site."""
        return f"pages/notebook.{self.stem}.html"


def notebooks(folder: Path | None) -> list[Notebook]:
    """The notebooks of a folder in the order of their numbers."""
    return [] if folder is None else [_read(path) for path in sorted(folder.glob("*.ipynb"))]


def _read(path: Path) -> Notebook:
    cells = json.loads(path.read_text())["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    lines = [line for line in code.splitlines() if line.strip()]
    minutes = len(prose.split()) / WORDS_A_MINUTE + len(lines) / LINES_A_MINUTE
    title = prose.partition("\n")[0].lstrip("# ")
    return Notebook(path.stem, title, frozenset(_modules(code)), max(1, round(minutes)))


def _modules(code: str) -> set[str]:
    modules = set()
    for module, names in IMPORT.findall(code):
        modules.add(module.strip("."))
        modules |= {f"{module}.{name.split()[0]}".strip(".") for name in names.split(",")}
    return modules
