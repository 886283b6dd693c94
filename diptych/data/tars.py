"""Reads files out of a tar archive, a stream that is read once, with bounded memory.

The archive is a sequence of blocks of 512 bytes: a header, then the content padded to whole blocks;
a block of zeros ends it. Two kinds of members describe the next one, a pax header and GNU's long
name; both are read only if they are short. Nothing is written and no link is followed.
Source: POSIX.1-2017, "pax", section "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from diptych.data.bounded import Readable

BLOCK = 512
_MAX_MEMBERS = 1000
_MAX_DESCRIPTION = 1 << 16
"""Bytes of a pax header or a long name; the path of a file has at most 4096."""
_FILE = b"\0", b"0", b"7"
_WITHOUT_CONTENT = b"1", b"2", b"3", b"4", b"5", b"6"
"""Links, devices, folders and pipes."""
_LONG_NAME, _PAX = b"L", b"x"
_DESCRIPTIONS = _LONG_NAME, b"K", _PAX, b"X", b"g"
_CHUNK = 1 << 20


@dataclass(slots=True)
class Files:
    """Content of the wanted files by name, or None for a link or a folder; see `read_files`."""

    contents: dict[str, bytes | None] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_files(source: object, stream: Readable, names: Collection[str], largest: int) -> Files:
    """Read the files whose names, without folders, are in `names`.

    At most `largest` + 1 bytes of each are kept, and all members together may have that size for
    each of `names` and 16 MB more. The stream is read to its end, where its checksum is.
    Raises: ValueError that begins with `source` and says at which byte the archive is damaged.
    """
    archive = _Archive(source, stream, len(names) * (largest + 1) + 16 * _CHUNK)
    files = Files()
    while member := archive.next_member():
        path, size, is_file = member
        name = path.rstrip("/").rpartition("/")[2]
        if name not in names:
            files.others.append(path)
            archive.take(size, keep=0)
        elif name in files.contents:
            files.repeated.append(name)
            archive.take(size, keep=0)
        else:
            content = archive.take(size, keep=largest + 1)
            files.contents[name] = content if is_file else None
    archive.finish()
    return files


@dataclass(slots=True)
class _Archive:
    source: object
    stream: Readable
    limit: int
    offset: int = 0
    members: int = 0

    def next_member(self) -> tuple[str, int, bool] | None:
        """Return path, size and "is a regular file" of the next member, None at the end."""
        path, size, is_sparse = None, None, False
        while True:
            header = self._read(BLOCK)
            if not header.strip(b"\0"):
                return None
            self._check_header(header)
            kind, length = header[156:157], self._number(header[124:136])
            if kind not in _DESCRIPTIONS:
                break
            if length > _MAX_DESCRIPTION:
                raise self._error(f"found {length} bytes of a pax header or a long name")
            description = self.take(length, keep=length)
            if kind == _LONG_NAME:
                path = description.rstrip(b"\0").decode("utf-8", "replace")
            elif kind in (_PAX, b"X"):
                records = self._records(description)
                path = records.get("path", path)
                is_sparse = any(key.startswith("GNU.sparse") for key in records)
                if "size" in records:
                    size = self._decimal(records["size"])
        if path is None:
            prefix = header[345:500] if header[257:263] == b"ustar\0" else b""
            parts = (part.partition(b"\0")[0] for part in (prefix, header[:100]))
            path = b"/".join(part for part in parts if part).decode("utf-8", "replace")
        length = length if size is None else size
        return path, 0 if kind in _WITHOUT_CONTENT else length, kind in _FILE and not is_sparse

    def take(self, size: int, keep: int) -> bytes:
        """Read the content of a member of `size` bytes and return the first `keep` of them."""
        if self.offset + size > self.limit:
            raise self._error(
                f"found members of more than {self.limit} bytes in all, far more than needed"
            )
        content = self._read(min(size, keep))
        rest = size - len(content) + -size % BLOCK
        while rest:
            rest -= len(self._read(min(rest, _CHUNK)))
        return content

    def finish(self) -> None:
        """Read what follows the end mark."""
        while chunk := self.stream.read(_CHUNK):
            self.offset += len(chunk)
            if self.offset > self.limit:
                raise self._error(f"found more than {self.limit} bytes, far more than needed")

    def _read(self, count: int) -> bytes:
        data = self.stream.read(count)
        self.offset += len(data)
        if len(data) < count:
            raise self._error("found the end of the data, the archive ended early")
        return data

    def _check_header(self, header: bytes) -> None:
        """Raise ValueError unless the sum of the header's bytes is the stored one."""
        self.members += 1
        if self.members > _MAX_MEMBERS:
            raise self._error(f"found more than {_MAX_MEMBERS} members")
        digits = header[148:156].strip(b" \0")
        total = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        if digits.strip(b"01234567") or int(digits or b"0", 8) != total:
            raise self._error("found no header of a tar member, or a damaged one")

    def _number(self, digits: bytes) -> int:
        """Return an octal number, or one in base 256 if its first bit is 1."""
        if digits[0] & 0x80:
            return int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:], "big")
        text = digits.partition(b"\0")[0].strip(b" ")
        if text.strip(b"01234567"):
            raise self._error(f"found {text[:12]!r} in place of an octal number")
        return int(text or b"0", 8)

    def _decimal(self, text: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", text):
            raise self._error(f"found the size {text[:20]!r} in a pax header")
        return int(text)

    def _records(self, description: bytes) -> dict[str, str]:
        """Parse the records of a pax header: length, a blank, key = value, a newline."""
        records = {}
        while description:
            digits, blank, _ = description[:8].partition(b" ")
            length = int(digits) if blank and digits.isdigit() else 0
            record = description[len(digits) + 1 : length]
            key, equals, value = record.partition(b"=")
            if length > len(description) or not equals or not value.endswith(b"\n"):
                raise self._error("found a damaged pax header")
            records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "replace")
            description = description[length:]
        return records

    def _error(self, reason: str) -> ValueError:
        return ValueError(
            f"{self.source}: offset {self.offset} of the unpacked archive: {reason}, "
            "expected a whole .tar.gz archive"
        )
