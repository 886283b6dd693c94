"""How far two correct panels may part: a bound from dtype and size, never from what passed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.arrays import is_float
from diptych.parity.report import normwise
from diptych.parity.trace import Call
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Buffer, Module, Parameter

FLOAT64_BOUND = 1e-13
"""The contract for float64 on the CPU, whatever the size."""
AMPLIFICATION = 10.0
"""Up to here FLOAT64_BOUND holds as it stands; a tensor that magnifies rounding more than this is
given as much more."""
PERTURBATION = 2.0**-30
PERTURBATIONS = 3
UNDETERMINED = 0.1 / PERTURBATION
"""Size and number of the random perturbations that measure how much rounding is magnified; and the
magnification at which a nudge changes the first digit: what should be 0, and is rounding."""
LAMBDA = 8.0
"""Higham & Mary (2019), theorem 2.4: a sum of n products has a relative backward error of at most
LAMBDA sqrt(n) u with probability over 1 - 2 n exp(-LAMBDA^2 / 2), here 1 - 3e-14 n."""
ELEMENTWISE = 8
"""Roundings a call makes besides its sums: a bias, an exponential of a few ulp, a scale."""


def rounding_bound(dtype: np.dtype, roundings: int) -> float:
    """LAMBDA u sqrt(n): the bound after n roundings on the way, u = eps / 2 of the dtype.

    A normwise bound for a well-conditioned computation; the square root stands for roundings
    that are independent and of either sign (Higham & Mary 2019, "A new approach to probabilistic
    rounding error analysis"). The classical worst case, n u, would let a TF32 product pass.
    """
    return LAMBDA * float(np.finfo(dtype).eps) / 2 * math.sqrt(roundings)


def check_precision(right: nn.Module, dtype: np.dtype) -> None:
    """Raise ValueError where a model has another dtype, or would compute in less than it."""
    kinds = {str(p.dtype).removeprefix("torch.") for p in right.parameters()} - {dtype.name}
    if kinds:
        raise ValueError(f"right: has parameters of {', '.join(sorted(kinds))}, takes {dtype}")
    if dtype == np.float32 and torch.get_float32_matmul_precision() != "highest":
        precision = torch.get_float32_matmul_precision()
        raise ValueError(f"torch's float32 matmul precision: got {precision!r}, takes 'highest'")


def perturbed(key: Key, array: Any) -> Any:
    """Each element changed by a random NUDGE of itself; integers and masks as they are."""
    if not is_float(array):
        return array
    return array * (1 + PERTURBATION * random.normal(key, np.shape(array)))


def condition(reference: np.ndarray | None, moved: Sequence[np.ndarray | None]) -> float:
    """How many times a tensor magnifies a relative change of every weight and noise.

    Measured on the left panel in float64: a first-order condition number, the largest of a few
    random directions. It is 1 to 5 in healthy layers, and hundreds where a sum cancels, or where
    log(sigma^2) meets a sigma near 0. At least 1; 1 where the tensor is missing or not finite.
    """
    if reference is None:
        return 1.0
    same = [array for array in moved if array is not None and array.shape == reference.shape]
    with np.errstate(all="ignore"):
        changes = [normwise(array, reference) / PERTURBATION for array in same]
    return max([1.0, *(kappa for kappa in changes if math.isfinite(kappa))])


def roundings(call: Call, module: Module, phase: str) -> int:
    """The longest sum in one call, read off its shapes, and some elementwise steps.

    Forward: the fan-in of a weight (O, I, ...), or inputs summed into an output.
    Backward: the fan-out for the inputs' gradient, the rows for the weight's own.
    A transposed convolution's weight is (I, O, ...). Running statistics, of C channels, are sums
    over all values of a channel, and so is what is differentiated through them.
    """
    out = max((a.size for a in call.outputs.values()), default=1)
    smallest = min((a.size for a in call.outputs.values()), default=1)
    into = max((a.size for a in call.inputs.values()), default=1)
    lengths = [into // max(smallest, 1)]
    transposed = getattr(module, "transposed", False)
    for value in vars(module).values():
        shape: tuple[int, ...] = getattr(getattr(value, "data", None), "shape", ())
        if len(shape) == 1 and isinstance(value, Buffer):
            lengths.append(out // shape[0])
        if len(shape) < 2 or not isinstance(value, Parameter):
            continue  # a mask of several axes is no weight
        size = math.prod(shape)
        fan_in, fan_out = (size // n for n in (shape[:2][::-1] if transposed else shape[:2]))
        rows = (into if transposed else out) // shape[0]
        lengths += [fan_in] if phase == "forward" else [fan_out, rows]
    return max(1, *lengths) + ELEMENTWISE
