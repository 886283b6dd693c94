"""The random streams once more, in Python's own integers and floats: a witness beside both panels.

Written from Salmon et al. (2011) for Philox4x32-10 and from Box & Muller (1958) for normal numbers.
Nothing is imported from either panel; of a Key only its seed and its path are read.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

MASK32 = 2**32 - 1


@functools.lru_cache(maxsize=64)
def key_words(key: Any) -> tuple[int, ...]:
    """BLAKE2b-128 of the seed and the path as netstrings, each after its type; four words."""
    message = b""
    for part in (key.seed, *key.path):
        text = str(part).encode()
        message += (b"s" if isinstance(part, str) else b"i") + str(len(text)).encode()
        message += b":" + text
    digest = hashlib.blake2b(message, digest_size=16, person=b"diptych key v1").digest()
    return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(4))


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds of Philox4x32 on a counter of four words, with a key of two."""
    c, k = list(counter), list(key)
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (product1 >> 32) ^ c[1] ^ k[0],
            product1 & MASK32,
            (product0 >> 32) ^ c[3] ^ k[1],
            product0 & MASK32,
        ]
        k = [(k[0] + 0x9E3779B9) & MASK32, (k[1] + 0xBB67AE85) & MASK32]
    return c


def word(key: Any, index: int) -> int:
    """Word number `index` of the key's stream."""
    k0, k1, upper0, upper1 = key_words(key)
    block, lane = divmod(index, 4)
    return philox([block & MASK32, block >> 32, upper0, upper1], [k0, k1])[lane]


def bits(key: Any, shape: Any, start: int = 0) -> np.ndarray:
    """The words from `start` on. int64"""
    return _filled(lambda index: word(key, index), shape, start).astype(np.int64)


def uniform(key: Any, shape: Any, start: int = 0) -> np.ndarray:
    """The upper 24 bits of each word, over 2^24."""
    return _filled(lambda index: (word(key, index) // 2**8) / 2**24, shape, start)


def normal(key: Any, shape: Any, start: int = 0) -> np.ndarray:
    """Words 2 j and 2 j + 1 give radius and angle; the cosine comes first, the sine second."""

    def number(index: int) -> float:
        first, second = ((word(key, index // 2 * 2 + i) + 0.5) / 2**32 for i in range(2))
        turn = math.sin if index % 2 else math.cos
        return math.sqrt(-2 * math.log(first)) * turn(2 * math.pi * second)

    return _filled(number, shape, start)


def mask(key: Any, shape: Any, rate: float, start: int = 0) -> np.ndarray:
    """True where word / 2^32 is at least the rate, rounded to a multiple of 2^-32."""
    return bits(key, shape, start) >= round(rate * 2**32)


def permutation(key: Any, n: int) -> np.ndarray:
    """The numbers 0 ... n - 1 sorted by their words."""
    words = bits(key, n)
    return np.array(sorted(range(n), key=lambda i: (words[i], i)), np.int64)


def _filled(element: Callable[[int], float], shape: Any, start: int) -> np.ndarray:
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    return np.array([element(start + i) for i in range(size)]).reshape(shape)
