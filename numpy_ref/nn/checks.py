"""Checks of the arguments of a loss. Each error names the argument, what it got, what it takes.

Shapes: a check takes the shape as an argument. N examples, H x W pixels of an image.
Source: own design.
Right panel: torch_impl/nn/checks.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model_specs.common import values
from model_specs.common.levels import LEVELS
from model_specs.recurrent.dropout import Masks
from numpy_ref.nn.module import Array


def check_noise(name: str, value: Array, shape: tuple[int | None, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is a finite array of `shape` (None: any size) and `dtype`."""
    check_array(name, value, shape, dtype)
    if value.size:
        values.check_finite(name, *extremes(value))


def check_batch(
    name: str, value: Array, example: tuple[int, ...], dtype: np.dtype, support: tuple[float, float]
) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), of `dtype`, finite, in `support`."""
    check_array(name, value, (None, *example), dtype)
    values.check_support(name, support, *extremes(value))


def check_binary(name: str, value: Array, example: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), of `dtype`, and all 0 or 1."""
    check_batch(name, value, example, dtype, (0.0, 1.0))
    grey = (value > 0) & (value < 1)
    smallest = np.where(grey, value, 1).min()
    values.check_no_grey(name, grey.sum(), smallest)


def check_levels(name: str, value: Array, example: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is (N >= 1, *example), of `dtype`, and all k / 255."""
    check_batch(name, value, example, dtype, (0.0, 1.0))
    levels = (LEVELS - 1) * value
    between = np.abs(levels - np.rint(levels)) > values.LEVEL_TOLERANCE
    smallest = np.where(between, value, 1).min()
    values.check_no_between(name, between.sum(), smallest)


def extremes(value: Array) -> tuple[Any, Any]:
    """The smallest and the largest value; both are NaN where any value is."""
    return value.min(), value.max()


def check_array(name: str, value: Array, shape: tuple[int | None, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is an array of `shape` (None: any size) and `dtype`."""
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: got {type(value).__name__}, takes numpy.ndarray")
    sizes_fit = len(value.shape) == len(shape) and all(
        expected in (None, got) for got, expected in zip(value.shape, shape, strict=True)
    )
    if not sizes_fit or any(
        got == 0 != expected for got, expected in zip(value.shape, shape, strict=True)
    ):
        takes = ", ".join("any" if expected is None else str(expected) for expected in shape)
        sizes = "" if 0 in shape else ", sizes >= 1"
        raise ValueError(f"{name}: got shape {value.shape}, takes ({takes}){sizes}")
    if value.dtype != dtype:
        raise ValueError(f"{name}: got dtype {value.dtype}, takes {dtype}")


def check_images(name: str, value: Array, channels: int, dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is (N, channels, H, W), no size 0, of `dtype`."""
    check_array(name, value, (None, channels, None, None), dtype)


def check_vectors(name: str, value: Array, dim: int, dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is (..., dim), no size 0, of `dtype`."""
    leading = len(getattr(value, "shape", ())) - 1
    check_array(name, value, (*(None,) * leading, dim), dtype)


def check_tokens(name: str, value: Array, shape: tuple[int | None, ...], size: int) -> None:
    """Raise ValueError unless `value` is int64 of `shape` (None: any size), in [0, size)."""
    check_array(name, value, shape, np.dtype(np.int64))
    values.check_vocabulary(name, size, *extremes(value))


def check_weight(weight: Array | None, steps: int, size: int, model: Any) -> None:
    """Raise ValueError unless `weight` is None, or (steps, size), all >= 0 and their sum > 0."""
    if weight is None:
        return
    check_array("weight", weight, (steps, size), model.dtype)
    values.check_weights("weight", *extremes(weight))


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
    H, L, dtype = model.config.hidden_dim, model.config.num_layers, model.dtype
    for name, value, kind in (("state", state, model.state_type), ("noise", noise, Masks)):
        if not isinstance(value, kind):
            raise ValueError(f"{name}: got {type(value).__name__}, takes {kind.__name__}")
    for part, value in zip(state._fields, state, strict=True):
        check_noise(f"state.{part}", value, (L, size, H), dtype)
    for name, masks, widths in (
        ("inputs", noise.inputs, (width, *[H] * L)),
        ("recurrent", noise.recurrent, (H,) * L),
    ):
        if masks and len(masks) != len(widths):
            raise ValueError(f"noise.{name}: got {len(masks)} masks, takes {len(widths)} or none")
        for index, (mask, units) in enumerate(zip(masks, widths, strict=False)):
            shared = getattr(mask, "shape", ())[:1] == (1,)
            fits = (1 if shared else steps, size, units)
            check_array(f"noise.{name}[{index}]", mask, fits, np.dtype(bool))
    if noise.words is not None:
        if vocabulary is None:
            raise ValueError("noise.words: got a mask, this model takes None: it reads no words")
        check_array("noise.words", noise.words, (size, vocabulary), np.dtype(bool))
