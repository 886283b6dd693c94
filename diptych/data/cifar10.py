"""CIFAR-10: colour 32x32 images of ten classes, from the official binary version.

Files: `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin` in ROOT/cifar-10-batches-bin
or ROOT; or else `cifar-10-binary.tar.gz` (170 MB) in either folder or as ROOT itself. The archive
is read in place and never unpacked.
Layout: records of 3073 bytes, see `decode`. Pixels are 0 .. 255 in the files and here 0 .. 1
(/ 255).
Size: 10000 records a file; 40000 train, 10000 valid (batch 5) and 10000 test images. A file may
hold fewer records, and the summary then says so.
Checks: whole records, at most 10000 a file; labels 0 .. 9; the archive's checksum. The "python
version" of the data set is refused: it consists of pickles, which can run any code.
Origin: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), which has no
validation split; to take the fifth batch is a usual choice.
"""

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
"""Records in each file of a full copy, and the most that a file may hold."""
RECORD = 1 + 3 * 32 * 32
"""Bytes of one record: a label and the pixels."""
FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in (1, 2, 3, 4)),
    "valid": ("data_batch_5.bin",),
    "test": ("test_batch.bin",),
}
NAMES = tuple(name for names in FILES.values() for name in names)
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1")
_MAX_BYTES = RECORDS * RECORD


def load(root: Root = None) -> Dataset:
    """Load the 60000 labelled images: batches 1 to 4 train, batch 5 valid, the test batch test.

    Shapes: x (N, 3072), y (N,) in 0 .. 9, image_shape (3, 32, 32).
    Raises: ValueError that names the file, the offset or record, what was found and what was
    expected; also where the folder holds only the python version.
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
    """Decode the bytes of one file, whole records of 3073 bytes, into images and labels.

        byte 0              label, 0 .. 9
        bytes 1 .. 3072     32 rows of 32 red pixels, then green, then blue

    Shapes: (N, 3072) uint8, (N,) uint8, 1 <= N <= 10000; views of `data`, read-only.
    Raises: ValueError that names `source`, the offset or record, what was found and expected.
    """
    count, rest = divmod(len(data), RECORD)
    if len(data) > _MAX_BYTES:
        raise ValueError(
            f"{source}: offset {_MAX_BYTES}: found more than {RECORDS} records, "
            "expected the file to end"
        )
    if rest or not count:
        remainder = f"{rest} bytes" if rest else "nothing"
        raise ValueError(
            f"{source}: offset {count * RECORD}: found {remainder} to the end of the file, "
            f"expected whole records of {RECORD} bytes, at least 1"
        )
    records = np.frombuffer(data, np.uint8).reshape(count, RECORD)
    pixels, labels = records[:, 1:], records[:, 0]
    if (labels >= CLASSES).any():
        first = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"{source}: record {first}: found label {labels[first]}, expected 0 to {CLASSES - 1}"
        )
    return pixels, labels


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read the bytes of the six files, by name.

    At most one byte more than a file may have is read, which is enough to detect one too long.

    Raises: ValueError that names a file that is missing or cannot be read.
    """
    contents = {}
    for name in NAMES:
        path = find_file(folder, (name,))
        with reading(path, "a file of records"), path.open("rb") as file:
            contents[name] = file.read(_MAX_BYTES + 1)
    return contents


def read_archive(path: Path) -> dict[str, bytes]:
    """Read the bytes of the six files from a .tar.gz, by name, whatever folder they are in.

    Nothing is written and no link is followed. The archive is read to its end, where its checksum
    is.
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
    """Return the bytes of a member, or None if it is not a regular file."""
    file: IO[bytes] | None = archive.extractfile(member) if member.isreg() else None
    return None if file is None else file.read(_MAX_BYTES + 1)


def _find(root: Path) -> Path:
    """Find the archive or the first of the six files. Raises: ValueError if there is neither."""
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
