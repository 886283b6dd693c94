"""Compare a pair: run both panels on one batch and one noise, and compare every tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from diptych import pairs, weights
from diptych.arrays import is_float, leaves
from diptych.parity.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.comparison import Comparison
from diptych.parity.report import Report
from diptych.parity.rows import ROOT_CAUSE, compare_named, masks_equal
from model_specs.common.key import Key
from numpy_ref.nn.module import Module, as_dtype
from torch_impl.nn.module import as_device

BATCH_SIZE = 7
"""Batch size for a registered pair: odd, and different from every other dimension."""


def compare(
    left: Module | str,
    right: nn.Module | None = None,
    batch: Any = None,
    noise: Any = None,
    *,
    dtype: Any = None,
    device: torch.device | str | None = None,
    key: Key = Key(0),  # noqa: B008  (immutable)
    name: str | None = None,
) -> Report:
    """Run a pair and compare every parameter, output, loss term and gradient.

        compare(left, right, batch, noise)                    two models of your own
        compare("mlp_vae", dtype="float32", device="cuda")    a registered "pair" or "pair[variant]"

    `left` is any numpy_ref Module, `right` any torch Module: modules are matched by path, methods
    by name. Where both have a `loss(batch, noise)` it is run and differentiated; otherwise their
    `forward(*batch)` is, with random cotangents. Arrays may be of either panel. Both models keep
    the gradients of the run, and their buffers are updated as in training.

    Errors are normwise, ‖a - b‖ / ‖b‖. In float64 on the CPU, b is the right panel and the bound
    is 1e-13. In float32, or on CUDA, both panels are compared with the left panel in float64, and
    the bound follows from dtype and size. The bound grows with the measured condition number of
    the tensor (see diptych.parity.bounds).

    The dtype and device of two models of your own are read off their parameters; if you pass them
    as well, they must match.

    Raises: ValueError for an unknown pair, dtype or device; for models without a common method or
    with different dtypes; and if torch may compute in TF32 instead of float32.
    """
    if isinstance(left, str):
        return _compare_registered(left, dtype or "float64", as_device(device), key)
    if right is None:
        raise ValueError("right: got None, takes the torch module to compare with")
    dtypes = {p.data.dtype for p in left.parameters()}
    if not dtypes:
        dtypes = {next(a.dtype for _, a in leaves(batch) if is_float(a))}
    if len(dtypes) > 1:
        raise ValueError(
            f"left: parameters of several dtypes {sorted(map(str, dtypes))}, takes one"
        )
    comparison = Comparison(left, right, batch, noise, as_dtype(dtypes.pop()))
    if dtype is not None and as_dtype(_dtype_name(dtype)) != comparison.dtype:
        raise ValueError(f"dtype: got {dtype!r}, the models have {comparison.dtype}")
    if device is not None and as_device(device).type != comparison.device.type:
        raise ValueError(f"device: got {device!r}, the right model is on {comparison.device}")
    return comparison.report(name or type(left).__name__)


def _dtype_name(dtype: Any) -> Any:
    """Strip the prefix of torch.float32 and "torch.float32"; return other dtypes unchanged."""
    is_torch = isinstance(dtype, torch.dtype | str)
    return str(dtype).removeprefix("torch.") if is_torch else dtype


def _compare_registered(name: str, dtype: Any, device: torch.device, key: Key) -> Report:
    """Compare a registered pair on a random batch."""
    pair, config = pairs.find(name)
    left_dtype = as_dtype(_dtype_name(dtype))
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
    report = Comparison(left, right, batch, noise, left_dtype).report(name)
    rows = (*draws, *(row for row in report.rows if row.kind != "parameter"))
    return replace(report, rows=rows, masks_equal=masks_equal(rows))
