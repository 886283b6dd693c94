"""Compare the random streams of the two panels, from which weights, noise and masks are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diptych.arrays import to_numpy
from diptych.parity.measures.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.measures.rows import compare_arrays, masks_equal
from diptych.parity.reports.report import Report
from model_specs.common.key import Key
from numpy_ref.nn import random as left
from numpy_ref.nn.module import as_dtype
from torch_impl.nn import random as right
from torch_impl.nn.module import as_device
from torch_impl.nn.module import as_dtype as as_torch_dtype

NAME = "random"
SHAPE = (257, 1021)
RATES = (0.3, 0.65)


def compare_streams(dtype: str = "float64", device: str = "cpu", key: Key = Key(0)) -> Report:  # noqa: B008
    """Compare random draws of both panels.

    Bits, uniforms, permutations and masks must be equal; normals may differ by a few roundings.
    """
    left_dtype, right_dtype = as_dtype(dtype), as_torch_dtype(dtype)
    # a tensor's own device has an index: cuda:0 for cuda
    target = torch.empty(0, device=as_device(device)).device
    draws: dict[str, tuple[Any, Any]] = {
        "bits": (left.bits(key, SHAPE).astype(np.int64), right.bits(key, SHAPE, device=target)),
        "permutation": (left.permutation(key, 1021), right.permutation(key, 1021, target)),
    }
    for rate in RATES:
        draws[f"dropout_mask, rate {rate}"] = (
            left.dropout_mask(key, SHAPE, rate),
            right.dropout_mask(key, SHAPE, rate, device=target),
        )
    draws["uniform"] = (
        left.uniform(key, SHAPE, dtype=left_dtype),
        right.uniform(key, SHAPE, dtype=right_dtype, device=target),
    )
    draws["normal"] = (
        left.normal(key, SHAPE, dtype=left_dtype),
        right.normal(key, SHAPE, dtype=right_dtype, device=target),
    )
    rows = [
        compare_arrays(
            name,
            "noise",
            left_draw,
            to_numpy(right_draw),
            bound=rounding_bound(left_dtype, ELEMENTWISE) if name == "normal" else 0.0,
        )
        for name, (left_draw, right_draw) in draws.items()
    ]
    return Report(NAME, dtype, str(target), tuple(rows), masks_equal(rows))
