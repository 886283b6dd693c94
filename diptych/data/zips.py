"""Reads the members of zip archives with bounded memory, in plain Python.

    local header        30 bytes, name, extra field; then the packed bytes of the member
    central directory   46 bytes a member, name, extra field, comment; has every size and offset
    end record          22 bytes and a comment, at the end of the file

Only the central directory is believed. It has at most 1 MB, so one of a million members
is refused, and a member is unpacked at most to the size that stands there.
Source: PKWARE, ".ZIP file format specification", APPNOTE.TXT 6.3.10 (2022).
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from diptych.data.bounded import Inflate, Part, Readable

START = b"PK\x03\x04"
_ENTRY, _END = b"PK\x01\x02", b"PK\x05\x06"
_MAX_DIRECTORY = 1 << 20
_STORED, _DEFLATED = 0, 8
_METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz"}


@dataclass(frozen=True, slots=True)
class Member:
    """Entry of the central directory."""

    name: bytes
    encrypted: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def read_directory(path: Path, file: BinaryIO, expected: str) -> dict[str, Member]:
    """Read the members by name. Raises: ValueError for a damaged or too large directory."""
    length = os.fstat(file.fileno()).st_size
    file.seek(max(0, length - 22 - 0xFFFF))  # a comment has at most 65535 bytes
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise ValueError(f"{path}: found no end record, not a zip file, expected {expected}")
    size, offset = struct.unpack_from("<II", tail, at + 12)
    end = length - len(tail) + at
    if size > _MAX_DIRECTORY:
        raise ValueError(
            f"{path}: found a zip directory of {size} bytes, expected at most {_MAX_DIRECTORY}"
        )
    if offset + size != end:
        raise ValueError(
            f"{path}: offset {end}: found a zip directory that does not end there, "
            f"expected {expected}"
        )
    file.seek(offset)
    return _entries(path, file.read(size), expected)


def _entries(path: Path, directory: bytes, expected: str) -> dict[str, Member]:
    members: dict[str, Member] = {}
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != _ENTRY or len(directory) - at < 46:
            raise ValueError(f"{path}: found a damaged zip directory, expected {expected}")
        flags, method, crc, packed, size = struct.unpack_from("<HH4xIII", directory, at + 8)
        lengths = struct.unpack_from("<HHH", directory, at + 28)
        (offset,) = struct.unpack_from("<I", directory, at + 42)
        name = directory[at + 46 : at + 46 + lengths[0]]
        key = name.decode("utf-8", "backslashreplace")
        if key in members:
            raise ValueError(f"{path}: {key[:80]!r}: found it twice, expected it once")
        members[key] = Member(name, bool(flags & 1), method, crc, packed, size, offset)
        at += 46 + sum(lengths)
    if at != len(directory):
        raise ValueError(f"{path}: found a damaged zip directory, expected {expected}")
    return members


class Content:
    """Stream of the unpacked bytes of one member; `read(n)` returns n bytes, fewer at the end.

    Where all bytes have been read, `check` compares their number and CRC with the directory's.
    """

    def __init__(self, source: str, file: BinaryIO, member: Member, expected: str) -> None:
        """Go to the member. Raises: ValueError that begins with `source`."""
        self.source, self.member, self.expected = source, member, expected
        self.taken = self.crc = 0
        file.seek(member.offset)
        header = file.read(30)
        if len(header) < 30 or not header.startswith(START):
            raise self.error(f"offset {member.offset}: found no header of a zip member")
        name, extra = struct.unpack_from("<HH", header, 26)
        if file.read(name) != member.name:
            raise self.error(f"offset {member.offset}: found another name than in the directory")
        file.seek(extra, os.SEEK_CUR)
        self.stream: Readable = Part(file, member.packed)
        if member.encrypted:
            raise self.error("found an encrypted zip member")
        if member.method == _DEFLATED:
            self.stream = Inflate(self.stream, -15, source, expected)
        elif member.method != _STORED:
            method = _METHODS.get(member.method, f"method {member.method}")
            raise self.error(f"found a zip member packed by {method}, not stored or deflated")

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, but none beyond the size in the directory."""
        data = self.stream.read(min(count, self.member.size - self.taken))
        self.taken += len(data)
        self.crc = zlib.crc32(data, self.crc)
        return data

    def check(self) -> None:
        """Raise ValueError unless the member has ended with the size and CRC of the directory."""
        if self.taken != self.member.size or self.stream.read(1):
            raise self.error(f"found a member that does not end after {self.member.size} bytes")
        if self.crc != self.member.crc:
            raise self.error("found data whose CRC differs from the stored one")

    def error(self, reason: str) -> ValueError:
        """Make an error of this member."""
        return ValueError(f"{self.source}: {reason}, expected {self.expected}")
