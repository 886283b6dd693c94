"""Compare the random streams of the two panels: the bits beneath every weight, noise and mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diptych.arrays import to_numpy
from diptych.parity.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.report import Report, compare_arrays, masks_equal
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
    """Bits, uniforms, permutations and masks must be equal; normals within a few roundings."""
    kind, torch_kind, target = as_dtype(dtype), as_torch_dtype(dtype), as_device(device)
    target = torch.empty(0, device=target).device  # cuda is cuda:0, as a model's tensors call it
    drawn: dict[str, tuple[Any, Any]] = {
        "bits": (left.bits(key, SHAPE).astype(np.int64), right.bits(key, SHAPE, device=target)),
        "permutation": (left.permutation(key, 1021), right.permutation(key, 1021, target)),
    }
    for rate in RATES:
        drawn[f"dropout_mask, rate {rate}"] = (
            left.dropout_mask(key, SHAPE, rate),
            right.dropout_mask(key, SHAPE, rate, device=target),
        )
    drawn["uniform"] = (
        left.uniform(key, SHAPE, dtype=kind),
        right.uniform(key, SHAPE, dtype=torch_kind, device=target),
    )
    drawn["normal"] = (
        left.normal(key, SHAPE, dtype=kind),
        right.normal(key, SHAPE, dtype=torch_kind, device=target),
    )
    rows = [
        compare_arrays(
            name,
            "noise",
            ours,
            to_numpy(theirs),
            bound=rounding_bound(kind, ELEMENTWISE) if name == "normal" else 0.0,
        )
        for name, (ours, theirs) in drawn.items()
    ]
    return Report(NAME, dtype, str(target), tuple(rows), masks_equal(rows))
