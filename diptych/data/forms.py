"""Names of file formats by their first bytes, for errors of readers that expect another format."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = 512
"""The number of leading bytes that `describe` looks at."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip archive (.zip, .npz or torch.save)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 7.3 MAT-file", "a MATLAB 7.3 file, which is HDF5"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB 5 file"),
    (b"\x93NUMPY", "a .npy file"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, whose file was not fetched"),
    (b"/annex/objects/", "a git-annex pointer, whose file was not fetched"),
    (b"\xff\xfe\x00\x00", "UTF-32 text"),
    (b"\x00\x00\xfe\xff", "UTF-32 text"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_TENSORS = re.compile(rb'.{5}\0\0\0\s*\{\s*"', re.DOTALL)  # an 8-byte length, then JSON
_PICKLE = re.compile(
    rb"\x80[\x02-\x05][\x28-\x95]"  # binary protocols
    rb"|c(?:numpy|collections|builtins|__builtin__|copy_reg|torch)[.\w]*\n"  # protocol 0
    rb"|\((?:dp|lp|t)\d*\r?\n"
)
_IDX = re.compile(rb"\0\0[\x08\x09\x0b-\x0e][\x01-\x08]", re.DOTALL)
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.DOTALL)
_CSV = re.compile(rb"[^,;\t\r\n]{1,64}(?:([,;])[^,;\r\n]{0,64})(?:\1[^,;\r\n]{0,64})+(?:\r?\n|$)")


def describe(head: bytes, text: bool = False) -> str | None:
    """Return the format that the first bytes of a file show, such as "a gzip file", else None.

    `head` are the first `HEAD` bytes or more; what follows them is ignored. With `text`, for a
    reader of text, the formats that are text themselves (HTML, XML, JSON, csv) give None; pointers
    of Git LFS and text in UTF-16 or UTF-32 are still named.
    """
    head = head[:HEAD]
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    if _PICKLE.match(head):
        return "a pickle, which can run any code"
    if _IDX.match(head):
        return "an IDX file"
    if _TENSORS.match(head):
        return "a safetensors file"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return _wide_text(head) or (None if text else _text_form(head))


def read_head(path: Path) -> bytes:
    """Return the first `HEAD` bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD)


def refuse(path: Path | str, head: bytes, expected: str, text: bool = False) -> None:
    """Raise ValueError if the first bytes of `path` show a known format; `text` as in `describe`.

    Call it where the file is not of the expected format, before a message about its bytes.
    """
    if form := describe(head, text):
        raise ValueError(f"{path}: found {form}, expected {expected}")


def _wide_text(head: bytes) -> str | None:
    """Name UTF-16 or UTF-32 without a byte order mark: letters with NUL bytes between them."""
    for width, name in ((4, "UTF-32"), (2, "UTF-16")):
        whole = head[: len(head) // width * width]
        for offset in (0, width - 1):
            letters = whole[offset::width]
            others = b"".join(whole[i::width] for i in range(width) if i != offset)
            if len(letters) > 2 and not others.strip(b"\0") and _is_ascii_text(letters):
                return f"{name} text"
    return None


def _text_form(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _HTML.match(start):
        return "an HTML page"
    if start.startswith(b"<?xml"):
        return "an XML file"
    if start[:1] in (b"{", b"[") and re.match(rb'[{\[]\s*["\d\[{\-]', start):
        return "a JSON file"
    if _CSV.match(start) and _is_ascii_text(start):
        return "csv text"
    return None


def _is_ascii_text(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\n\r" for byte in data)
