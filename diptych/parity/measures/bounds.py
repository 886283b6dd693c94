"""Error bounds of two correct panels, derived from dtype, size and conditioning.

A bound is never chosen because it passes. docs/parity.md explains each of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from diptych.arrays import is_float
from model_specs.common.key import Key
from numpy_ref.nn import random

FLOAT64_BOUND = 1e-13
"""The bound for float64 on the CPU, whatever the size, before it is widened by noisy runs."""
NOISE = 2.0**-30
"""Relative size of the random errors in a noisy run, which measures rounding errors."""
NOISY_RUNS = 3
"""Number of noisy runs."""
NOISE_RATIO = 32.0
"""Ratio of the difference of two correct implementations to the change in a noisy run, scaled to
the unit roundoff: LAMBDA for the tail of the distribution, 2 for errors on both sides, and 2 for
noisy runs that have little noise by chance."""
NO_DIGIT = 0.1
"""The largest bound of a tensor: beyond it no digit is correct, and nothing can be compared."""
SMALL = 1e-6
"""A tensor this much smaller than the largest of its run may be nothing but rounding errors, as if
the exact tensor were 0; it needs no correct digit."""
LAMBDA = 8.0
"""Higham & Mary (2019), theorem 2.4: a sum of n products has a relative backward error of at most
LAMBDA sqrt(n) u with probability over 1 - 2 n exp(-LAMBDA^2 / 2), here 1 - 3e-14 n."""
ELEMENTWISE = 8
"""Roundings of one call besides its sums: a bias, an exponential of a few ulp, a scale."""


def rounding_bound(dtype: np.dtype, roundings: int) -> float:
    """LAMBDA u sqrt(n): error bound after n roundings, u = eps / 2 of the dtype.

    A normwise bound for a well-conditioned computation; the square root stands for roundings
    that are independent and of either sign (Higham & Mary 2019, "A new approach to probabilistic
    rounding error analysis"). The classical worst case, n u, would let a TF32 product pass.
    """
    return LAMBDA * float(np.finfo(dtype).eps) / 2 * math.sqrt(roundings)


def check_precision(own: np.dtype | None, dtype: np.dtype, label: str) -> None:
    """Check that a side's parameters have the comparison's dtype, and that torch computes in it.

    Raises: ValueError for parameters of another dtype, and for float32 where torch may use TF32.
    """
    if own is not None and own != dtype:
        raise ValueError(f"{label}: has parameters of {own}, takes {dtype}")
    if dtype == np.float32 and torch.get_float32_matmul_precision() != "highest":
        precision = torch.get_float32_matmul_precision()
        raise ValueError(f"torch's float32 matmul precision: got {precision!r}, takes 'highest'")


def perturb(key: Key, array: Any) -> Any:
    """array * (1 + NOISE * n), n standard normal; integers and masks stay unchanged."""
    if not is_float(array):
        return array
    return array * (1 + NOISE * random.normal(key, np.shape(array)))
