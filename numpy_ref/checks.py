"""Checks of what goes into a loss: each error names the argument, what it got and what it takes."""

from __future__ import annotations

import numpy as np

from numpy_ref.module import Array


def check_noise(name: str, value: Array, shape: tuple[int | None, ...], dtype: np.dtype) -> None:
    """Raise ValueError unless `value` is a finite array of `shape` (None: any size) and `dtype`."""
    _check_array(name, value, shape, dtype)
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: got NaN or inf, takes finite values")


def check_batch(
    name: str, value: Array, features: int, dtype: np.dtype, support: tuple[float, float]
) -> None:
    """Raise ValueError unless `value` is (N >= 1, features), of `dtype`, finite, in `support`."""
    _check_array(name, value, (None, features), dtype)
    low, high = support
    smallest, largest = value.min(), value.max()  # either is NaN where any value is
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(f"{name}: got NaN or inf, takes finite values")
    if smallest < low or largest > high:
        raise ValueError(
            f"{name}: got values from {smallest:g} to {largest:g}, takes [{low:g}, {high:g}]"
        )


def _check_array(name: str, value: Array, shape: tuple[int | None, ...], dtype: np.dtype) -> None:
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: got {type(value).__name__}, takes numpy.ndarray")
    sizes_fit = len(value.shape) == len(shape) and all(
        want in (None, got) for got, want in zip(value.shape, shape, strict=True)
    )
    if not sizes_fit or 0 in value.shape:
        takes = ", ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: got shape {value.shape}, takes ({takes}), none of them 0")
    if value.dtype != dtype:
        raise ValueError(f"{name}: got dtype {value.dtype}, takes {dtype}")
