"""The exponent of a growth: seconds = c x^k is a line in log-log, whose slope is k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEAST_POINTS = 3


class Fit(NamedTuple):
    """A power law through the upper part of the measured range."""

    exponent: float
    standard_error: float
    r2: float
    """The square of the correlation of log x and log seconds."""
    first: float
    """The smallest x of the fit."""


def fit(xs: Sequence[float], seconds: Sequence[float]) -> Fit:
    """Fit log seconds = log c + k log x by least squares to the upper half of the points.

    The smaller x are left out because there a call takes its constant time, which no power of x
    describes. At least three points are fitted.
    Raises: ValueError for fewer points, for values that are not positive, or of unequal number.
    """
    x, y = np.asarray(xs, float), np.asarray(seconds, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < LEAST_POINTS:
        raise ValueError(
            f"xs, seconds: got shapes {x.shape} and {y.shape}, takes one of at least {LEAST_POINTS}"
        )
    if not ((x > 0) & (y > 0)).all():
        raise ValueError("xs, seconds: got a value that is not positive")
    order = np.argsort(x)
    upper = order[-max(LEAST_POINTS, -(-len(x) // 2)) :]
    line = stats.linregress(np.log(x[upper]), np.log(y[upper]))
    return Fit(float(line.slope), float(line.stderr), float(line.rvalue**2), float(x[upper[0]]))
