"""Compare a pair: run both sides on one batch and one noise, and compare every tensor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from diptych.arrays import is_float, leaves
from diptych.options.options import Options
from diptych.parity.comparing.comparison import Comparison
from diptych.parity.recordings.recorded_side import RecordedSide, recorded_inputs
from diptych.parity.reports.report import Report
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Side
from diptych.parity.running.torch_side import TorchSide
from model_specs.common.key import Key
from numpy_ref.nn.module import Module, as_dtype
from torch_impl.nn.module import as_device


def compare(
    left: Any,
    right: Any = None,
    batch: Any = None,
    noise: Any = None,
    *,
    dtype: Any = None,
    device: torch.device | str | None = None,
    key: Key = Key(0),  # noqa: B008  (immutable)
    name: str | None = None,
    rename: Mapping[str, str] | None = None,
    layout: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    allow_unused: bool | Sequence[str] = False,
    bound: float | Mapping[str, float] | None = None,
    infinities: Literal["masked", "equal", "error"] = "masked",
    kwargs: Mapping[str, Any] | None = None,
) -> Report:
    """Run a pair and compare every parameter, output, loss term and gradient.

        compare(left, right, batch, noise)                    two models of your own
        compare("mlp_vae", dtype="float32", device="cuda")    a registered "pair" or "pair[variant]"
        compare("golden.safetensors", right, batch)           a recording (see `parity.record`)

    `left` and `right` are NumPy modules (`numpy_ref.nn.Module`), torch modules or recordings, in
    any combination except torch on the left of NumPy: modules are matched by path, methods by name.
    Where both have a `loss` it is run on `(*batch, noise)` and differentiated; otherwise their
    `forward` is run on `batch`, with random cotangents. Arrays may be of either panel, and each run
    gets copies of them. Both models keep the gradients of the run, and their buffers are updated
    as in training.

    Errors are normwise, ‖a - b‖ / ‖b‖, over the whole tensor and over the elements that hide in its
    norm (`errors.unexplained`). In float64 on the CPU the bound is 1e-13; in float32 and on CUDA it
    follows from dtype and size, and where the sides differ each is compared with the left in
    float64. A bound grows with the rounding errors that noisy runs measure (`running.noisy`).

    Runs: each side twice on the same input, with the trace, and without it as a control. In float32
    or on CUDA the left once more in float64, if the sides differ. Up to 3 noisy runs of the left in
    float64, if a tensor exceeds its bound. Each vjp is called once. A failing tensor costs further
    calls of modules of the right.

    Args:
        left: A NumPy module, a torch module, a recording, or the name of a registered pair.
        right: A torch module, a NumPy module or a recording; None for a registered pair.
        batch: The argument of the root method, or a tuple of arguments. Default: the arguments in
            the recording; a registered pair has its own.
        noise: The last argument of `loss`.
        dtype: The dtype of a registered pair, by default float64. For models of your own it is only
            checked against that of their parameters.
        device: The device of the right model of a registered pair; otherwise likewise checked.
        key: The random key of a registered pair: its weights, batch and noise follow from it.
        name: The name of the comparison in the report.
        rename, layout, ignore, allow_unused, bound, infinities, kwargs: See docs/functions.md and
            `diptych.options.options`. The report shows those that were used.

    Raises: ValueError for an unknown pair, dtype or device; for sides that cannot be compared, with
    what is taken; for a model that raises, with the path of its module; and if torch may compute in
    TF32 instead of float32.
    """
    options = Options(
        rename or {}, layout or {}, ignore, allow_unused, bound, infinities, kwargs or {}
    )
    if not isinstance(key, Key):
        raise ValueError(f"key: got {key!r}, takes a Key")
    if isinstance(left, str) and not _is_file(left):
        from diptych.parity.registered import compare_registered  # noqa: PLC0415

        if right is not None:
            raise ValueError(f"left: got {left!r} with a right model, takes a model or a file")
        return compare_registered(left, dtype or "float64", as_device(device), key, options)
    if right is None:
        raise ValueError("right: got None, takes the model or the recording to compare with")
    sides = side_of(left, "left"), side_of(right, "right")
    if isinstance(sides[0], TorchSide) and isinstance(sides[1], NumpySide):
        raise ValueError(
            "left: got a torch module and right: a NumPy module, takes the NumPy module on the left"
        )
    if batch is None:
        batch = recorded_inputs(sides)
    common = _dtype(sides, batch)
    if dtype is not None and as_dtype(_dtype_name(dtype)) != common:
        raise ValueError(f"dtype: got {dtype!r}, the models have {common}")
    if device is not None and not isinstance(device, str | torch.device):
        raise ValueError(f"device: got {device!r}, takes cpu, cuda or cuda:N")
    if device is not None and as_device(device).type != as_device(sides[1].device).type:
        raise ValueError(f"device: got {device!r}, the right model is on {sides[1].device}")
    options = replace(options, rename={k: sides[1].clean(v) for k, v in options.rename.items()})
    report = Comparison(*sides, batch, noise, options, common).report(name or sides[0].title)
    is_file = report.name.endswith(".safetensors")
    case = f"{'case-of-' if is_file else ''}{report.name.removesuffix('.safetensors')}.safetensors"
    hint = f"parity.save_case({case!r}, left, right, batch), then: diptych compare {case}"
    return replace(report, key=str(key), reproducer=hint)


def side_of(model: Any, label: str) -> Side:
    """The side of a comparison that a model is.

    Raises: TypeError for anything that is no model, with what is taken.
    """
    if isinstance(model, Run) or (isinstance(model, str | os.PathLike) and _is_file(model)):
        return RecordedSide(model, label)
    if isinstance(model, Module):
        return NumpySide(model, label)
    if isinstance(model, nn.Module):
        return TorchSide(model, label)
    if isinstance(model, type):
        raise TypeError(f"{label}: got the class {model.__name__}, takes an instance of it")
    if callable(model) or isinstance(model, tuple):
        kind = getattr(model, "__name__", type(model).__name__)
        raise TypeError(
            f"{label}: got {kind}, takes a numpy_ref.nn.Module or a torch.nn.Module; "
            "parity.compare_functions takes plain functions and other classes"
        )
    raise TypeError(
        f"{label}: got {type(model).__name__}, takes a numpy_ref.nn.Module, a torch.nn.Module or "
        "the path of a recording"
    )


def _is_file(name: str | os.PathLike[str]) -> bool:
    return os.fspath(name).endswith(".safetensors") or os.sep in os.fspath(name)


def _dtype(sides: tuple[Side, Side], batch: Any) -> np.dtype:
    """The dtype of the left's parameters; without any, of the right's, and else of the batch."""
    for side in sides:
        if side.dtype is not None:
            return side.dtype
    for _, array in leaves(batch):
        if is_float(array):
            return as_dtype(str(array.dtype).removeprefix("torch."))
    return np.dtype(np.float64)


def _dtype_name(dtype: Any) -> Any:
    """Strip the prefix of torch.float32 and "torch.float32"; return other dtypes unchanged."""
    is_torch = isinstance(dtype, torch.dtype | str)
    return str(dtype).removeprefix("torch.") if is_torch else dtype
