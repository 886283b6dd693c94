"""CIFAR-10: the official binary version, as six files or as the archive they come in."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file, reading

SHAPE = (3, 32, 32)
CLASSES = 10
RECORDS = 10_000
"""In a file of a full copy, and at most."""
RECORD = 1 + 3 * 32 * 32
"""Bytes: a label and the pixels."""
FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in (1, 2, 3, 4)),
    "valid": ("data_batch_5.bin",),
    "test": ("test_batch.bin",),
}
NAMES = tuple(name for names in FILES.values() for name in names)
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1")
_MOST = RECORDS * RECORD


def load(root: Root = None) -> Dataset:
    """60000 colour 32x32 images of ten things with labels: 40000 / 10000 / 10000 in full.

    Format: `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin` of `decode`, in
    ROOT/cifar-10-batches-bin or ROOT, or else in `cifar-10-binary.tar.gz`, in either folder or as
    ROOT itself, which is read where it is and never unpacked. Pixels are 0 .. 255 in the file,
    0 .. 1 here (/ 255). Batch 5 is valid. A file may hold fewer records than a full copy's 10000,
    but none may be cut; `found` says so.
    Shapes: x (N, 3072), y (N,) in 0 .. 9, image_shape (3, 32, 32).
    Raises: ValueError that names the file, the offset or record, what was found and what was
    expected; and where only the python version is there, for that is pickles, which are not opened.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), which has no
    validation split; to take the fifth batch is a usual choice.
    """
    path = _find(data_root(root, archive=".tar.gz"))
    source = path if path.name.endswith(".tar.gz") else path.parent
    contents = read_archive(path) if source == path else read_folder(source)
    read = {name: decode(f"{source}: {name}", contents.pop(name)) for name in NAMES}
    train, valid, test = (
        Split(
            np.concatenate([read[name][0] for name in names]) / np.float32(255),
            np.concatenate([read[name][1] for name in names]).astype(np.int64),
        )
        for names in FILES.values()
    )
    summary = f"cifar10: {count(train, valid, test)} of 3x32x32 with labels, read from {source}"
    if any(len(labels) < RECORDS for _, labels in read.values()):
        summary += (
            f"; truncated, a full copy has {RECORDS} images in each of its {len(NAMES)} files"
        )
    return Dataset("cifar10", train, valid, test, SHAPE, summary)


def decode(source: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one file's bytes: 3073 a record, and then the file ends.

        0           label, 0 .. 9
        1 ..        32 rows of 32 red pixels, then green, then blue

    Shapes: (N, 3072) uint8, (N,) uint8, 1 <= N <= 10000; views of `data`, read-only.
    Raises: ValueError that names `source`, the offset or record, what was found and expected.
    """
    whole, rest = divmod(len(data), RECORD)
    if len(data) > _MOST:
        raise ValueError(
            f"{source}: offset {_MOST}: found more than {RECORDS} records, expected the file to end"
        )
    if rest or not whole:
        result = f"{rest} bytes" if rest else "nothing"
        raise ValueError(
            f"{source}: offset {whole * RECORD}: found {result} to the end of the file, "
            f"expected whole records of {RECORD} bytes, at least 1"
        )
    records = np.frombuffer(data, np.uint8).reshape(whole, RECORD)
    pixels, labels = records[:, 1:], records[:, 0]
    if (labels >= CLASSES).any():
        first = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"{source}: record {first}: found label {labels[first]}, expected 0 to {CLASSES - 1}"
        )
    return pixels, labels


def read_folder(folder: Path) -> dict[str, bytes]:
    """The bytes of the six files by name, each at most one byte more than it may have.

    Raises: ValueError that names a file that is missing or cannot be read.
    """
    contents = {}
    for name in NAMES:
        path = find_file(folder, (name,))
        with reading(path, "a file of records"), path.open("rb") as file:
            contents[name] = file.read(_MOST + 1)
    return contents


def read_archive(path: Path) -> dict[str, bytes]:
    """The same of a .tar.gz: its regular files of these names, in whichever folder it has them.

    Nothing is written, no link is followed, and the rest of the archive is only passed over, to its
    end, where its checksum is.
    Raises: ValueError that names the archive, the member, what was found and what was expected.
    """
    contents: dict[str, bytes] = {}
    faults = []
    with (
        reading(path, "a whole .tar.gz archive", Exception),  # OSError, EOFError, zlib, tarfile
        gzip.open(path) as file,
        tarfile.open(fileobj=file, mode="r:") as archive,
    ):
        for member in archive:
            name = PurePosixPath(member.name).name
            if name not in NAMES:
                continue
            if name in contents:
                faults.append(f"{name}: found it twice, expected it once")
            elif (content := _content(archive, member)) is None:
                faults.append(f"{name}: found no regular file, expected records")
            else:
                contents[name] = content
        while file.read(1 << 20):
            pass
    faults += [
        f"{name}: missing, expected {', '.join(NAMES)}" for name in NAMES if name not in contents
    ]
    if faults:
        raise ValueError(f"{path}: {faults[0]}")
    return contents


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    file: IO[bytes] | None = archive.extractfile(member) if member.isreg() else None
    return None if file is None else file.read(_MOST + 1)


def _find(root: Path) -> Path:
    """The archive, or one of the six files. Raises: ValueError where there is none of them."""
    if root.is_file() and root.name not in PICKLED:
        return root
    try:
        return find_file(root, (*NAMES, ARCHIVE), (FOLDER, "."))
    except ValueError:
        pickled = [name for name in PICKLED if name == root.name or os.path.exists(root / name)]
        if not pickled:
            raise
    raise ValueError(
        f"{root}: found {pickled[0]}, the python version of CIFAR-10, expected the binary version, "
        f"{ARCHIVE} or {FOLDER}: the python version is pickles, which can run any code"
    )
