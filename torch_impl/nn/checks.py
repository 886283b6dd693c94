"""Checks of the arguments of a loss. Each error names the argument, what it got, what it takes.

Shapes: a check takes the shape as an argument. N examples, H x W pixels of an image.
Source: own design.
Left panel: numpy_ref/nn/checks.py, whose `check_array` is `check_tensor` here.
A tensor fits a model if it has the dtype and device of the model.
A check of values reads them at once, or within `deferred()` later: see torch_impl/nn/verdicts.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from model_specs.common import values
from model_specs.common.levels import LEVELS
from model_specs.recurrent.dropout import Masks
from torch_impl.nn.verdicts import Verdicts, apply_check, deferred, is_deferred, together

__all__ = [
    "Verdicts",
    "check_batch",
    "check_binary",
    "check_images",
    "check_levels",
    "check_noise",
    "check_tensor",
    "check_tokens",
    "check_vectors",
    "check_weight",
    "check_window",
    "deferred",
    "safe_tokens",
    "together",
]


class Model(Protocol):
    """A model or a layer, by the dtype and device that its arguments must have."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...


def check_noise(name: str, value: Tensor, shape: tuple[int | None, ...], model: Model) -> None:
    """Raise ValueError unless `value` is finite, of `shape` (None: any size), and fits `model`."""
    check_tensor(name, value, shape, model)
    if value.numel():
        apply_check(partial(values.check_finite, name), *extremes(value))


def check_batch(
    name: str, value: Tensor, example: tuple[int, ...], model: Model, support: tuple[float, float]
) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), in `support`, and fits `model`."""
    check_tensor(name, value, (None, *example), model)
    apply_check(partial(values.check_support, name, support), *extremes(value))


def check_binary(name: str, value: Tensor, example: tuple[int, ...], model: Model) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), all 0 or 1, and fits `model`."""
    check_batch(name, value, example, model, (0.0, 1.0))
    grey = (value > 0) & (value < 1)
    smallest = torch.where(grey, value.detach(), 1).min()
    apply_check(partial(values.check_no_grey, name), grey.sum().double(), smallest.double())


def check_levels(name: str, value: Tensor, example: tuple[int, ...], model: Model) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), all k / 255, and fits `model`."""
    check_batch(name, value, example, model, (0.0, 1.0))
    levels = (LEVELS - 1) * value.detach()
    between = torch.abs(levels - torch.round(levels)) > values.LEVEL_TOLERANCE
    smallest = torch.where(between, value.detach(), 1).min()
    apply_check(partial(values.check_no_between, name), between.sum().double(), smallest.double())


def extremes(value: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value; both are NaN where any value is."""
    return torch.aminmax(value.detach())


def check_tensor(
    name: str,
    value: Tensor,
    shape: tuple[int | None, ...],
    model: Model,
    dtype: torch.dtype | None = None,
) -> None:
    """Raise ValueError unless `value` is of `shape` (None: any size), `dtype` and device."""
    dtype = dtype or model.dtype
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: got {type(value).__name__}, takes torch.Tensor")
    sizes_fit = len(value.shape) == len(shape) and all(
        expected is None or got == expected
        for got, expected in zip(value.shape, shape, strict=True)
    )
    if not sizes_fit or any(
        got == 0 != expected for got, expected in zip(value.shape, shape, strict=True)
    ):
        takes = ", ".join("any" if expected is None else str(expected) for expected in shape)
        sizes = "" if 0 in shape else ", sizes >= 1"
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, takes ({takes}){sizes}")
    if value.dtype != dtype:
        raise ValueError(f"{name}: got dtype {value.dtype}, takes {dtype}")
    if value.device != model.device:
        raise ValueError(f"{name}: got a tensor on {value.device}, takes one on {model.device}")


def check_images(name: str, value: Tensor, channels: int, model: Model) -> None:
    """Raise ValueError unless `value` is (N, channels, H, W) and none of its axes is empty.

    It must have the dtype and the device of `model`. Under autocast every dtype is accepted, as
    torch casts it.
    """
    casts = isinstance(value, Tensor) and torch.is_autocast_enabled(value.device.type)
    dtype = value.dtype if casts else None
    check_tensor(name, value, (None, channels, None, None), model, dtype)


def check_vectors(name: str, value: Tensor, dim: int, model: Model) -> None:
    """Raise ValueError unless `value` is (..., dim), no size 0, and fits `model`."""
    leading = len(getattr(value, "shape", ())) - 1
    check_tensor(name, value, (*(None,) * leading, dim), model)


def check_tokens(
    name: str, value: Tensor, shape: tuple[int | None, ...], size: int, model: Model
) -> None:
    """Raise ValueError unless `value` is int64 of `shape` (None: any size), in [0, size).

    Compute with `safe_tokens(value, size)`.
    """
    check_tensor(name, value, shape, model, torch.int64)
    apply_check(partial(values.check_vocabulary, name, size), *extremes(value))


def safe_tokens(tokens: Tensor, size: int) -> Tensor:
    """The tokens, within `deferred()` clamped to [0, size) until their verdict is read.

    On CUDA an index out of range stops the process at a device-side assertion, before the error of
    `check_tokens` could be raised.   any shape -> the same shape
    """
    return tokens.clamp(0, size - 1) if is_deferred() else tokens


def check_weight(weight: Tensor | None, steps: int, size: int, model: Any) -> None:
    """Raise ValueError unless `weight` is None, or (steps, size), all >= 0 and their sum > 0."""
    if weight is None:
        return
    check_tensor("weight", weight, (steps, size), model)
    apply_check(partial(values.check_weights, "weight"), *extremes(weight))


def check_window(
    model: Any,
    steps: int,
    size: int,
    state: Any,
    noise: Masks,
    width: int,
    vocabulary: int | None = None,
) -> None:
    """Raise ValueError unless state and masks fit a window of (steps, size).

    `model` is a recurrent model, `width` the input width of its first layer, `vocabulary` the
    number of words for a model that drops words.
    """
    H, L = model.config.hidden_dim, model.config.num_layers
    for name, value, kind in (("state", state, model.state_type), ("noise", noise, Masks)):
        if not isinstance(value, kind):
            raise ValueError(f"{name}: got {type(value).__name__}, takes {kind.__name__}")
    for part, value in zip(state._fields, state, strict=True):
        check_noise(f"state.{part}", value, (L, size, H), model)
    for name, masks, widths in (
        ("inputs", noise.inputs, (width, *[H] * L)),
        ("recurrent", noise.recurrent, (H,) * L),
    ):
        if masks and len(masks) != len(widths):
            raise ValueError(f"noise.{name}: got {len(masks)} masks, takes {len(widths)} or none")
        for index, (mask, units) in enumerate(zip(masks, widths, strict=False)):
            shared = getattr(mask, "shape", ())[:1] == (1,)
            fits = (1 if shared else steps, size, units)
            check_tensor(f"noise.{name}[{index}]", mask, fits, model, torch.bool)
    if noise.words is not None:
        if vocabulary is None:
            raise ValueError("noise.words: got a mask, this model takes None: it reads no words")
        check_tensor("noise.words", noise.words, (size, vocabulary), model, torch.bool)
