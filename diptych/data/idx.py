"""Read IDX files, the format of MNIST and its successors: a header with the sizes, then bytes."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from diptych.data import forms
from diptych.data.bounded import read_declared, read_head

LIMIT = 1 << 28
"""The most bytes that a compressed file may declare: 340 thousand images of 28x28."""
_TYPES = {9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
_UINT8 = 8


def read_idx(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """Read an IDX file of uint8 and of the expected `shape`; None means any size but 0.

        bytes 0 .. 3      magic: 0, 0, 8 for uint8, the number of dimensions n
        bytes 4 .. 4n+3   n sizes, big-endian uint32
        bytes 4n+4 ..     one uint8 an element, last dimension fastest, to the end of the file

    The content is compressed if and only if the name ends in .gz. The header is judged before the
    rest is read; offsets in errors count from the start of the content, after decompression.
    Shapes: returned uint8, read-only.
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    Source: Y. LeCun, "The IDX file format", on the page of the MNIST database.
    """
    packed, start = path.suffix == ".gz", 4 + 4 * len(shape)
    _check_compression(path, packed)

    def declared_size(head: bytes) -> int:
        _check_header(path, head, shape)
        size = math.prod(_sizes(head, shape))
        if not packed:
            _check_length(path, path.stat().st_size, head, shape)
        elif start + size > LIMIT:
            raise ValueError(
                f"{path}: offset 4: found {' x '.join(map(str, _sizes(head, shape)))} bytes, "
                f"expected at most {LIMIT}"
            )
        return start + size

    data = read_declared(
        path, forms.HEAD, declared_size, max(LIMIT, path.stat().st_size), "an IDX file"
    )
    _check_length(path, len(data), data, shape)
    return np.frombuffer(data, np.uint8, offset=start).reshape(_sizes(data, shape))


def _check_compression(path: Path, packed: bool) -> None:
    expected = "a whole gzip file" if packed else "an IDX file"
    head = read_head(path, forms.HEAD, expected)
    form = forms.describe(head)
    if packed and form != "a gzip file":
        content = f", {form}" if form else ""
        raise ValueError(
            f"{path}: Not a gzipped file ({_start(head)}{content}), expected {expected}"
        )
    if not packed and form == "a gzip file":
        raise ValueError(
            f"{path}: offset 0: found {_start(head)}, it is gzipped, expected an IDX file; the "
            "name of a gzip file must end in .gz"
        )


def _check_header(path: Path, head: bytes, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless magic and sizes are those of `shape`."""
    magic, start = bytes((0, 0, _UINT8, len(shape))), 4 + 4 * len(shape)
    if head[:4] != magic:
        form = forms.describe(head)
        if head[:2] == magic[:2] and head[2:3] and head[2] in _TYPES:
            form = f"an IDX file of {_TYPES[head[2]]}"
        raise ValueError(
            f"{path}: offset 0: found {_start(head)}{f', {form}' if form else ''}, "
            f"expected magic {magic.hex(' ')}"
        )
    if len(head) < start:
        raise ValueError(f"{path}: offset 4: file ends at {len(head)}, expected sizes to {start}")
    for axis, (size, expected) in enumerate(zip(_sizes(head, shape), shape, strict=True)):
        if size == 0 or expected not in (None, size):
            raise ValueError(
                f"{path}: offset {4 + 4 * axis}: found size {size} for dimension {axis}, "
                f"expected {expected or 'at least 1'}"
            )


def _check_length(path: Path, length: int, head: bytes, shape: tuple[int | None, ...]) -> None:
    sizes, rest = _sizes(head, shape), length - 4 - 4 * len(shape)
    if rest != math.prod(sizes):
        raise ValueError(
            f"{path}: offset {length - rest}: found {rest} bytes to the end of the file, "
            f"expected {math.prod(sizes)} for {' x '.join(map(str, sizes))}"
        )


def _sizes(head: bytes, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return struct.unpack_from(f">{len(shape)}I", head, 4)


def _start(head: bytes) -> str:
    return head[:4].hex(" ") or "nothing"
