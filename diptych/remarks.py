"""Remarks on numbers that look better than they are: what a mark in a table means, and warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

MARK, UNKNOWN = "†", "‡"
ONE_DRAW = 2.0
"""An effective sample size below this one means that one draw has most of the weight."""
ROUNDING = 1e-9
"""The relative rounding error of an effective sample size, at most."""


def rests_on_one_draw(effective_samples: Any, samples: float) -> Any:
    """True where one of `samples` draws has most of the weight: an effective size below ONE_DRAW.

    Of two draws it is below 1.5: one then has over 79 % of the weight. Of one draw it is never, as
    the NLL is -ELBO.
    """
    limit = ONE_DRAW if samples > ONE_DRAW else (1 + samples) / 2
    return effective_samples < limit * (1 - ROUNDING)


def one_draw_mark(metrics: Mapping[str, Any], prefix: str = "", *, share: bool = False) -> str:
    """Return " †" if the importance weights of an example rest on one draw, else "".

    `metrics` are fields of `Evaluation` with a prefix such as "test_". With `share` the mark has
    the part of such examples, where it is known. Older records lack the effective sample size:
    " ‡" if their model has a latent.
    """
    least = metrics.get(f"{prefix}least_effective_samples")
    if least is None:
        return f" {UNKNOWN}" if metrics.get(f"{prefix}kl") else ""
    if not rests_on_one_draw(least, metrics.get(f"{prefix}samples", math.inf)):
        return ""
    part = metrics.get(f"{prefix}one_draw_share")
    if part is None or not share:
        return f" {MARK}"
    digits = np.format_float_positional(100 * part, 2, unique=False, fractional=False, trim="-")
    return f" {MARK} {digits} %"


def one_draw_note(metrics: Mapping[str, Any], prefix: str = "") -> str | None:
    """Explain the mark of `one_draw_mark`; None without one."""
    if not one_draw_mark(metrics, prefix).endswith(MARK):
        return None
    least, samples = (metrics[f"{prefix}{n}"] for n in ("least_effective_samples", "samples"))
    share = metrics.get(f"{prefix}one_draw_share")
    examples = "at least one example" if share is None else f"{100 * share:.3g} % of the examples"
    return (
        f"{MARK} The importance weights of {examples} rest on one draw (effective sample size "
        f"below {ONE_DRAW:g}, the smallest {least:.2f} of {samples}): there the NLL is a loose "
        "upper bound, which the standard error does not show."
    )


def one_draw_legend(table: str) -> str:
    """Return the sentences that explain the marks of a table of several runs; "" without marks."""
    legend = ""
    if MARK in table:
        legend += (
            f" {MARK}: for the given percentage of the images, or for some where none was "
            "recorded, one draw has most of the importance weight (effective sample size below "
            f"{ONE_DRAW:g}); the NLL of these images is a loose upper bound."
        )
    if UNKNOWN in table:
        legend += f" {UNKNOWN}: whether one draw has most of the weight was not recorded."
    return legend


def worse_than_uniform(loss: float, uniform: float, unit: str, split: str) -> str | None:
    """Warn if a loss is above the -log p of the uniform distribution; else None."""
    if not loss > uniform:
        return None
    return (
        f"worse than uniform: {loss:.4g} {unit} on {split}, {uniform:.4g} for the uniform "
        "distribution over all values"
    )
