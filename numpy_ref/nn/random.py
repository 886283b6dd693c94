"""Random numbers addressed by (key, element index): Philox4x32-10.

Element i of a stream is a function of the key and i alone, so that parts of it can be drawn at any
time, in any order, on any device. `start` is the index of the first element. The right panel draws
the same bits.

Shapes: an int or a tuple of ints `shape` is that of the result.
Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
NumPy's own Philox is 4x64, a different stream.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from model_specs.common.fields import check_positive_int
from model_specs.common.key import Key
from model_specs.common.streams import (
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    Shape,
    as_shape,
    check_start,
    keep_threshold,
)
from numpy_ref.nn.module import Array, as_dtype

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
BLOCK = 8192  # counters at a time, so that the ten rounds stay in the cache


def philox4x32(counter: tuple[Array, ...], key: tuple[int, int]) -> tuple[Array, ...]:
    """The block cipher, from a counter of four 32-bit words to four random 32-bit words.

        (hi0, lo0) = M0 c0,  (hi1, lo1) = M1 c2
        c <- (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0),   ten times, k += W between

    Shapes: `counter` is four uint64 arrays (or scalars) with values below 2^32; so is the result.
    """
    m0, m1 = (np.uint64(m) for m in MULTIPLIERS)
    c0, c1, c2, c3 = counter
    for i in range(ROUNDS):
        k0, k1 = (np.uint64((k + i * w) & 0xFFFFFFFF) for k, w in zip(key, WEYL, strict=True))
        p0, p1 = m0 * c0, m1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
    return c0, c1, c2, c3


def bits(key: Key, shape: Shape, start: int = 0) -> Array:
    """Words start, start + 1, ... of the stream, 32 random bits each. uint32.

    Word i is lane i mod 4 of the block whose 64-bit counter is i div 4.
    Raises: ValueError for a negative size or start.
    """
    shape = as_shape(shape)
    check_start(start)
    size = math.prod(shape)
    first, last = start // 4, (start + size + 3) // 4
    k0, k1, c2, c3 = key.words
    words = np.empty((last - first, 4), np.uint32)
    for begin in range(first, last, BLOCK):
        block = np.arange(begin, min(begin + BLOCK, last), dtype=np.uint64)
        upper = (np.full_like(block, c2), np.full_like(block, c3))
        lanes = philox4x32((block & _LOW, block >> _HALF, *upper), (k0, k1))
        np.stack(lanes, axis=1, out=words[begin - first :][: len(block)], casting="unsafe")
    offset = start - 4 * first
    return words.reshape(-1)[offset : offset + size].reshape(shape)


def uniform(key: Key, shape: Shape, start: int = 0, dtype: DTypeLike = np.float64) -> Array:
    """(bits >> 8) 2^-24, uniform over the multiples of 2^-24 in [0, 1) and exact in any dtype."""
    return ((bits(key, shape, start) >> np.uint32(8)) * 2.0**-24).astype(as_dtype(dtype))


def normal(key: Key, shape: Shape, start: int = 0, dtype: DTypeLike = np.float64) -> Array:
    """Standard normal numbers, by the method of Box & Muller (1958).

        u = (bits + 1/2) 2^-32;   r = sqrt(-2 log u_{2j})
        n_{2j} = r cos(2 pi u_{2j+1});   n_{2j+1} = r sin(2 pi u_{2j+1})

    Computed in float64 and then cast, because float32 `log` differs between libraries. |n| < 6.8.
    """
    shape = as_shape(shape)
    check_start(start)
    size = math.prod(shape)
    first, last = start // 2, (start + size + 1) // 2
    u = (bits(key, (last - first, 2), 2 * first) + 0.5) * 2.0**-32
    radius, angle = np.sqrt(-2 * np.log(u[:, 0])), 2 * np.pi * u[:, 1]
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).reshape(-1)
    offset = start - 2 * first
    return pairs[offset : offset + size].reshape(shape).astype(as_dtype(dtype))


def bernoulli(key: Key, probs: Array, start: int = 0) -> Array:
    """uniform < probs: 1 with probability `probs`, in its shape and dtype.

    The comparison is exact, at 24 bits, for every dtype: 0 never gives 1, and 1 always does.
    """
    return (uniform(key, probs.shape, start) < probs).astype(probs.dtype)


def dropout_mask(key: Key, shape: Shape, rate: float, start: int = 0) -> Array:
    """True where a unit is kept, with probability 1 - rate: bits >= round(2^32 rate). bool.

    The comparison is of integers, so that the mask is identical on every device and for every
    dtype.
    Raises: ValueError for a rate outside [0, 1).
    """
    return bits(key, shape, start) >= np.uint64(keep_threshold(rate))


def permutation(key: Key, n: int) -> Array:
    """A random permutation of 0 ... n - 1, the stable argsort of n words.   -> (n) int64"""
    return np.argsort(bits(key, n), kind="stable")


def draw_eps(
    key: Key,
    batch_size: int,
    samples: int | None,
    dim: int,
    first: int = 0,
    dtype: DTypeLike = np.float64,
) -> Array:
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
    return normal(key, (batch_size, *example), first * math.prod(example), dtype)
