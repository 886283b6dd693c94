"""MNIST: grey 28x28 handwritten digits, from the four original IDX files.

Files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
`t10k-labels-idx1-ubyte`, also spelt `images.idx3`, each plain or `.gz` (11 MB), in ROOT/mnist or
ROOT.
Layout: see `read_idx`. Pixels are 0 .. 255 in the files and 0 .. 1 here (/ 255).
Size: 50000 train, 10000 valid (the last sixth of the training file) and 10000 test images.
Checks: magic numbers, sizes, file lengths, labels 0 .. 9, as many labels as images.
Origin: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition"
(1998), which has no validation split; its last 10000 training images are the usual choice.
"""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file, reading

SIDE = 28
CLASSES = 10
VALID_PART = 6
_UINT8 = 0x08


def load(root: Root = None) -> Dataset:
    """Load the 70000 grey digits with labels.

    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    """
    images = find_file(data_root(root), _spellings("train-images-idx3-ubyte"), ("mnist", "."))
    folder = images.parent
    x, y = _read_labelled(folder, "train")
    cut = len(x) - len(x) // VALID_PART
    if cut == len(x):
        raise ValueError(
            f"{images}: offset 4: found {len(x)} images, expected {VALID_PART} or more, "
            f"of which the last {VALID_PART}th is the validation split"
        )
    train, valid = Split(x[:cut], y[:cut]), Split(x[cut:], y[cut:])
    test = Split(*_read_labelled(folder, "t10k"))
    summary = f"mnist: {count(train, valid, test)} of {SIDE}x{SIDE} with labels, read from {folder}"
    return Dataset("mnist", train, valid, test, (1, SIDE, SIDE), summary)


def load_dynamic(root: Root = None) -> Dataset:
    """Load dynamically binarized MNIST: each pixel is Bernoulli(x), x the grey value.

    The pixels are drawn each time an image is used; see `Dataset.dynamic`.
    Source: Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (2016). Salakhutdinov
    & Murray, "On the quantitative analysis of deep belief networks" (2008), drew the pixels once:
    that is static_mnist.
    """
    grey = load(root)
    summary = f"dynamic_{grey.summary}, pixels drawn as 0 or 1 at each use"
    return replace(grey, name="dynamic_mnist", summary=summary, dynamic=True)


def read_idx(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """Read an IDX file of uint8 and of the expected `shape`; None means any size but 0.

        bytes 0 .. 3      magic: 0, 0, 8 for uint8, the number of dimensions n
        bytes 4 .. 4n+3   n sizes, big-endian uint32
        bytes 4n+4 ..     one uint8 an element, last dimension fastest, to the end of the file

    Offsets in errors count from the start of the file, after decompression if its name ends in .gz.
    Shapes: returned uint8, read-only.
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    Source: Y. LeCun, "The IDX file format", on the page of the MNIST database.
    """
    if path.suffix == ".gz":
        with reading(path, "a whole gzip file", Exception):  # OSError, EOFError, zlib.error
            data = gzip.decompress(path.read_bytes())
    else:
        with reading(path, "an IDX file"):
            data = path.read_bytes()
    magic, start = bytes((0, 0, _UINT8, len(shape))), 4 + 4 * len(shape)
    if data[:4] != magic:
        start_bytes = data[:4].hex(" ") or "nothing"
        raise ValueError(f"{path}: offset 0: found {start_bytes}, expected magic {magic.hex(' ')}")
    if len(data) < start:
        raise ValueError(f"{path}: offset 4: file ends at {len(data)}, expected sizes to {start}")
    sizes = struct.unpack_from(f">{len(shape)}I", data, 4)
    for axis, (size, expected) in enumerate(zip(sizes, shape, strict=True)):
        if size == 0 or expected not in (None, size):
            raise ValueError(
                f"{path}: offset {4 + 4 * axis}: found size {size} for dimension {axis}, "
                f"expected {expected or 'at least 1'}"
            )
    if len(data) - start != math.prod(sizes):
        raise ValueError(
            f"{path}: offset {start}: found {len(data) - start} bytes to the end of the file, "
            f"expected {math.prod(sizes)} for {' x '.join(map(str, sizes))}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)


def _read_labelled(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    image_path = find_file(folder, _spellings(f"{part}-images-idx3-ubyte"))
    label_path = find_file(folder, _spellings(f"{part}-labels-idx1-ubyte"))
    images, labels = read_idx(image_path, (None, SIDE, SIDE)), read_idx(label_path, (None,))
    if len(labels) != len(images):
        raise ValueError(
            f"{label_path}: offset 4: found {len(labels)} labels, "
            f"expected {len(images)}, one an image of {image_path.name}"
        )
    if (labels >= CLASSES).any():
        first = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"{label_path}: offset {8 + first}: found label {labels[first]}, "
            f"expected 0 to {CLASSES - 1}"
        )
    return images.reshape(len(images), -1) / np.float32(255), labels.astype(np.int64)


def _spellings(name: str) -> tuple[str, ...]:
    dotted = name.replace("-idx", ".idx")
    return name, dotted, f"{name}.gz", f"{dotted}.gz"
