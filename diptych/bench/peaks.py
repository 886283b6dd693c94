"""Peak rates of this machine, measured by a large matrix product and a large copy.

They depend on the dtype, the device and the number of threads, which are those of the process that
measures: set them before. The product is the library's own, so that NumPy's and torch's peaks on a
CPU differ by their BLAS; `best` takes the larger of each.

The copy reads and writes arrays that together are larger than the last cache. Its rate counts both
directions, as STREAM does, and no write-allocate traffic. Arrays that fit into a cache move faster,
so a small model may beat the limit of its bytes.
Source: Williams, Waterman & Patterson, "Roofline: an insightful visual performance model" (2009);
McCalpin, "Memory bandwidth and machine balance" (1995), STREAM.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych.bench import clock
from model_specs.common.fields import check_choice

BACKENDS = ("numpy", "torch")
SIDES = (512, 1024, 2048)
GPU_SIDES = (2048, 4096, 8192)
"""Sides of the square matrices that are multiplied. The best median of them is the peak."""
QUICK_SIDES = 2
"""Number of sides in the quick form."""
REPEATS = 7
CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
LEAST_BYTES, MOST_BYTES = 2**26, 2**30
"""Bounds on the bytes of both arrays of the copy, which are otherwise 1.25 last caches."""
GPU_BYTES = 2**31


@dataclass(frozen=True)
class Peak:
    """Rates a second: FLOPs of a matrix product, and bytes that a copy reads and writes."""

    flops: float
    bytes: float


def measure(
    backend: str,
    dtype: str,
    device: str = "cpu",
    *,
    threads: int | None = None,
    quick: bool = False,
) -> Peak:
    """Measure both rates of "numpy" or "torch" on a device, in about a second.

    NumPy copies with `threads` threads at once, by default as many as torch uses. The threads of
    the matrix products are those of the library.
    Raises: ValueError for another backend, or for NumPy on another device than the CPU.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "numpy":
        check_choice("device", device, ("cpu",))
    sides = GPU_SIDES if device != "cpu" else SIDES
    arrays: Callable[..., Any] = _numpy if backend == "numpy" else partial(_torch, device)
    flops = max(
        2 * side**3 / _median(_product(arrays, side, dtype))
        for side in (sides[:QUICK_SIDES] if quick else sides)
    )
    total = GPU_BYTES if device != "cpu" else copied_bytes()
    count = total // 2 // np.dtype(dtype).itemsize
    copy = _copy(arrays, count, dtype, threads or torch.get_num_threads())
    seconds = _median(copy, 3 if quick else REPEATS)
    return Peak(flops, 2 * count * np.dtype(dtype).itemsize / seconds)


def best(peaks: Iterable[Peak]) -> Peak:
    """The larger of each rate."""
    measured = list(peaks)
    return Peak(max(peak.flops for peak in measured), max(peak.bytes for peak in measured))


def copied_bytes() -> int:
    """Bytes of both arrays of the copy on the CPU: 1.25 times the last cache, within bounds."""
    sizes = [_bytes(path.read_text()) for path in CACHE.glob("index*/size")]
    return min(max(LEAST_BYTES, max(sizes, default=0) * 5 // 4), MOST_BYTES)


def _bytes(text: str) -> int:
    """Bytes of a size such as 32K."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = text.strip()
    return int(number[:-1]) * units[number[-1]] if number[-1:] in units else int(number)


def _numpy(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.full(shape, 0.5, dtype)


def _torch(device: str, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    return torch.full(shape, 0.5, dtype=getattr(torch, dtype), device=device)


def _product(arrays: Callable[..., Any], side: int, dtype: str) -> Callable[[], None]:
    a, b, c = (arrays((side, side), dtype) for _ in range(3))
    multiply = np.matmul if isinstance(a, np.ndarray) else torch.mm

    def run() -> None:
        multiply(a, b, out=c)
        _wait(c)

    return run


def _copy(arrays: Callable[..., Any], count: int, dtype: str, threads: int) -> Callable[[], None]:
    source, target = arrays((count,), dtype), arrays((count,), dtype)
    if isinstance(source, np.ndarray):
        pool = ThreadPoolExecutor(threads)
        parts = [np.array_split(array, threads) for array in (target, source)]

        def run_numpy() -> None:
            for _ in pool.map(np.copyto, *parts):  # each thread copies a part of its own
                pass

        return run_numpy

    def run() -> None:
        target.copy_(source)
        _wait(target)

    return run


def _wait(array: Any) -> None:
    if isinstance(array, torch.Tensor):
        clock.wait(array.device)


def _median(run: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median seconds of a call, after one that is not counted."""
    run()
    return statistics.median(clock.seconds(run) for _ in range(repeats))
