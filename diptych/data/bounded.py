"""Reads files of unknown origin with bounded memory and time.

Only regular files are opened: a FIFO would block for ever, a device may have no end. No more bytes
are read or unpacked than the caller allows or than the header of the data declares, so a small file
cannot fill the memory.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 16
_MAX_MEMBERS = 1 << 16
"""Members of a gzip file; a bomb of empty members takes time without giving bytes."""
_SLACK = 1 << 20
_RATIO = 1.01
"""Deflate stores incompressible data with 5 bytes more for 16 KB or 64 KB; 1 % is ample."""
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Readable(Protocol):
    """A stream of bytes: `read(n)` returns n bytes, fewer at its end."""

    def read(self, count: int, /) -> bytes: ...


_CHUNK = 1 << 20
"""Bytes that are read at a time where the size is not known: `read(n)` allocates n at once."""


@contextmanager
def open_regular(path: Path, expected: str = "a file") -> Iterator[BinaryIO]:
    """Open a regular file for reading; links to regular files are followed.

    Raises: ValueError that names the file: if it is a directory, FIFO, socket or device, if it
    does not exist or may not be read, and if the system reports an error while it is read.
    """
    try:
        _check_regular(path, os.stat(path).st_mode, expected)  # to open a device can have effects
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check_regular(path, os.fstat(file.fileno()).st_mode, expected)
            yield file
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        if path.is_symlink() and not path.exists():
            reason = f"found a link to {os.readlink(path)}, which does not exist"
        raise ValueError(f"{path}: {reason}, expected {expected}") from None


def _check_regular(path: Path, mode: int, expected: str) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise ValueError(f"{path}: found {kind}, expected {expected}")


def read_file(path: Path, limit: int, expected: str = "a file") -> bytes:
    """Read a whole regular file of at most `limit` bytes.

    Raises: ValueError that names the file, see `open_regular`; also if the file is larger.
    """
    with open_regular(path, expected) as file:
        size = os.fstat(file.fileno()).st_size
        chunks = [b"" if size > limit else file.read(size + 1)]
        total = len(chunks[0])
        while chunks[-1] and size < total <= limit:  # the size can be wrong, as in /proc
            chunks.append(file.read(min(_CHUNK, limit + 1 - total)))
            total += len(chunks[-1])
    data = b"".join(chunks)
    if max(size, len(data)) > limit:
        raise ValueError(
            f"{path}: found {max(size, len(data))} bytes, expected {expected} "
            f"of at most {limit} bytes"
        )
    return data


def read_head(path: Path, count: int = 64, expected: str = "a file") -> bytes:
    """Read the first `count` bytes of a regular file, or fewer if it is shorter.

    Raises: ValueError that names the file, see `open_regular`.
    """
    with open_regular(path, expected) as file:
        return file.read(count)


def read_declared(
    path: Path,
    header_bytes: int,
    size_of: Callable[[bytes], int],
    limit: int,
    expected: str = "a file",
) -> bytes:
    """Read a file whose header declares its size, plain or as gzip, whichever its bytes are.

    `size_of` receives the first `header_bytes` bytes, or fewer if there are no more, and returns
    the size of the whole content, header included; it raises ValueError for a bad header. At most
    one byte more than that size is read, so a caller sees a file that is too long as well as one
    that is too short. Names do not matter: gzip data are recognised by their first bytes.

    Raises: ValueError that names the file, see `open_regular`; if more than `limit` bytes are
    declared; if gzip data are damaged or cut.
    """
    if read_head(path, len(GZIP), expected) == GZIP:
        return gunzip(path, header_bytes, size_of, limit)
    with open_regular(path, expected) as file:
        return _read_declared(path, file, header_bytes, size_of, limit)


def gunzip(
    path: Path, header_bytes: int, size_of: Callable[[bytes], int], limit: int = 1 << 28
) -> bytes:
    """Unpack a gzip file whose content declares its own size; see `read_declared`."""
    with open_regular(path, "a whole gzip file") as file:
        return _read_declared(path, Gunzip(file, path), header_bytes, size_of, limit)


def _read_declared(
    path: Path,
    source: Readable,
    header_bytes: int,
    size_of: Callable[[bytes], int],
    limit: int,
) -> bytes:
    head = source.read(header_bytes)
    size = size_of(head)
    if size > limit:
        raise ValueError(f"{path}: offset 0: declares {size} bytes, expected at most {limit}")
    if isinstance(source, Gunzip):
        source.check_length(size)
    chunks, total = [head], len(head)
    while total <= size and (chunk := source.read(min(_CHUNK, size + 1 - total))):
        chunks.append(chunk)
        total += len(chunk)
    return b"".join(chunks)


@dataclass(slots=True)
class Part:
    """The next `left` bytes of a stream, as a stream."""

    file: Readable
    left: int

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, fewer at the end of the part."""
        data = self.file.read(min(count, self.left))
        self.left -= len(data)
        return data


