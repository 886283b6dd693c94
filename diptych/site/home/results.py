"""The recorded results of benchmarks/results as sections of a page, with their figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from diptych.names import EXPERIMENTS
from diptych.runs import tables
from diptych.runs.tables.markdown import Record
from diptych.site.home import repository

FIGURES = {
    "Comparison with published results": ("training_curves", "averaged_lstms"),
    "Log-likelihood of images": ("vlae_static_mnist",),
    "Reconstruction of colour images": ("conv_vae_cifar10",),
    "One training on both panels": ("loss_curves",),
    "Memory under five dropout schemes": ("memory_rnn", "memory_lstm"),
    "Regularisation of a large LSTM": ("regularisation", "lstm_schemes_ptb"),
    "KL against the receptive field of the decoder": ("information_preference",),
    "Posterior collapse": ("posterior_collapse",),
    "Windows and contexts on natural images": ("colour_windows",),
    "The laboratory": tuple(f"lab_{name}" for name in EXPERIMENTS),
}
"""The figures of docs/ that belong to a section of docs/results.md."""


@dataclass(frozen=True)
class Section:
    """A section of the page of results."""

    title: str
    html: Markup
    figures: tuple[Path, ...] = ()

    @property
    def id(self) -> str:
        """The anchor of the section."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def sections(records: Sequence[Record]) -> list[Section]:
    """The tables that docs/results.md and docs/speed.md hold, made from the records."""
    if not records:
        return []
    text = tables.results_page(list(records)).replace("\n### ", "\n#### ")
    speed = tables.speed_page(list(records)).replace("## ", "### ")
    parts = [part.partition("\n") for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]]
    result = [Section(title, _html(body), _figures(title)) for title, _, body in parts]
    return [*result, Section("Speed of each model", _html(speed))]


def summary(records: Sequence[Record]) -> Markup:
    """The table of README.md: the best recorded result of each model, and the speed of a step."""
    return _html(tables.summary(list(records))) if records else Markup()


def _html(text: str) -> Markup:
    """Markdown with tables as HTML; what is wider than the page scrolls, also by keyboard."""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = html.replace("<pre>", '<pre tabindex="0">')
    html = html.replace(
        "<table>", '<div class="wide" tabindex="0" role="group" aria-label="table"><table>'
    )
    return Markup(html.replace("</table>", "</table></div>"))


def _figures(title: str) -> tuple[Path, ...]:
    folder = repository.folder("docs")
    paths = [folder / f"{name}.png" for name in FIGURES.get(title, ())] if folder else []
    return tuple(path for path in paths if path.is_file())
