"""Error bounds of two correct panels, derived from dtype, size and conditioning.

A bound is never chosen because it passes. docs/parity.md explains each of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from diptych.arrays import is_float
from diptych.parity.measures.errors import norm
from model_specs.common.key import Key
from numpy_ref.nn import random

FLOAT64_BOUND = 1e-13
"""The bound for float64 on the CPU, whatever the size."""
AMPLIFICATION = 10.0
"""FLOAT64_BOUND holds up to this condition number; beyond it the bound grows in proportion."""
PERTURBATION = 2.0**-30
"""Relative size of the random perturbations that measure a condition number (see `sensitivity`)."""
PERTURBATIONS = 3
"""Number of random perturbations."""
UNIT_ROUNDOFF = 2.0**-24
"""Largest relative error of one rounding in float32."""
VANISHING = 1e-3
"""A tensor that is smaller by this factor in float64 than in float32 is exactly 0 but for rounding
errors; those are smaller by 2e-9."""
TINY = 1e-12
"""A tensor this much smaller than the largest of its run may be nothing but rounding errors."""
SMALL = 1e-6
"""A tensor that is not this much smaller than the largest of its run is no sum of exactly 0, in
either dtype."""
NOISE_RATIO = 100.0
"""Two correct implementations of a sum that is exactly 0 may differ in their rounding errors by
this factor: they add its terms in another order."""
TERMS = 8.0
"""Units in the last place of a call's largest cotangent that its input gradients may be off by: the
gradient of a saturated function is a difference of terms of that size."""
WITNESS_RATIO = 64.0
"""Two correct implementations in one dtype have rounding errors alike within this factor."""
FLOAT32_SAMPLES = 2
"""Further runs in float32 that show how large rounding errors are."""
WITNESS_CAP = 0.1
"""Beyond this error two implementations that are off alike prove nothing."""
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


def perturb(key: Key, array: Any, size: float = PERTURBATION) -> Any:
    """array * (1 + size * n), n standard normal; integers and masks stay unchanged."""
    if not is_float(array):
        return array
    return array * (1 + size * random.normal(key, np.shape(array)))


def sensitivity(reference: np.ndarray | None, perturbed: np.ndarray | None) -> float:
    """The change of a tensor for a relative perturbation: ‖y' - y‖ / PERTURBATION.

        y = f(w),  y' = f(w (1 + delta n)):    condition = sensitivity / ‖y‖

    with w every weight and noise, n standard normal and delta = PERTURBATION. It is measured in
    float64, for a few random n, of which the largest counts. The condition number is about 1 to 5
    in healthy layers, hundreds where a sum cancels or where log(sigma^2) meets a sigma near 0. A
    rounding error is a relative perturbation too, of size u instead of delta, so a bound has to
    grow with this number.

    0 where a tensor is missing, has another shape or is not finite.
    """
    if reference is None or perturbed is None or reference.shape != perturbed.shape:
        return 0.0
    with np.errstate(all="ignore"):
        change = norm(perturbed - reference)
    return change / PERTURBATION if math.isfinite(change) else 0.0
