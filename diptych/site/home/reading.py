"""A reading order through the pages for a student, with the minutes that each page takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.site.home.notebooks import Notebook
from diptych.site.sources.page import SourcePage

LINES_A_MINUTE = 15
"""Lines of the longer panel, with their docstrings, that a student reads in a minute."""


@dataclass(frozen=True)
class Plan:
    """A walk as it is written down: a question, the pages that answer it, a notebook."""

    question: str
    answer: str
    stems: str
    """the files of its pages, separated by spaces"""
    notebook: str


PLANS = (
    Plan(
        "How is one model written twice?",
        "The smallest model of all, whole: its loss, its hand-written gradients, its layers, and "
        "the optimiser that trains it.",
        "mlp_vae nn/functional nn/layers probability/distributions nn/module nn/init nn/optim",
        "01_mlp_vae",
    ),
    Plan(
        "Where does a dropout mask enter a recurrent network?",
        "Two cells, one loop over time, five places for a mask, and why it matters whether a mask "
        "is drawn once or at every step.",
        "rnn lstm recurrent/network recurrent/masks recurrent/fused",
        "02_recurrent_dropout",
    ),
    Plan(
        "What is the gradient of a convolution?",
        "A convolution as a product of matrices, its adjoint, and batch normalisation.",
        "conv_vae nn/convolution nn/correlation nn/normalisation probability/grey_distributions",
        "03_conv_vae",
    ),
    Plan(
        "How can a gradient pass through a random number?",
        "The score function and the reparameterisation, and how much noise each of them adds.",
        "score_function nn/random nn/checks",
        "04_elbo_estimators",
    ),
    Plan(
        "How does a decoder leave something to the code?",
        "Masked convolutions, flows and their inverses, and the lossy autoencoder made of them.",
        "vlae autoregressive/latents autoregressive/flow autoregressive/pixel_cnn "
        "autoregressive/stacked_pixel_cnn autoregressive/ancestral autoregressive/resnet "
        "nn/weight_norm",
        "05_vlae",
    ),
)
REST = Plan("What else is there?", "Files that no walk above has visited.", "", "")


@dataclass(frozen=True)
class Walk:
    """A walk through pages, and at its end a notebook if there is one."""

    plan: Plan
    pages: tuple[SourcePage, ...]
    notebook: Notebook | None

    @property
    def minutes(self) -> int:
        """The minutes of all pages and of the notebook."""
        book = self.notebook.minutes if self.notebook else 0
        return book + sum(minutes(page) for page in self.pages)


def lines(page: SourcePage) -> tuple[int, int]:
    """The lines of the left and of the right file, 0 for a file that is not there."""
    return len(page.texts["left"].splitlines()), len(page.texts["right"].splitlines())


def minutes(page: SourcePage) -> int:
    """The minutes to read both panels of a page, at least one."""
    return max(1, math.ceil(max(lines(page)) / LINES_A_MINUTE))


def walks(pages: Sequence[SourcePage], books: Sequence[Notebook]) -> list[Walk]:
    """The walks through all pages; pages that no plan names come last."""
    by_stem = {page.file.stem: page for page in pages}
    notebooks = {book.stem: book for book in books}
    planned = {stem for plan in PLANS for stem in plan.stems.split()}
    result = [
        Walk(
            plan,
            tuple(by_stem[stem] for stem in plan.stems.split() if stem in by_stem),
            notebooks.get(plan.notebook),
        )
        for plan in PLANS
    ]
    rest = tuple(page for page in pages if page.file.stem not in planned)
    return result + ([Walk(REST, rest, None)] if rest else [])
