"""A reading order through the pages for a student, with the minutes that each page takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diptych.site.books.reading import Notebook
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
    """the number of its notebook"""


PLANS = (
    Plan(
        "How is one model written twice?",
        "The smallest model of all, whole: its loss, its hand-written gradients, its layers, "
        "the optimiser that trains it, and an average of its weights.",
        "mlp_vae nn/functional nn/layers probability/distributions nn/module nn/init nn/optim "
        "nn/averaging",
        "01",
    ),
    Plan(
        "Where does a dropout mask enter a recurrent network?",
        "Two cells, one loop over time, five places for a mask, and why it matters whether a mask "
        "is drawn once or at every step.",
        "rnn lstm recurrent/network recurrent/masks",
        "02",
    ),
    Plan(
        "What is the gradient of a convolution?",
        "A convolution as a product of matrices, its adjoint, and densities of grey values.",
        "conv_vae nn/images nn/convolution nn/correlation probability/grey_distributions "
        "probability/sampling",
        "03",
    ),
    Plan(
        "How can a gradient pass through a random number?",
        "The score function and the reparameterisation, and how much noise each of them adds.",
        "score_function nn/random nn/checks nn/verdicts",
        "04",
    ),
    Plan(
        "How is a flow inverted?",
        "Masks that leave a triangular Jacobian, its determinant, and one pass for each dimension.",
        "autoregressive/made autoregressive/flow autoregressive/map_flow nn/weight_norm",
        "06",
    ),
    Plan(
        "How does a decoder leave something to the code?",
        "Masked convolutions, what a pixel sees, and the lossy autoencoder made of them.",
        "vlae probability/pixel_likelihoods probability/discretized_logistics "
        "autoregressive/latents autoregressive/pixel_cnn autoregressive/stacked_pixel_cnn "
        "autoregressive/gated_pixel_cnn autoregressive/ancestral autoregressive/pixel_steps "
        "autoregressive/gated_steps autoregressive/resnet",
        "05",
    ),
    Plan(
        "How fast is each panel?",
        "NumPy beside eager and compiled PyTorch, fused kernels, several processes, and a GPU.",
        "recurrent/fused nn/normalisation",
        "07",
    ),
)
REST = Plan("What else is there?", "Files and notebooks that no walk above has visited.", "", "")


@dataclass(frozen=True)
class Walk:
    """A walk through pages, and at its end the notebooks about them."""

    plan: Plan
    pages: tuple[SourcePage, ...]
    notebooks: tuple[Notebook, ...]

    @property
    def minutes(self) -> int:
        """The minutes of all pages and notebooks."""
        return sum(map(minutes, self.pages)) + sum(book.minutes for book in self.notebooks)


def lines(page: SourcePage) -> tuple[int, int]:
    """The lines of the left and of the right file, 0 for a file that is not there."""
    return len(page.texts["left"].splitlines()), len(page.texts["right"].splitlines())


def minutes(page: SourcePage) -> int:
    """The minutes to read both panels of a page, at least one."""
    return max(1, math.ceil(max(lines(page)) / LINES_A_MINUTE))


def walks(pages: Sequence[SourcePage], books: Sequence[Notebook]) -> list[Walk]:
    """The walks through all pages; pages and notebooks that no plan names come last."""
    by_stem = {page.file.stem: page for page in pages}
    result = []
    for plan in PLANS:
        stems = [stem for stem in plan.stems.split() if stem in by_stem]
        own = tuple(book for book in books if number(book) == plan.notebook)
        result.append(Walk(plan, tuple(by_stem.pop(stem) for stem in stems), own))
    planned = {plan.notebook for plan in PLANS}
    others = tuple(book for book in books if number(book) not in planned)
    rest = Walk(REST, tuple(by_stem.values()), others)
    return result + [rest] * bool(rest.pages or rest.notebooks)


def notebooks_about(stem: str, books: Sequence[Notebook]) -> tuple[Notebook, ...]:
    """The notebooks that are about a model, and the one at the end of the walk to its page."""
    planned = {plan.notebook for plan in PLANS if stem == plan.stems.split()[0]}
    return tuple(book for book in books if stem in book.models or number(book) in planned)


def number(book: Notebook) -> str:
    """The number of a notebook, such as "05"."""
    return book.name.partition("_")[0]
