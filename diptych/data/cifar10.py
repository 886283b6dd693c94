"""CIFAR-10: colour 32x32 images of ten classes, from the official binary version.

Files: `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin`, all six in one folder,
ROOT/cifar-10-batches-bin, ROOT, or either below ROOT/cifar10 (also CIFAR10, cifar-10); or else
`cifar-10-binary.tar.gz` (170 MB) or `.tar` in such a folder or as ROOT itself. An archive is read
in place and never unpacked.
Layout: records of 3073 bytes, see `decode`. Pixels are 0 .. 255 in the files and here 0 .. 1
(/ 255).
Size: 10000 records a file; 40000 train, 10000 valid (batch 5) and 10000 test images. A file may
hold fewer records, and the summary then says so.
Checks: whole records, at most 10000 a file; labels 0 .. 9; bright pixels; no file repeats another;
the archive's checksum. The "python version" of the data set is refused: it consists of pickles,
which can run any code. CIFAR-100 is refused by name.
Origin: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), which has no
validation split; to take the fifth batch is a usual choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diptych.data import forms
from diptych.data.bounded import Gunzip, Readable, open_regular
from diptych.data.dataset import (
    Dataset,
    Root,
    Split,
    check_size,
    count,
    data_root,
    file_kind,
    find_file,
    reading,
)
from diptych.data.splits import check_distinct
from diptych.data.tars import read_files
from diptych.data.values import check_grey

SHAPE, SIZES = (3, 32, 32), (16, 32)
SIZE = 32
"""The size of the images if none is named."""
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
ARCHIVES = (ARCHIVE, "cifar-10-binary.tar")
PARENTS = ("cifar10", "CIFAR10", "cifar-10")
PLACES = (
    FOLDER,
    ".",
    *(f"{parent}/{FOLDER}" for parent in PARENTS),
    *PARENTS,
)

FOREIGN = {
    **dict.fromkeys(
        ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1"),
        "the python version of CIFAR-10",
    ),
    **dict.fromkeys(("cifar-100-binary", "cifar-100-binary.tar.gz"), "CIFAR-100"),
    **dict.fromkeys(
        ("cifar-100-python", "cifar-100-python.tar.gz"), "the python version of CIFAR-100"
    ),
}
"""Names of other versions of the data and of CIFAR-100."""
_MAX_BYTES = RECORDS * RECORD


def load(root: Root = None, size: int = SIZE) -> Dataset:
    """Load the 60000 labelled images: batches 1 to 4 train, batch 5 valid, the test batch test.

    With `size` 16, a pixel is the mean of 2 x 2 pixels, rounded to one of the 256 levels.
    Shapes: x (N, 3 S S), y (N,) in 0 .. 9, image_shape (3, S, S), S = size, 32 or 16.
    Raises: ValueError for another size, and one that names the file, the offset or record, what was
    found and what was expected; also where the folder holds only the python version.
    """
    check_size(size, SIZES)
    folder = data_root(root, archive=".tar.gz")
    if not folder.is_dir():
        _refuse_foreign(folder, [folder.name])
        archive: Path | None = folder
        source = folder
    else:
        with reading(folder, "a folder that can be searched"):
            archive = _find_archive(folder)
            source = _find_folder(folder, archive)
    contents = read_archive(source) if source == archive else read_folder(source)
    try:
        read = {name: decode(f"{source}: {name}", contents.pop(name)) for name in NAMES}
    except ValueError as error:
        if source == archive or archive is None:
            raise
        raise ValueError(f"{error}; {archive} is read if {source} is moved away") from None
    check_grey(source, np.array([images[:100].max() for images, _ in read.values()]))
    check_distinct(source, {name: images for name, (images, _) in read.items()})
    train, valid, test = (
        Split(
            np.concatenate([_resized(read[name][0], size) for name in names]) / np.float32(255),
            np.concatenate([read[name][1] for name in names]).astype(np.int64),
        )
        for names in FILES.values()
    )
    shape = f"3x{size}x{size}" + " (means of 2x2 pixels)" * (size < SHAPE[1])
    summary = f"cifar10: {count(train, valid, test)} of {shape} with labels, read from {source}"
    if any(len(labels) < RECORDS for _, labels in read.values()):
        summary += (
            f"; truncated, a full copy has {RECORDS} images in each of its {len(NAMES)} files"
        )
    return Dataset("cifar10", train, valid, test, (SHAPE[0], size, size), summary)


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
        forms.refuse(source, data, f"records of {RECORD} bytes")
        if data and len(data) % (RECORD + 1) == 0:
            raise ValueError(
                f"{source}: found records of {RECORD + 1} bytes, as CIFAR-100 has them, "
                f"expected CIFAR-10, records of {RECORD} bytes"
            )
        remainder = f"{rest} bytes" if rest else "nothing"
        raise ValueError(
            f"{source}: offset {count * RECORD}: found {remainder} to the end of the file, "
            f"expected whole records of {RECORD} bytes, at least 1"
        )
    records = np.frombuffer(data, np.uint8).reshape(count, RECORD)
    pixels, labels = records[:, 1:], records[:, 0]
    if (labels >= CLASSES).any():
        forms.refuse(source, data, f"records of {RECORD} bytes")
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
        with open_regular(find_file(folder, (name,)), "a file of records") as file:
            contents[name] = file.read(_MAX_BYTES + 1)
    return contents


def read_archive(path: Path) -> dict[str, bytes]:
    """Read the bytes of the six files from a .tar.gz or .tar, by name, whatever folder they are in.

    Nothing is written and no link is followed. The archive is read to its end, where its checksum
    is.
    Raises: ValueError that names the archive, the member, what was found and what was expected.
    """
    expected = "a whole .tar.gz archive"
    with open_regular(path, expected) as file:
        form = forms.describe(file.read(forms.HEAD))
        file.seek(0)
        if form not in (None, "a gzip file", "a tar archive"):
            raise ValueError(f"{path}: found {form}, not a gzip file, expected {expected}")
        stream: Readable = file if form == "a tar archive" else Gunzip(file, path, expected)
        files = read_files(path, stream, NAMES, _MAX_BYTES)
    if not files.contents:
        _refuse_foreign(path, [part for member in files.others for part in member.split("/")])
    if files.repeated:
        raise ValueError(f"{path}: {files.repeated[0]}: found it twice, expected it once")
    contents = {}
    for name in NAMES:
        if name not in files.contents:
            raise ValueError(f"{path}: {name}: missing, expected {', '.join(NAMES)}")
        if (content := files.contents.pop(name)) is None:
            raise ValueError(f"{path}: {name}: found no regular file, expected records")
        contents[name] = content
    return contents


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    """Means (N, 3 S S) of the square blocks of pixels of the images (N, 3072), rounded half up."""
    if size == SHAPE[1]:
        return images
    block = SHAPE[1] // size
    blocks = images.reshape(len(images), SHAPE[0], size, block, size, block)
    total, pixels = blocks.sum((3, 5), dtype=np.uint32), block**2
    return ((total + pixels // 2) // pixels).astype(np.uint8).reshape(len(images), -1)


def _find_folder(root: Path, archive: Path | None) -> Path:
    """Return the first folder below `root` with all six files, else the archive.

    Raises: ValueError if there is neither, about the folder that has one of the files if any has.
    """
    present = {
        root / place: sum(file_kind(root / place / name) == "a file" for name in NAMES)
        for place in PLACES
    }
    for folder, files in present.items():
        if files == len(NAMES):
            return folder
    if archive:
        return archive
    best = max(present, key=lambda folder: present[folder])
    if present[best]:
        return best
    _refuse_foreign(root, [name for name in FOREIGN if (root / name).exists()])
    path = find_file(root, (*NAMES, *ARCHIVES), PLACES)  # raises and lists the places
    raise ValueError(f"{path}: found {file_kind(path)}, expected a file")


def _find_archive(root: Path) -> Path | None:
    for place in PLACES:
        for name in ARCHIVES:
            if file_kind(path := root / place / name) == "a file":
                return path
    return None


def _refuse_foreign(source: Path, names: Sequence[str]) -> None:
    """Raise ValueError if one of the names is that of another version or of CIFAR-100."""
    for name in names:
        if version := FOREIGN.get(name):
            reason = ": the python version is pickles, which can run any code"
            raise ValueError(
                f"{source}: found {name}, {version}, expected the binary version of CIFAR-10, "
                f"{ARCHIVE} or {FOLDER}{reason if 'python' in version else ''}"
            )
