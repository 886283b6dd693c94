"""Small sites for tests of the index: a few real pages, and measurements in place of a check."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from diptych.site.home.home import home_files
from diptych.site.look import jinja_environment
from diptych.site.sources.page import SourcePage
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

STEMS = ("lstm", "vlae", "nn/functional", "recurrent/masks")


def pages(stems: tuple[str, ...] = STEMS) -> list[SourcePage]:
    """The pages of a few files, in reading order."""
    return [read_page(file) for file in twin_files() if file.stem in stems]


def write_home(
    out: Path, stems: tuple[str, ...] = STEMS, measured: Callable[[str], Any] = lambda slug: None
) -> dict[str, str]:
    """Write the files of the index to `out`; return the text of those that are text."""
    texts = {}
    for name, contents in home_files(jinja_environment(), pages(stems), out, measured=measured):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(contents)
        if not name.endswith(".png"):
            texts[name] = contents.decode()
    return texts


def measurements(
    variant: str, error64: float = 3e-16, error32: float = 2e-7, verdict: str = "agrees"
) -> dict[str, Any]:
    """The measurements of a page with one variant and two tensors, as a page's JSON holds them."""
    row = ["h", "value", [4, 3], error64, 1e-13, error32, 2e-6]
    other = ["x", "value", [4, 3], 0.0, 1e-13, None, None]
    outcome64 = [verdict, 74, error64, "h", f"diptych check '{variant}' --dtype float64 -v"]
    outcome32 = ["agrees", 70, error32, "h", f"diptych check '{variant}' --dtype float32 -v"]
    return {
        "variants": [variant],
        "rows": {variant: {"LSTM.features.3": [row, other]}},
        "verdicts": {variant: {"float64": outcome64, "float32": outcome32}},
        "not_reached": [],
    }


class Anchors(HTMLParser):
    """The addresses and the identifiers of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.addresses.append(value)
            elif name == "id" and value:
                self.ids.append(value)
