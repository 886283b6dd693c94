"""BLAKE2b digests of bytes and of named arrays."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

BLOCK = 1 << 20
"""The number of bytes that are hashed at once."""
INLINE = 2 * BLOCK
"""Up to this number of bytes, starting threads takes longer than they save."""


def digest(*contents: bytes) -> str:
    """Return the BLAKE2b hash of the concatenated contents, in hexadecimal."""
    state = hashlib.blake2b(digest_size=16)
    for content in contents:
        state.update(content)
    return state.hexdigest()


class ArraysDigest:
    """The digest of named arrays and a text, in hexadecimal; blocks are hashed in threads.

        digest = H(text, and (name, dtype, shape) of each array, by name;
                   H(block) of each block of BLOCK bytes of each array, by name)

    It depends on neither the order of the arrays nor the number of threads. The caller adds the
    blocks of an array in order, and leaves their memory unchanged until `hexdigest`.
    """

    def __init__(self, size: int) -> None:
        self._blocks: dict[str, list[Callable[[], bytes]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        if size > INLINE:
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def __enter__(self) -> ArraysDigest:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, name: str, block: Any) -> None:
        """Add the next block, of at most BLOCK bytes, of the array `name`."""
        if self._pool is None:
            value = _hash(block)
            self._blocks.setdefault(name, []).append(lambda: value)
        else:
            future: Future[bytes] = self._pool.submit(_hash, block)
            self._blocks.setdefault(name, []).append(future.result)

    def hexdigest(self, text: str, arrays: dict[str, tuple[str, list[int]]]) -> str:
        """Return the digest, where `arrays` has the dtype and the shape of each array by name."""
        names = sorted(arrays)
        head = json.dumps([text, [[name, *arrays[name]] for name in names]]).encode()
        blocks = (block() for name in names for block in self._blocks.get(name, ()))
        return digest(_hash(head), *blocks)


def _hash(block: Any) -> bytes:
    return hashlib.blake2b(block, digest_size=32).digest()
