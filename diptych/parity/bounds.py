"""Error bounds of two correct panels, derived from dtype, size and conditioning.

A bound is never chosen because it passes. docs/parity.md explains each of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import is_float
from diptych.parity.errors import norm
from diptych.parity.trace import Call
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Buffer, Module, Parameter

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
    """array * (1 + PERTURBATION * n), n standard normal; integers and masks stay unchanged."""
    if not is_float(array):
        return array
    return array * (1 + PERTURBATION * random.normal(key, np.shape(array)))


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


def roundings(call: Call, module: Any, phase: str) -> int:
    """Number of roundings in one call: the length of its longest sum, plus ELEMENTWISE.

    The lengths follow from shapes, with `module` a module of either panel or None.
    Forward: the fan-in of a weight (O, I, ...), or inputs summed into an output.
    Backward: the fan-out for the inputs' gradient, the rows for the weight's own.
    A transposed convolution's weight is (I, O, ...). Running statistics of C channels are sums
    over all values of a channel, and the gradients through them are as well.
    """
    output_size = max((a.size for a in call.outputs.values()), default=1)
    smallest_output = min((a.size for a in call.outputs.values()), default=1)
    input_size = max((a.size for a in call.inputs.values()), default=1)
    lengths = [input_size // max(smallest_output, 1)]
    transposed = getattr(module, "transposed", False)
    weights, buffers = _own_shapes(module)
    lengths += [output_size // shape[0] for shape in buffers if len(shape) == 1 and shape[0]]
    for shape in weights:
        if len(shape) < 2 or not math.prod(shape):
            continue
        size = math.prod(shape)
        fan_in, fan_out = (size // n for n in (shape[:2][::-1] if transposed else shape[:2]))
        rows = (input_size if transposed else output_size) // shape[0]
        lengths += [fan_in] if phase == "forward" else [fan_out, rows]
    return max(1, *lengths) + ELEMENTWISE


def _own_shapes(module: Any) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of the parameters and of the buffers that a module itself holds."""
    if isinstance(module, nn.Module):
        weights = [tuple(p.shape) for p in module.parameters(recurse=False)]
        return weights, [tuple(b.shape) for b in module.buffers(recurse=False)]
    values = vars(module).values() if isinstance(module, Module) else ()
    return (
        [v.data.shape for v in values if isinstance(v, Parameter)],
        [v.data.shape for v in values if isinstance(v, Buffer)],
    )
