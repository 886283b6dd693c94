"""Reads .npz archives of uint8 examples with bounded memory; pickles inside are never opened.

A member KEY.npy is a .npy file: 93 "NUMPY", version, length of the header, the header, which is a
dictionary of `descr`, `fortran_order` and `shape`, and the values. The header is judged before the
values are unpacked.
Source: NumPy, "numpy.lib.format", .npy format versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.data import forms
from diptych.data.bounded import open_regular
from diptych.data.zips import START, Content, read_directory

MAX_EXAMPLES = 100_000
_MAX_HEADER = 4096
_MAGIC = b"\x93NUMPY"
_EXPECTED = "an .npz archive"
_DESCR = re.compile(r"'descr'\s*:\s*(?:'([^']*)'|(\[))")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)\b")
_SHAPE = re.compile(r"'shape'\s*:\s*\(((?:[0-9]+\s*,\s*)*(?:[0-9]+\s*)?)\)")
_BYTE = ("|u1", "<u1", ">u1", "=u1", "u1")


def read_npz(
    path: Path, keys: Sequence[str], shape: tuple[int, ...], most: int = MAX_EXAMPLES
) -> list[np.ndarray]:
    """Read the arrays `keys` of an .npz archive, one example of `shape` a row.

    Shapes: each (N, *shape) uint8, 1 <= N <= `most`.
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    with open_regular(path, _EXPECTED) as file:
        magic = file.read(len(START))
        if magic != START:  # np.load would read it as a .npy file or a pickle
            form = forms.describe(magic + file.read(forms.HEAD))
            start = (magic.hex(" ") or "nothing") + (f", {form}" if form else "")
            raise ValueError(f"{path}: offset 0: found {start}, expected a zip's {START.hex(' ')}")
        members = read_directory(path, file, _EXPECTED)
        names = {name.removesuffix(".npy"): name for name in members}
        for key in keys:
            if key not in names:
                present, expected = _listed(names) or "none", ", ".join(keys)
                raise ValueError(
                    f"{path}: key {key}: missing, found {present}, expected {expected}"
                )
        expected = f"uint8 ({', '.join(map(str, ('N', *shape)))}) with N >= 1"
        return [
            _read_examples(
                Content(f"{path}: key {key}", file, members[names[key]], expected), shape, most
            )
            for key in keys
        ]


def _read_examples(content: Content, shape: tuple[int, ...], most: int) -> np.ndarray:
    """Read a .npy file of uint8 (N, *shape) after its header has been judged."""
    start = content.read(len(_MAGIC) + 6)
    if not start.startswith(_MAGIC) or len(start) < len(_MAGIC) + 6:
        raise content.error("found raw bytes")
    long = start[6] > 1  # version 1 has a length of 2 bytes, versions 2 and 3 of 4
    length = int.from_bytes(start[8 : 12 if long else 10], "little")
    if start[6] not in (1, 2, 3) or length > _MAX_HEADER:
        raise content.error(f"found version {start[6]} of .npy with a header of {length} bytes")
    header = (b"" if long else start[10:]) + content.read(max(0, length - (0 if long else 2)))
    dtype, is_fortran, sizes = _parse(content, header.decode("latin-1"))
    if dtype == "object":
        raise content.error("Object arrays cannot be loaded: they are pickles, found dtype object")
    if dtype != "uint8" or not sizes or not sizes[0] or sizes[1:] != shape:
        raise content.error(f"found {dtype} {_printed(sizes)}")
    if sizes[0] > most:
        raise content.error(f"found {dtype} {_printed(sizes)} of more than {most} examples")
    size = math.prod(sizes)
    values = content.read(size)
    if len(values) < size:
        raise content.error(f"found {len(values)} bytes for {_printed(sizes)}")
    content.check()
    return np.frombuffer(values, np.uint8).reshape(sizes, order="F" if is_fortran else "C")


def _parse(content: Content, header: str) -> tuple[str, bool, tuple[int, ...]]:
    """Return the dtype's name, the memory order and the shape that a .npy header declares."""
    descr, order, shape = (rule.search(header) for rule in (_DESCR, _ORDER, _SHAPE))
    if not (descr and order and shape):
        raise content.error(f"found the header {header[:60]!r}")
    sizes = tuple(int(size) for size in shape[1].split(",") if size.strip())
    return _dtype_name(descr[1]), order[1] == "True", sizes


def _dtype_name(descr: str | None) -> str:
    """Return NumPy's name of a dtype, without asking NumPy to parse what it does not know."""
    if descr is None:
        return "a structured dtype"
    if descr in _BYTE:
        return "uint8"
    if re.fullmatch(r"\|O\d?", descr):
        return "object"
    if re.fullmatch(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,4})", descr):
        return str(np.dtype(descr))
    return f"dtype {descr[:20]!r}"


def _printed(shape: tuple[int, ...]) -> str:
    text = str(shape)
    return text if len(text) < 80 else f"{len(shape)} dimensions"


def _listed(names: Sequence[str] | dict[str, str]) -> str:
    listed = [name if name.isprintable() else repr(name) for name in names]
    text = ", ".join(listed)
    return text if len(text) < 200 else f"{text[:200]} ..."
