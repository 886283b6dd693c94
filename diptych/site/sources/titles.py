"""The title, the first sentence and the source of a page, from the docstring of its file."""

from __future__ import annotations

import ast
import re

TITLES = {
    "nn/correlation": "Correlation of images with a kernel",
    "nn/functional": "Pure functions and their vjps",
    "nn/init": "Initial weights",
    "nn/layers": "Linear, embedding, batch normalisation",
    "nn/normalisation": "Batch normalisation over processes",
    "nn/random": "Random numbers by Philox4x32-10",
    "probability/distributions": "Log-likelihoods and KL divergences",
    "probability/grey_distributions": "Densities on [0, 1] for grey values",
    "recurrent/fused": "Fused kernels of torch",
    "recurrent/masks": "Dropout masks of a recurrent network",
    "autoregressive/latents": "Latents of the VLAE and free bits",
}
"""Titles of files whose first sentence does not begin with its subject, or is long."""


def title(stem: str, text: str) -> str:
    """The subject of the first sentence: "The LSTM language model"."""
    subject = re.split(r", by hand|, vectorised|, NCHW|: ", lede(text))[0]
    return TITLES.get(stem, subject.rstrip("."))


def lede(text: str) -> str:
    """The first sentence of the docstring."""
    first = _docstring(text).partition("\n\n")[0]
    return re.split(r"   |(?<=\.)\s", " ".join(first.splitlines()))[0].strip()


def source(text: str) -> str:
    """The paper after "Source:" or "Sources:", "" if the docstring names none with a year."""
    match = re.search(r"^Sources?:\s(.*?)(?:\n\n|\nWhere |\Z)", _docstring(text), re.M | re.S)
    if not match or not re.search(r"\d{4}", match[1]):
        return ""
    paper = re.split(r"; see\s+model_specs|(?<=[a-z)\d])\. (?=[A-Z])", " ".join(match[1].split()))
    return paper[0].rstrip(".") if re.search(r"\b(?:19|20)\d\d\b", paper[0]) else ""


def _docstring(text: str) -> str:
    return ast.get_docstring(ast.parse(text)) or ""
