"""MNIST: the four original IDX files, gzipped or not."""

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
    """70000 grey 28x28 digits with labels: 50000 / 10000 / 10000 from the full files.

    Format: `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, also spelt `images.idx3`, also `.gz`,
    in ROOT/mnist or ROOT; see `read_idx`. Pixels are 0 .. 255 in the file, 0 .. 1 here (/ 255).
    The last sixth of the training file is valid, the t10k file is test.
    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document
    recognition" (1998), which has no validation split; its last 10000 are the usual choice.
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
    """The same with its grey values as the probabilities of black and white: dynamic MNIST.

    Each pixel is Bernoulli(x), drawn anew each time it is seen; see `Dataset.dynamic`.
    Source: Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks" (2008),
    drew them once, which is static_mnist; to draw them at each pass is usual since Burda, Grosse &
    Salakhutdinov, "Importance weighted autoencoders" (2016).
    """
    grey = load(root)
    summary = f"dynamic_{grey.summary}, pixels drawn anew as 0 or 1"
    return replace(grey, name="dynamic_mnist", summary=summary, dynamic=True)


def read_idx(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """The bytes of an IDX file of `shape` (None: any size but 0).

        0 .. 3      magic: 0, 0, 8 for uint8, the number of dimensions n
        4 .. 4n+3   n sizes, big-endian uint32
        4n+4 ..     one uint8 an element, last dimension fastest, and then the file ends

    Offsets in errors count from the start of the file, uncompressed where its name ends in .gz.
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
        result = data[:4].hex(" ") or "nothing"
        raise ValueError(f"{path}: offset 0: found {result}, expected magic {magic.hex(' ')}")
    if len(data) < start:
        raise ValueError(f"{path}: offset 4: file ends at {len(data)}, expected sizes to {start}")
    sizes = struct.unpack_from(f">{len(shape)}I", data, 4)
    for axis, (size, want) in enumerate(zip(sizes, shape, strict=True)):
        if size == 0 or want not in (None, size):
            raise ValueError(
                f"{path}: offset {4 + 4 * axis}: found size {size} for dimension {axis}, "
                f"expected {want or 'at least 1'}"
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
