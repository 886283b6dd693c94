"""Safetensors files of named arrays with JSON metadata and a digest of both.

A file is 8 bytes with the length n of its header, the header (JSON of n bytes), and the data. The
header has the dtype, the shape and the place in the data of each array, and "__metadata__", where
`save_arrays` puts the caller's metadata and the digest. `load_arrays` checks a digest wherever it
finds one; files of other programs have none.

Source: the format of safetensors, https://github.com/huggingface/safetensors. We read it in Python
so that the data are hashed while they are read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from diptych.files.digests import BLOCK, ArraysDigest
from diptych.files.json_files import parse_json
from diptych.files.writing import check_ordinary, describe_error, replacing

METADATA = "diptych"
DIGEST = "blake2b"
EMPTY_DIGEST = "0" * 32
LARGEST_HEADER = 100_000_000
"""The largest header that safetensors reads, in bytes."""
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "C64": np.complex64,
}
"""The dtypes of the format that NumPy has."""
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """The header's entry of one array."""

    name: str
    dtype: str
    shape: list[int]
    begin: int
    end: int


class Header(NamedTuple):
    """The header of a file: its arrays in the order of their data, and its metadata."""

    entries: list[Entry]
    metadata: dict[str, str]


def save_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays and JSON-able metadata as one safetensors file, atomically.

    Raises: ValueError for a dtype that the format lacks, and if the file cannot be written.
    """
    text = json.dumps(metadata or {})
    values = {name: _little_endian(path, name, array) for name, array in arrays.items()}
    kinds = {name: (NAMES[a.dtype], list(a.shape)) for name, a in values.items()}
    # wide dtypes come first, so that every array is aligned
    order = sorted(values, key=lambda name: (-values[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {DIGEST: EMPTY_DIGEST, METADATA: text}}
    size = 0
    for name in order:
        dtype, shape = kinds[name]
        places = [size, size + values[name].nbytes]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": places}
        size = places[1]
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with replacing(path) as file, ArraysDigest(size) as state:
        file.write(len(head).to_bytes(8, "little") + head)
        for name in order:
            data = values[name].reshape(-1).view(np.uint8)
            for start in range(0, data.size, BLOCK):
                state.add(name, data[start : start + BLOCK])
            file.write(data.data)
        file.seek(8 + head.index(EMPTY_DIGEST.encode()))
        file.write(state.hexdigest(text, kinds).encode())


def load_arrays(
    path: str | os.PathLike[str], *, digest_required: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read (arrays, metadata); metadata that other programs wrote is ignored.

    Raises: ValueError that names the file and the fault: missing, not safetensors, truncated, or
    with other contents than its digest says; with `digest_required`, also a file without a digest.
    """
    arrays: dict[str, np.ndarray] = {}
    with _opened(path) as file:
        header = _read_header(path, file)
        required = _digest_of(path, header, digest_required)
        size = sum(entry.end - entry.begin for entry in header.entries)
        with ArraysDigest(size) as state:
            for entry in header.entries:
                arrays[entry.name] = _read_array(path, file, entry, state if required else None)
            text = header.metadata.get(METADATA, "{}")
            kinds = {entry.name: (entry.dtype, entry.shape) for entry in header.entries}
            if required and state.hexdigest(text, kinds) != required:
                raise ValueError(
                    f"{path}: damaged: its contents are not those that were written (the BLAKE2b "
                    "digest differs)"
                )
    return arrays, _parsed(path, text)


def load_metadata(path: str | os.PathLike[str], *, digest_required: bool = False) -> dict[str, Any]:
    """Read the metadata alone; the digest, which needs the arrays, is not checked.

    Raises: ValueError as `load_arrays` does for a header that is damaged; with `digest_required`,
    also for a file without a digest.
    """
    with _opened(path) as file:
        header = _read_header(path, file)
    _digest_of(path, header, digest_required)
    return _parsed(path, header.metadata.get(METADATA, "{}"))


