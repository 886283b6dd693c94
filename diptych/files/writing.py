"""Atomic writes, and reads of ordinary files; every error names the file."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary file in the same folder, then rename it to `path`.

    Raises: ValueError that names the file if it cannot be written.
    """
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a temporary file in the same folder, which is renamed to `path` at the end.

    A reader sees either the old file or the new one, also after a crash: the contents are on the
    disk before the name is, and the name is when the block ends. The mode is the one that the umask
    of the process leaves. After an error the old file stays.
    Raises: ValueError that names the file if it cannot be written.
    """
    path = Path(path)
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}") if path.name else path
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(name, flags, 0o666)
    except OSError as error:
        raise ValueError(f"{path}: cannot write there ({describe_error(error)})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ValueError(f"{path}: cannot write there ({describe_error(error)})") from None
    finally:
        name.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the contents of a file are on the disk.

    Raises: ValueError that names the file if the disk refuses them.
    """
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(f"{path}: cannot write there ({describe_error(error)})") from None


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a whole ordinary file.

    Raises: ValueError that names the file: missing, unreadable, a folder, or a pipe or a device,
    which might never end.
    """
    path = Path(path)
    check_ordinary(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({describe_error(error)})") from None


def check_ordinary(path: str | os.PathLike[str]) -> None:
    """Raise ValueError unless `path` is an ordinary file, or a link to one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a ValueError for a name with a NUL
        raise ValueError(f"{path}: cannot be read ({describe_error(error)})") from None
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise ValueError(f"{path}: found {kind}, expected a file")


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any error of a block that reads `path` into a ValueError that names the file."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        if str(path) not in message:
            message = f"{path}: {message}"
        raise ValueError(message) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({describe_error(error)})") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def describe_error(error: Exception) -> str:
    """Return the reason of an error of the system, without the names of temporary files."""
    return getattr(error, "strerror", None) or str(error)
