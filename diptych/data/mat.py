"""Reads real numeric matrices from a MATLAB 5 file, in plain Python and with bounded memory.

A reader in C can be made to crash the process by one changed byte; this one checks each field
before it uses it. The file has a header of 128 bytes and then elements to its end:

    bytes 0 .. 115      text
    bytes 116 .. 123    offset of data that belong to a subsystem
    bytes 124 .. 125    version, 0x0100
    bytes 126 .. 127    "MI" as a number of 16 bits, so IM if the file is little-endian

An element is a tag of 8 bytes, its type and its size as uint32, then the data, then zeros up to a
multiple of 8 bytes. If the upper half of the first uint32 is not 0 it is the size, the lower half
the type, and up to 4 bytes of data stand in the second half of the tag. A matrix, type 14, consists
of elements:

    flags               2 uint32: class in bits 0 .. 7, complex in bit 11; another number
    dimensions          int32
    name                int8
    real part           any numeric type that holds the values, first dimension fastest
    imaginary part      if the matrix is complex

and a compressed element, type 15, is a zlib stream of one matrix.
Source: "MAT-File Format", The MathWorks, version R2023b, chapter "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diptych.data import forms
from diptych.data.bounded import Inflate, Part, Readable, open_regular

EXPECTED = "a whole MATLAB 5 file"
_HEADER = 128
_VERSION, _HDF5 = 0x0100, 0x0200
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32, _UTF8 = 1, 5, 6, 16
_DTYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8"},
}
_NUMERIC = range(6, 16)
"""Classes double, single, int8 .. uint64."""
_CLASSES = {1: "a cell array", 2: "a structure", 3: "an object", 4: "text", 5: "a sparse matrix"}
_OPAQUE = 17
"""Class of objects that are stored elsewhere in the file: without dimensions and values."""
_COMPLEX = 1 << 11
_MAX_ELEMENTS = 10_000
_MAX_DIMENSIONS = 32
_MAX_NAME = 1024


def read_matrices(path: Path, keys: Sequence[str], limit: int) -> dict[str, np.ndarray]:
    """Read the matrices `keys`, each of at most `limit` values; all others are skipped.

    Shapes: those of the file; the dtype is the one that the values are stored in, so whole numbers
    of class double are often uint8.
    Raises: ValueError that names the file, the key or the offset, what was found and expected.
    """
    matrices: dict[str, np.ndarray] = {}
    with open_regular(path, EXPECTED) as file:
        for elements, size in _scan(path, file):
            header = _read_header(elements)
            if header.name is None or header.name not in keys:
                continue
            elements.place = f"{path}: key {header.name}"
            if header.name in matrices:
                raise elements.error("found it twice", "it once")
            matrices[header.name] = _read_values(elements, header, size, limit)
    for key in keys:
        if key not in matrices:
            raise ValueError(f"{path}: key {key}: missing, expected {', '.join(keys)}")
    return matrices


def _scan(path: Path, file: BinaryIO) -> Iterator[tuple[_Elements, int]]:
    """Yield the content of each matrix in the file and its declared size, unpacked if need be."""
    order = _byte_order(path, file.read(_HEADER))
    offset, end = _HEADER, os.fstat(file.fileno()).st_size
    for _ in range(_MAX_ELEMENTS):
        if offset == end:
            return
        file.seek(offset)
        place = f"{path}: offset {offset}"
        elements = _Elements(Part(file, end - offset), order, place)
        kind, size = elements.tag()
        offset += 8 + size
        if offset > end:
            raise elements.error(f"found an element of {size} bytes, {offset - end} too many")
        elements = _Elements(Part(file, size), order, place)
        if kind == _COMPRESSED:
            elements = _Elements(Inflate(elements.source, 15, place, EXPECTED), order, place)
            kind, size = elements.tag()
            elements.taken = 0
        if kind != _MATRIX:
            raise elements.error(f"found an element of type {kind}", f"a matrix, type {_MATRIX}")
        yield elements, size
    raise ValueError(f"{path}: found more than {_MAX_ELEMENTS} elements, expected {EXPECTED}")


def _byte_order(path: Path, header: bytes) -> str:
    """Return struct's sign of the byte order of the file, < or >."""
    mark, version = header[126:128], header[124:126]
    order = {b"IM": "<", b"MI": ">"}.get(mark, "")
    release = struct.unpack(f"{order}H", version)[0] if order else None
    form = forms.describe(header)
    if release == _HDF5 or (form and "HDF5" in form):
        content = "a file of MATLAB 7.3, v7.3, which is HDF5 (save it with '-v7')"
    elif form and form != "a MATLAB 5 file":
        content = form
    elif 0 in header[:4]:
        content = "a file of MATLAB 4, or no MATLAB file"
    elif len(header) < _HEADER:
        content = f"{len(header)} bytes, a truncated file" if header else "an empty file"
    elif not order:
        content = f"no MATLAB file, offset 126 has {mark.hex(' ')} in place of 49 4d or 4d 49"
    elif release != _VERSION:
        content = f"version {release:#06x} at offset 124, not {_VERSION:#06x}"
    else:
        return order
    raise ValueError(f"{path}: found {content}, expected {EXPECTED}")