def check_has_digest(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if a file has no digest, or cannot be read."""
    with _opened(path) as file:
        _digest_of(path, _read_header(path, file), required=True)


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    check_ordinary(path)
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({describe_error(error)})") from None


def _digest_of(path: str | os.PathLike[str], header: Header, required: bool) -> str | None:
    value = header.metadata.get(DIGEST)
    if value is None and required:
        raise ValueError(f"{path}: damaged, or of another program: it has no BLAKE2b digest")
    return value


def _parsed(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    metadata = parse_json(text, f"{path}: metadata {METADATA!r} is")
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: metadata {METADATA!r} is {type(metadata).__name__}, no object")
    return metadata


def _little_endian(path: str | os.PathLike[str], name: str, array: np.ndarray) -> np.ndarray:
    dtype = array.dtype.newbyteorder("=")
    if dtype not in NAMES:
        raise ValueError(f"{path}: {name} is {array.dtype}, which safetensors lacks")
    return np.ascontiguousarray(array, dtype.newbyteorder("<")).reshape(array.shape)


def _read_array(
    path: str | os.PathLike[str], file: BinaryIO, entry: Entry, state: ArraysDigest | None
) -> np.ndarray:
    """Read the next array of the file, and add its blocks to the digest."""
    if entry.dtype not in DTYPES:
        raise ValueError(
            f"{path}: holds a dtype that NumPy lacks ({entry.name} is {entry.dtype!r})"
        )
    try:
        array = np.empty(entry.shape, np.dtype(DTYPES[entry.dtype]).newbyteorder("<"))
        data = array.reshape(-1).view(np.uint8)
    except ValueError as error:
        raise ValueError(f"{path}: {entry.name} is no array ({error})") from None
    for start in range(0, data.size, BLOCK):
        block = data[start : start + BLOCK]
        _read_into(path, file, block)
        if state is not None:
            state.add(entry.name, block)
    return array


def _read_into(path: str | os.PathLike[str], file: BinaryIO, block: np.ndarray) -> None:
    view = block.data
    while view:
        try:
            count = file.readinto(view)  # type: ignore[attr-defined]
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({describe_error(error)})") from None
        if not count:
            raise ValueError(f"{path}: not a whole safetensors file (it ends too early)")
        view = view[count:]


def _read_header(path: str | os.PathLike[str], file: BinaryIO) -> Header:
    """Read and check a header: its arrays fill the rest of the file without a gap."""
    source = f"{path}: not a whole safetensors file"
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, LARGEST_HEADER):
        raise ValueError(f"{source} (its header has {length} bytes, the file {size})")
    text = bytearray(length)
    _read_into(path, file, np.frombuffer(text, np.uint8))
    header = parse_json(bytes(text), f"{source}: its header is")
    if not isinstance(header, dict):
        raise ValueError(f"{source} (its header is no object)")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{source} (its metadata are no texts)")
    entries = sorted((_entry(source, *item) for item in header.items()), key=lambda e: e[3:])
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(f"{source} ({entry.name} begins at {entry.begin}, takes {end})")
        end = entry.end
    if 8 + length + end != size:
        raise ValueError(f"{source} (its data have {size - 8 - length} bytes, takes {end})")
    return Header(entries, metadata)


def _entry(source: str, name: str, value: Any) -> Entry:
    """Check one entry of a header."""
    try:
        dtype, shape, (begin, end) = (value[k] for k in ("dtype", "shape", "data_offsets"))
        name.encode()
        whole = [begin, end, *shape]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{source} (the entry {name!r} of its header is damaged)") from None
    if not isinstance(dtype, str) or any(type(n) is not int or n < 0 for n in whole):
        raise ValueError(f"{source} (the entry {name!r} of its header is damaged)")
    if dtype in DTYPES and end - begin != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
        raise ValueError(f"{source} ({name} has {end - begin} bytes, its shape takes others)")
    if end < begin:
        raise ValueError(f"{source} ({name} ends before it begins)")
    return Entry(name, dtype, list(shape), begin, end)
