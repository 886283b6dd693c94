"""Random numbers addressed by (key, element index): Philox4x32-10, on any device.

Element i of a stream is a function of the key and i alone, so that parts of it can be drawn at any
time, in any order, on any device. `start` is the index of the first element. The left panel draws
the same bits.

Shapes: an int or a tuple of ints `shape` is that of the result. With Keys in place of a Key the
result is (S, *shape), one row of it for each of the S keys: the noise of S training steps takes as
many kernels as that of one.
Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
torch's own CUDA Philox depends on the launch and cannot be reproduced on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key, Keys
from model_specs.common.streams import (
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    Shape,
    as_shape,
    check_start,
    keep_threshold,
)
from torch_impl.nn.module import as_dtype

_LOW = 0xFFFFFFFF
_HALF = 32
Device = torch.device | str | None


def philox4x32(
    counter: tuple[Tensor, ...], key: tuple[int | Tensor, int | Tensor]
) -> tuple[Tensor, ...]:
    """The block cipher, from a counter of four 32-bit words to four random 32-bit words.

        (hi0, lo0) = M0 c0,  (hi1, lo1) = M1 c2
        c <- (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0),   ten times, k += W between

    Shapes: `counter` is four int64 tensors with values below 2^32; so is the result. The two words
    of the key are ints, or tensors that broadcast with the counter. The products wrap mod 2^64 and
    may be negative; the arithmetic shift then fills hi with ones. c1 and c3 keep the upper half of
    their product. One mask, after both xors, removes either.
    """
    m0, m1 = MULTIPLIERS
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        k0, k1 = ((k + i * w) & _LOW for k, w in zip(key, WEYL, strict=True))
        p0, p1 = m0 * c0, m1 * c2
        c0, c2 = (c1 ^ k0).bitwise_xor_(p1 >> _HALF), (c3 ^ k1).bitwise_xor_(p0 >> _HALF)
        c0, c1, c2, c3 = c0.bitwise_and_(_LOW), p1, c2.bitwise_and_(_LOW), p0
    return c0, c1.bitwise_and_(_LOW), c2, c3.bitwise_and_(_LOW)


def bits(key: Key | Keys, shape: Shape, start: int = 0, device: Device = None) -> Tensor:
    """Words start, start + 1, ... of the stream, 32 random bits each. int64 in [0, 2^32).

    Word i is lane i mod 4 of the block whose 64-bit counter is i div 4.
    Raises: ValueError for a negative size or start.
    """
    shape = as_shape(shape)
    check_start(start)
    size = math.prod(shape)
    first, last = start // 4, (start + size + 3) // 4
    block = torch.arange(first, last, dtype=torch.int64, device=device)
    (k0, k1), upper = _words(key, block)
    counter = (block & _LOW, block >> _HALF, *upper)
    lanes = (
        _compiled_philox(counter, (k0, k1)) if _THREAD.compiles else philox4x32(counter, (k0, k1))
    )
    words = torch.stack(lanes, dim=-1).flatten(-2)
    offset = start - 4 * first
    return words[..., offset : offset + size].reshape(*words.shape[:-1], *shape)


def _words(key: Key | Keys, block: Tensor) -> tuple[tuple[Any, Any], tuple[Tensor, Tensor]]:
    """The key and the upper half of the counter of each element of `block`."""
    if isinstance(key, Key):
        k0, k1, c2, c3 = key.words
        return (k0, k1), (torch.full_like(block, c2), torch.full_like(block, c3))
    words = torch.tensor(key.words, dtype=torch.int64).to(block.device, non_blocking=True)  # (S, 4)
    k0s, k1s, *upper = words[..., None].unbind(1)
    c2s, c3s = (word.expand(-1, len(block)) for word in upper)
    return (k0s, k1s), (c2s, c3s)


class _Thread(threading.local):
    """True in the context of `compiled`, for this thread alone."""

    compiles = False


_THREAD = _Thread()


@contextlib.contextmanager
def compiled(enabled: bool = True) -> Iterator[None]:
    """Context in which this thread computes its bits by a compiled Philox, in one kernel.

    Philox computes with integers, so that the bits are those of the eager function. The logarithm,
    the sine and the cosine of `normal` are not compiled, because compiled ones may differ in their
    last bit. Without `enabled` the context has no effect.
    """
    before = _THREAD.compiles
    _THREAD.compiles = enabled
    try:
        yield
    finally:
        _THREAD.compiles = before


def _compiled_philox(
    counter: tuple[Tensor, ...], key: tuple[int | Tensor, int | Tensor]
) -> tuple[Tensor, ...]:
    """`philox4x32` for keys as tensors: a number would take a compilation of its own."""
    device = counter[0].device
    words = tuple(torch.as_tensor(word, dtype=torch.int64, device=device) for word in key)
    return _compile_philox()(counter, words)  # type: ignore[no-any-return]


@functools.cache
def _compile_philox() -> Any:
    return torch.compile(philox4x32, dynamic=True)


def uniform(
    key: Key | Keys,
    shape: Shape,
    start: int = 0,
    dtype: torch.dtype = torch.float64,
    device: Device = None,
) -> Tensor:
    """(bits >> 8) 2^-24, uniform over the multiples of 2^-24 in [0, 1) and exact in any dtype."""
    return ((bits(key, shape, start, device) >> 8).to(torch.float64) * 2.0**-24).to(as_dtype(dtype))


def normal(
    key: Key | Keys,
    shape: Shape,
    start: int = 0,
    dtype: torch.dtype = torch.float64,
    device: Device = None,
) -> Tensor:
    """Standard normal numbers, by the method of Box & Muller (1958).

        u = (bits + 1/2) 2^-32;   r = sqrt(-2 log u_{2j})
        n_{2j} = r cos(2 pi u_{2j+1});   n_{2j+1} = r sin(2 pi u_{2j+1})

    Computed in float64 and then cast, because float32 `log` differs between libraries. |n| < 6.8.
    """
    shape = as_shape(shape)
    check_start(start)
    size = math.prod(shape)
    first, last = start // 2, (start + size + 1) // 2
    words = bits(key, (last - first, 2), 2 * first, device)
    u = words.to(torch.float64).add_(0.5).mul_(2.0**-32)
    radius, angle = torch.log(u[..., 0]).mul_(-2).sqrt_(), 2 * math.pi * u[..., 1]
    pairs = torch.stack((torch.cos(angle), torch.sin(angle)), dim=-1).mul_(radius[..., None])
    pairs = pairs.flatten(-2)
    offset = start - 2 * first
    numbers = pairs[..., offset : offset + size].reshape(*pairs.shape[:-1], *shape)
    return numbers.to(as_dtype(dtype))


def bernoulli(key: Key | Keys, probs: Tensor, start: int = 0) -> Tensor:
    """uniform < probs: 1 with probability `probs`, in its shape and dtype.

    With S keys the first axis of `probs` counts them.

    The comparison is exact, at 24 bits, for every dtype: 0 never gives 1, and 1 always does.
    """
    shape = tuple(probs.shape) if isinstance(key, Key) else tuple(probs.shape[1:])
    u = uniform(key, shape, start, device=probs.device)
    return (u < probs).to(probs.dtype)


def dropout_mask(
    key: Key | Keys, shape: Shape, rate: float, start: int = 0, device: Device = None
) -> Tensor:
    """True where a unit is kept, with probability 1 - rate: bits >= round(2^32 rate). bool.

    The comparison is of integers, so that the mask is identical on every device and for every
    dtype.
    Raises: ValueError for a rate outside [0, 1).
    """
    return bits(key, shape, start, device) >= keep_threshold(rate)


def permutation(key: Key, n: int, device: Device = None) -> Tensor:
    """A random permutation of 0 ... n - 1, the stable argsort of n words.   -> (n) int64"""
    return torch.argsort(bits(key, n, device=device), stable=True)


def draw_eps(
    key: Key | Keys,
    batch_size: int,
    samples: int | None,
    dim: int,
    first: int = 0,
    dtype: torch.dtype = torch.float64,
    device: Device = None,
) -> Tensor:
    """Standard normal noise for the latents of a batch: (N, Z), or (N, K, Z) with K `samples`.

    Example n owns elements n K Z ... (n + 1) K Z - 1 of the stream, N = batch_size, Z = dim, K = 1
    without `samples`.
    `first` is the index of the first example, so that part of a batch gets the same noise as within
    the whole batch.
    Raises: ValueError for a batch_size or samples < 1.
    """
    check_positive_int("batch_size", batch_size)
    if samples is not None:
        check_positive_int("samples", samples)
    example = (dim,) if samples is None else (samples, dim)
    return normal(key, (batch_size, *example), first * math.prod(example), dtype, device)
