"""Compare a pair: run both panels on one batch and one noise, and set every tensor side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from diptych import pairs, weights
from diptych.arrays import is_float, leaves
from diptych.parity.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.comparison import Comparison
from diptych.parity.report import Report, compare_named, masks_equal
from model_specs.common.key import Key
from numpy_ref.nn.module import Module, as_dtype
from torch_impl.nn.module import as_device

BATCH_SIZE = 7
"""Of a registered pair's batch: odd, and no other dimension's size."""


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
    `forward(*batch)` is, with random cotangents. Arrays may be of either panel. The gradients of
    the run are left in both models, and buffers as it left them: running statistics move.

    Errors are normwise, ‖a - b‖ / ‖b‖. In float64 on the CPU b is the right panel and the bound
    1e-13. In float32, or on CUDA, both panels are compared with the left panel in float64, and
    the bound follows from dtype and size. A tensor that is measured to magnify rounding gets as
    much more (see diptych.parity.bounds).

    Two models of your own bring their dtype and device; given as well, they must be theirs.

    Raises: ValueError for an unknown pair, dtype or device, models without a common method, or of
    different dtypes; and where TF32 would stand in for float32.
    """
    if isinstance(left, str):
        return _compare_registered(left, dtype or "float64", as_device(device), key)
    if right is None:
        raise ValueError("right: got None, takes the torch module to compare with")
    own = {p.data.dtype for p in left.parameters()}
    if not own:
        own = {next(a.dtype for _, a in leaves(batch) if is_float(a))}
    if len(own) > 1:
        raise ValueError(f"left: parameters of several dtypes {sorted(map(str, own))}, takes one")
    comparison = Comparison(left, right, batch, noise, as_dtype(own.pop()))
    if dtype is not None and as_dtype(_spelt(dtype)) != comparison.dtype:
        raise ValueError(f"dtype: got {dtype!r}, the models have {comparison.dtype}")
    if device is not None and as_device(device).type != comparison.device.type:
        raise ValueError(f"device: got {device!r}, the right model is on {comparison.device}")
    return comparison.report(name or type(left).__name__)


def _spelt(dtype: Any) -> Any:
    """torch.float32 and "torch.float32" as "float32"; all else as it is."""
    is_torch = isinstance(dtype, torch.dtype | str)
    return str(dtype).removeprefix("torch.") if is_torch else dtype


def _compare_registered(name: str, dtype: Any, device: torch.device, key: Key) -> Report:
    pair, config = pairs.find(name)
    left_dtype = as_dtype(_spelt(dtype))
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
    twin_noise = right.draw_noise(key.fold_in("noise"), BATCH_SIZE)

    # each panel draws its own weights and noise; they are compared, then the left's serve both
    bound = rounding_bound(left_dtype, ELEMENTWISE)
    drawn = compare_named(
        left.state_dict(), weights.to_arrays(right.state_dict()), "parameter", bound
    )
    drawn += compare_named(
        dict(leaves(noise, "noise")), dict(leaves(twin_noise, "noise")), "noise", bound
    )
    drawn = [row if row.ok else replace(row, origin="new") for row in drawn]
    if hasattr(left, "initialize"):
        left.initialize(batch, noise)  # as training begins; until then every bias is 0
    weights.transfer(left, right)
    report = Comparison(left, right, batch, noise, left_dtype).report(name)
    rest = [row for row in report.rows if row.kind != "parameter"]
    return replace(report, rows=(*drawn, *rest), masks_equal=masks_equal((*drawn, *rest)))