@dataclass(slots=True)
class _Elements:
    """The elements of a stream, one after the other; `place` begins every error."""

    source: Readable
    order: str
    place: str
    taken: int = 0

    def take(self, count: int) -> bytes:
        data = self.source.read(count)
        self.taken += len(data)
        if len(data) < count:
            raise self.error(f"found {len(data)} bytes to the end, {count} are declared")
        return data

    def tag(self) -> tuple[int, int]:
        """Return the type and the size of the next element."""
        kind, size = struct.unpack(f"{self.order}II", self.take(8))
        return kind, size

    def element(self, largest: int) -> tuple[int, bytes]:
        """Return the type and the data of an element of at most `largest` bytes."""
        kind, size = struct.unpack(f"{self.order}II", tag := self.take(8))
        small = kind >> 16
        if small > 4 or (not small and size > largest):
            raise self.error(f"found an element of {small or size} bytes", f"{largest} at most")
        if small:
            return kind & 0xFFFF, tag[4 : 4 + small]
        data = self.take(size)
        self.taken += len(self.source.read(-size % 8))  # the last element can lack its padding
        return kind, data

    def error(self, fault: str, expected: str = EXPECTED) -> ValueError:
        return ValueError(f"{self.place}: {fault}, expected {expected}")


@dataclass(frozen=True, slots=True)
class _Header:
    """Name, class and shape of a matrix."""

    name: str | None
    kind: int
    is_complex: bool
    shape: tuple[int, ...]


def _read_header(elements: _Elements) -> _Header:
    kind, data = elements.element(8)
    if kind != _UINT32 or len(data) != 8:
        raise elements.error(f"found flags of type {kind} and {len(data)} bytes", "2 uint32")
    flags, _ = struct.unpack(f"{elements.order}II", data)
    if flags & 0xFF == _OPAQUE:
        return _Header(None, _OPAQUE, False, ())
    kind, data = elements.element(4 * _MAX_DIMENSIONS)
    if kind not in (_INT32, _UINT32) or len(data) % 4 or len(data) < 8:
        raise elements.error(
            f"found dimensions of type {kind} and {len(data)} bytes", "2 or more int32"
        )
    shape = struct.unpack(f"{elements.order}{len(data) // 4}i", data)
    if min(shape) < 0:
        raise elements.error(f"found dimensions {shape}", "none below 0")
    kind, data = elements.element(_MAX_NAME)
    if kind not in (_INT8, _UTF8):
        raise elements.error(f"found a name of type {kind}", "int8")
    return _Header(data.decode("latin-1"), flags & 0xFF, bool(flags & _COMPLEX), shape)


def _read_values(elements: _Elements, header: _Header, size: int, limit: int) -> np.ndarray:
    """Read the values of a matrix after its header; `size` is that of the whole matrix."""
    if header.kind not in _NUMERIC or header.is_complex:
        content = "a complex matrix" if header.kind in _NUMERIC else _CLASSES.get(header.kind)
        content = content or f"class {header.kind}"
        raise elements.error(f"found {content}", "a matrix of real numbers")
    count = math.prod(header.shape)
    if count > limit:
        raise elements.error(f"found {header.shape}, {count} values", f"at most {limit}")
    kind, data = elements.element(8 * count)
    if kind not in _DTYPES:
        raise elements.error(f"found values of type {kind}", "integers or floats")
    dtype = np.dtype(_DTYPES[kind])
    if len(data) != count * dtype.itemsize:
        raise elements.error(
            f"found {len(data)} bytes of {dtype}", f"{count * dtype.itemsize} for {header.shape}"
        )
    if elements.taken != size or elements.source.read(1):  # to read on checks the zlib checksum
        raise elements.error(f"found a matrix that does not end after {size} bytes")
    values = np.frombuffer(data, f"{elements.order}{_DTYPES[kind]}")
    return values.astype(dtype, copy=False).reshape(header.shape, order="F")
