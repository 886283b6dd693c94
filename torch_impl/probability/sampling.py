"""Draws on the device of the parameters: Gamma variates, quantiles, inverse of log Phi.

Every element takes the same operations, without a branch on a number, so that a GPU need not be
waited for.

Shapes: each function is elementwise, and its result has the shape of its argument; float64.
Units: nats, where a logarithm is returned.
Sources: Marsaglia & Tsang, "A simple method for generating Gamma variables" (2000).
Left panel: numpy_ref/probability/sampling.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model_specs.common.key import Key
from torch_impl.nn import random

ATTEMPTS = 8
"""Normal numbers of one draw. Each is accepted with a probability above 0.95: all are refused once
in 10^11 draws."""
SERIES_LIMIT = 0.05
FAR = -300.0  # e^y underflows below -745


def sample_by_icdf(icdf: Callable[..., Tensor], key: Key, *parameters: Tensor) -> Tensor:
    """icdf(parameters, u) in float64, u uniform over the midpoints of 2^24 cells of (0, 1).

    The result has the dtype of the parameters.
    """
    first = parameters[0]
    u = random.uniform(key, tuple(first.shape), device=first.device) + 2.0**-25
    return icdf(*(p.double() for p in parameters), u).to(first.dtype)


def log_gamma_draw(a: Tensor, key: Key) -> Tensor:
    """The logarithm of a draw from Gamma(a, 1), a > 0.

        log g = log d + 3 log(1 + t) + log(u) / a,   d = a + 2/3,   t = n / (3 sqrt(d))

    d (1 + t)^3 has the distribution Gamma(a + 1, 1) if t is the first of which, with a uniform
    number u', t > -1 and log u' < 3 d (log(1 + t) - t + t^2 / 2 - t^3 / 3). The factor u^(1 / a)
    makes it Gamma(a, 1), and a logarithm holds it where it would underflow.
    If no attempt is accepted, t = 0.
    """
    shape, d = tuple(a.shape), a + 2 / 3
    t = torch.zeros_like(a)
    for attempt in reversed(range(ATTEMPTS)):  # an earlier one overwrites a later one
        stream = key.fold_in(attempt)
        n = random.normal(stream.fold_in("normal"), shape, device=a.device)
        u = random.uniform(stream.fold_in("uniform"), shape, device=a.device) + 2.0**-25
        candidate = n / (3 * torch.sqrt(d))
        accepted = (candidate > -1) & (torch.log(u) < 3 * d * _excess(candidate))
        t = torch.where(accepted, candidate, t)
    u = random.uniform(key.fold_in("power"), shape, device=a.device) + 2.0**-25
    return torch.log(d) + 3 * torch.log1p(t) + torch.log(u) / a


def _excess(t: Tensor) -> Tensor:
    """log(1 + t) - t + t^2 / 2 - t^3 / 3 for t > -1; -t^4 / 4 + t^5 / 5 - ... where t is small."""
    small = t.abs() < SERIES_LIMIT
    s = torch.where(small, t, 0.0)
    series = torch.zeros_like(s)
    for k in range(16, 3, -1):
        series = series * s + (-1) ** (k + 1) / k
    r = torch.where(small | (t <= -1), 1.0, t)
    closed_form = torch.log1p(r) - r + r * r / 2 - r * r * r / 3
    return torch.where(small, s**4 * series, closed_form)


def ndtri_exp(y: Tensor) -> Tensor:
    """The z with log Phi(z) = y < 0, the inverse of log_ndtr.

    Below y = -300 by Newton's method from z = -sqrt(-2 y), with Mills' ratio as the slope:

        z <- z - (log Phi(z) - y) / (-z - 1 / z)

    Where we differ from scipy.special.ndtri_exp: at y = -3e5 that is off by 5e-10.
    """
    nearer = torch.where(
        y > -0.5, -torch.special.ndtri(-torch.expm1(y)), torch.special.ndtri(torch.exp(y))
    )
    far = torch.where(y < FAR, y, FAR)
    z = -torch.sqrt(-2 * far)
    for _ in range(6):
        z = z + (torch.special.log_ndtr(z) - far) / (z + 1 / z)
    return torch.where(y < FAR, z, nearer)
