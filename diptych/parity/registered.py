"""Compare a registered pair on a random batch, with its own draws of weights and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from diptych import pairs, weights
from diptych.arrays import leaves
from diptych.parity.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.comparison import Comparison
from diptych.parity.numpy_side import NumpySide
from diptych.parity.options import Options
from diptych.parity.report import Report
from diptych.parity.rows import ROOT_CAUSE, compare_named, masks_equal
from diptych.parity.torch_side import TorchSide
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype

BATCH_SIZE = 7
"""Batch size for a registered pair: odd, and different from every other dimension."""


def compare_registered(
    name: str, dtype: Any, device: torch.device, key: Key, options: Options
) -> Report:
    """Compare a registered "pair" or "pair[variant]" on a random batch."""
    pair, config = pairs.find(name)
    left_dtype = as_dtype(
        str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype | str) else dtype
    )
    left = pair.left(config, key.fold_in("weights"), dtype=left_dtype)
    right = pair.right(
        config,
        key.fold_in("weights"),
        dtype=str(left_dtype),
        device=device,
        **pairs.right_options(name),
    )
    batch = pair.batch(config, key.fold_in("batch"), left_dtype, BATCH_SIZE)
    noise = left.draw_noise(key.fold_in("noise"), BATCH_SIZE)
    right_noise = right.draw_noise(key.fold_in("noise"), BATCH_SIZE)

    # each panel draws its own weights and noise; after their comparison both use the left panel's
    bound = rounding_bound(left_dtype, ELEMENTWISE)
    draws = compare_named(
        left.state_dict(), weights.to_arrays(right.state_dict()), "parameter", bound
    )
    draws += compare_named(
        dict(leaves(noise, "noise")), dict(leaves(right_noise, "noise")), "noise", bound
    )
    draws = [row if row.ok else replace(row, origin=ROOT_CAUSE) for row in draws]
    if hasattr(left, "initialize"):
        left.initialize(batch, noise)  # as training does; before it every bias is 0
    weights.transfer(left, right)
    sides = NumpySide(left, "left"), TorchSide(right, "right")
    report = Comparison(*sides, batch, noise, options, left_dtype).report(name)
    rows = (*draws, *(row for row in report.rows if row.kind != "parameter"))
    return replace(
        report,
        rows=rows,
        masks_equal=masks_equal(rows),
        key=str(key),
        reproducer=f"diptych check {name!r} --dtype {left_dtype} --device {device} -v",
    )
