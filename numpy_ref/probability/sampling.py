"""Draws by elementary functions: Gamma variates, quantiles, and the inverse of log Phi.

SciPy has the first and the last, but torch does not; with these functions both panels draw the same
numbers.

Shapes: each function is elementwise, and its result has the shape of its argument; float64.
Units: nats, where a logarithm is returned.
Sources: Marsaglia & Tsang, "A simple method for generating Gamma variables" (2000).
Right panel: torch_impl/probability/sampling.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Array

ATTEMPTS = 8
"""Normal numbers of one draw. Each is accepted with a probability above 0.95: all are refused once
in 10^11 draws."""
SERIES_LIMIT = 0.05
FAR = -300.0  # e^y underflows below -745


def sample_by_icdf(icdf: Callable[..., Array], key: Key, *parameters: Array) -> Array:
    """icdf(parameters, u) in float64, u uniform over the midpoints of 2^24 cells of (0, 1).

    The result has the dtype of the parameters.
    """
    u = random.uniform(key, parameters[0].shape) + 2.0**-25
    return icdf(*(p.astype(np.float64) for p in parameters), u).astype(parameters[0].dtype)


def log_gamma_draw(a: Array, key: Key) -> Array:
    """The logarithm of a draw from Gamma(a, 1), a > 0.

        log g = log d + 3 log(1 + t) + log(u) / a,   d = a + 2/3,   t = n / (3 sqrt(d))

    d (1 + t)^3 has the distribution Gamma(a + 1, 1) if t is the first of which, with a uniform
    number u', t > -1 and log u' < 3 d (log(1 + t) - t + t^2 / 2 - t^3 / 3). The factor u^(1 / a)
    makes it Gamma(a, 1), and a logarithm holds it where it would underflow.
    If no attempt is accepted, t = 0.
    """
    shape, d = a.shape, a + 2 / 3
    t = np.zeros_like(a)
    for attempt in reversed(range(ATTEMPTS)):  # an earlier one overwrites a later one
        stream = key.fold_in(attempt)
        n = random.normal(stream.fold_in("normal"), shape)
        u = random.uniform(stream.fold_in("uniform"), shape) + 2.0**-25
        candidate = n / (3 * np.sqrt(d))
        accepted = (candidate > -1) & (np.log(u) < 3 * d * _excess(candidate))
        t = np.where(accepted, candidate, t)
    u = random.uniform(key.fold_in("power"), shape) + 2.0**-25
    return np.log(d) + 3 * np.log1p(t) + np.log(u) / a


def _excess(t: Array) -> Array:
    """log(1 + t) - t + t^2 / 2 - t^3 / 3 for t > -1; -t^4 / 4 + t^5 / 5 - ... where t is small."""
    small = np.abs(t) < SERIES_LIMIT
    s = np.where(small, t, 0.0)
    series = np.zeros_like(s)
    for k in range(16, 3, -1):
        series = series * s + (-1) ** (k + 1) / k
    r = np.where(small | (t <= -1), 1.0, t)
    closed_form = np.log1p(r) - r + r * r / 2 - r * r * r / 3
    return np.where(small, s**4 * series, closed_form)


def ndtri_exp(y: Array) -> Array:
    """The z with log Phi(z) = y < 0, the inverse of log_ndtr.

    >>> ndtri_exp(np.log([0.5, 0.975])).round(4) + 0.0
    array([0.  , 1.96])

    Below y = -300 by Newton's method from z = -sqrt(-2 y), with Mills' ratio as the slope:

        z <- z - (log Phi(z) - y) / (-z - 1 / z)

    Where we differ from scipy.special.ndtri_exp: at y = -3e5 that is off by 5e-10.
    """
    nearer = np.where(y > -0.5, -special.ndtri(-np.expm1(y)), special.ndtri(np.exp(y)))
    far = np.where(y < FAR, y, FAR)
    z = -np.sqrt(-2 * far)
    for _ in range(6):
        z = z + (special.log_ndtr(z) - far) / (z + 1 / z)
    return np.where(y < FAR, z, nearer)