class Inflate:
    """Stream that unpacks deflate data in constant memory.

    `read(n)` returns n bytes, fewer only at the end, where the checksum has been checked if the
    format has one. `wbits` is zlib's name of the format: -15 raw deflate, 15 zlib, 31 gzip.
    `source` begins an error message, `expected` ends it.
    Source: P. Deutsch, RFC 1950 (zlib), RFC 1951 (deflate) and RFC 1952 (gzip), 1996.
    """

    data = "deflate data"

    def __init__(self, file: Readable, wbits: int, source: object, expected: str) -> None:
        self.file, self.wbits, self.source, self.expected = file, wbits, source, expected
        self.packed = b""
        self.stream = zlib.decompressobj(wbits)
        self.ended = False

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end. Raises: ValueError for damaged data."""
        chunks, total = [], 0
        while total < count and not self.ended:
            chunks.append(self._unpack(count - total))
            total += len(chunks[-1])
        return b"".join(chunks)

    def _unpack(self, limit: int) -> bytes:
        """Unpack up to `limit` bytes from at most one chunk of the file."""
        if self.stream.eof:
            self._end()
            return b""
        self.packed = self.packed or self.file.read(_CHUNK)
        try:
            content = self.stream.decompress(self.packed, limit)
        except zlib.error as error:
            raise self._error(self._reason(str(error))) from None
        if not (self.packed or content or self.stream.eof):  # zlib can hold content back
            raise self._error(self._reason_of_end())
        self.packed = self.stream.unused_data or self.stream.unconsumed_tail
        return content

    def _end(self) -> None:
        self.ended = True

    def _reason_of_end(self) -> str:
        return f"found {self.data} that ended early"

    def _reason(self, message: str) -> str:
        if "incorrect data check" in message or "incorrect length check" in message:
            return f"found {self.data} whose CRC or length differs from the stored one"
        return f"found damaged {self.data} ({message.rpartition(': ')[2]})"

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self.source}: {reason}, expected {self.expected}")


class Gunzip(Inflate):
    """Stream that unpacks a gzip file, the CRC and the length of each member checked.

    Zero bytes after the last member are padding; anything else there is an error.
    """

    data = "gzip data"

    def __init__(self, file: BinaryIO, path: Path, expected: str = "a whole gzip file") -> None:
        super().__init__(file, 31, path, expected)
        self.size = os.fstat(file.fileno()).st_size
        self.members = 0

    def check_length(self, size: int) -> None:
        """Raise ValueError if the file is far longer than `size` unpacked bytes can need."""
        if self.size > _RATIO * size + _SLACK:
            raise self._error(f"found {self.size} bytes of gzip for {size} bytes of content")

    def _end(self) -> None:
        """Begin the next member, or end after the last one."""
        while not (packed := self.packed.lstrip(b"\0")):
            self.packed = self.file.read(_CHUNK)
            if not self.packed:
                self.ended = True
                return
        self.members += 1
        if self.members > _MAX_MEMBERS:
            raise self._error(f"found more than {_MAX_MEMBERS} gzip members")
        self.packed, self.stream = packed, zlib.decompressobj(self.wbits)

    def _reason_of_end(self) -> str:
        return super()._reason_of_end() if self.size else "found an empty file, not a gzip file"

    def _reason(self, message: str) -> str:
        if "incorrect header check" not in message:
            return super()._reason(message)
        place = "after the gzip data" if self.members else "at the start"
        return f"found {self.packed[:4].hex(' ')} {place}, not a gzip file"
