"""MNIST and the sets that share its file names and its sizes: one reader, and a check of identity.

Files: the four IDX files of `FILES`, in the folders and under the spellings of the set; where they
are missing, the .npz files in which some publishers ship the same arrays.
Layout: see `read_idx`. Pixels are 0 .. 255 in the files and 0 .. 1 here (/ 255).
Size: 50000 train, 10000 valid (the last sixth of the training file) and 10000 test images.
Checks: magic numbers, sizes, file lengths, labels 0 .. 9, as many labels as images, grey values, a
dark ground. The summary tells other numbers of images, and images of another set of the family.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, file_kind, find_files
from diptych.data.idx import read_idx
from diptych.data.npz import read_npz
from diptych.data.values import check_dark_ground, check_grey, count_remark, is_black_and_white

SIDE = 28
CLASSES = 10
VALID_PART = 6
SIZES = (60_000, 10_000)
"""The numbers of images in the training and in the test file of each published set."""
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
OTHER_FORMS = {
    "mnist.pkl.gz": "a pickle, which can run any code",
    "mnist.pkl": "a pickle, which can run any code",
    "MNIST/processed/training.pt": "a file of torch.save, a pickle, which can run any code",
    "processed/training.pt": "a file of torch.save, a pickle, which can run any code",
    "training.pt": "a file of torch.save, a pickle, which can run any code",
    "mnist_train.csv": "csv text",
    "fashion-mnist_train.csv": "csv text",
    "train.csv": "csv text",
    "mnist.mat": "a MATLAB file",
    "mnist-original.mat": "a MATLAB file",
}


@dataclass(frozen=True, slots=True)
class Published:
    """A published set: where its files lie and what identifies it.

    folders:  places of the four IDX files below the data root, in order of preference
    archives: places of one .npz with x_train, y_train, x_test and y_test
    arrays:   names of four .npz files with one array each, in the order of FILES
    counts:   images of each class in the training file
    mean:     mean of the training images on the scale 0 .. 1, and its uncertainty
    start:    the first labels of the training file, or () if we know no second source for them
    """

    name: str
    title: str
    folders: tuple[str, ...]
    counts: tuple[int, ...]
    mean: tuple[float, float]
    archives: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    start: tuple[int, ...] = ()


MNIST = Published(
    "mnist",
    "MNIST",
    ("mnist", "MNIST/raw", "MNIST", "mnist/raw", ".", "raw"),
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    (0.13066, 1e-4),
    archives=("mnist.npz", "mnist/mnist.npz", "MNIST/mnist.npz"),
    start=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
)
FASHION = Published(
    "fashion_mnist",
    "Fashion-MNIST",
    (
        *("fashion_mnist", "FashionMNIST/raw", "FashionMNIST", "fashion-mnist"),
        *("fashion-mnist/data/fashion", "fashion_mnist/raw", "fashion", "data/fashion", ".", "raw"),
    ),
    (6000,) * 10,
    (0.2860, 1e-3),
    start=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
)
KUZUSHIJI = Published(
    "kmnist",
    "KMNIST",
    ("kmnist", "KMNIST/raw", "KMNIST", "kmnist/raw", ".", "raw"),
    (6000,) * 10,
    (0.191, 2e-3),  # quoted as 0.1904 and as 0.1918
    arrays=(
        *("kmnist-train-imgs.npz", "kmnist-train-labels.npz"),
        *("kmnist-test-imgs.npz", "kmnist-test-labels.npz"),
    ),
)
FAMILY = (MNIST, FASHION, KUZUSHIJI)


def load(published: Published, root: Root = None) -> Dataset:
    """Load the 70000 grey images with labels of one set of the family.

    Shapes: x (N, 784), y (N,) in 0 .. 9, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the offset, what was found and what was expected.
    """
    paths, (images, labels, test_images, test_labels) = _read(published, data_root(root))
    cut = len(images) - len(images) // VALID_PART
    if cut == len(images):
        raise ValueError(
            f"{paths[0]}: offset 4: found {len(images)} images, expected {VALID_PART} or more, "
            f"of which the last {VALID_PART}th is the validation split"
        )
    for path, array in ((paths[0], images), (paths[2], test_images)):
        check_grey(path, array)
        check_dark_ground(path, array, 255)
    remarks = _remarks(published, images, labels, test_images)
    x, y = _scaled(images), labels.astype(np.int64)
    train, valid = Split(x[:cut], y[:cut]), Split(x[cut:], y[cut:])
    test = Split(_scaled(test_images), test_labels.astype(np.int64))
    source = paths[0] if paths[0] == paths[2] else paths[0].parent
    summary = (
        f"{published.name}: {count(train, valid, test)} of {SIDE}x{SIDE} with labels, "
        f"read from {source}{remarks}"
    )
    return Dataset(published.name, train, valid, test, (1, SIDE, SIDE), summary)


def identify(images: np.ndarray, labels: np.ndarray) -> Published | None:
    """Return the set of the family that the training images and labels are from, if any.

    A whole set is recognised in any order, by its class counts and its mean; a part that begins
    like one, by its first ten labels.
    """
    counts = tuple(np.bincount(labels, minlength=CLASSES).tolist())
    mean = float(images.mean()) / 255
    for published in FAMILY:
        value, uncertainty = published.mean
        if counts == published.counts and abs(mean - value) <= uncertainty:
            return published
        if published.start and published.start == tuple(labels[: len(published.start)].tolist()):
            return published
    return None


def spellings(name: str) -> tuple[str, ...]:
    """Return the names under which an IDX file is found: dash or dot, plain or gzip, in a folder.

    Some archives of MNIST unpack each file into a folder of the same name.
    """
    dotted = name.replace("-idx", ".idx")
    plain = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    return *plain, f"{name}/{name}", f"{dotted}/{dotted}", f"{name}/{dotted}", f"{dotted}/{name}"


def _read(published: Published, root: Path) -> tuple[list[Path], list[np.ndarray]]:
    """Find and read images and labels of train and test; see `FILES` for their order."""
    try:
        paths = find_files(root, [spellings(name) for name in FILES], published.folders)
    except ValueError as error:
        if arrays := _read_npz(published, root):
            return arrays
        raise ValueError(f"{error}{_other_forms(root)}") from None
    arrays = []
    for images, labels in ((paths[0], paths[1]), (paths[2], paths[3])):
        arrays += [read_idx(images, (None, SIDE, SIDE)), read_idx(labels, (None,))]
        _check_labels(labels, images.name, arrays[-1], len(arrays[-2]), "offset", 8)
    return paths, arrays


def _read_npz(published: Published, root: Path) -> tuple[list[Path], list[np.ndarray]] | None:
    """Read the set from .npz files, or return None if there are none."""
    shapes = ((SIDE, SIDE), (), (SIDE, SIDE), ())
    for name in published.archives:
        path = root / name
        if file_kind(path) == "a file":
            x, x_test = read_npz(path, ("x_train", "x_test"), shapes[0])
            y, y_test = read_npz(path, ("y_train", "y_test"), shapes[1])
            _check_labels(path, "x_train", y, len(x), "key y_train: row", 0)
            _check_labels(path, "x_test", y_test, len(x_test), "key y_test: row", 0)
            return [path] * 4, [x, y, x_test, y_test]
    for folder in published.folders if published.arrays else ():
        paths = [root / folder / name for name in published.arrays]
        if all(file_kind(path) == "a file" for path in paths):
            arrays = [
                read_npz(path, ("arr_0",), shape)[0]
                for path, shape in zip(paths, shapes, strict=True)
            ]
            for i in (0, 2):
                found = (paths[i + 1], paths[i].name, arrays[i + 1], len(arrays[i]))
                _check_labels(*found, "key arr_0: row", 0)
            return paths, arrays
    return None


def _check_labels(
    path: Path, images: str, labels: np.ndarray, expected: int, unit: str, start: int
) -> None:
    """Raise ValueError unless there are `expected` labels 0 .. 9; `unit` and `start` locate one."""
    if len(labels) != expected:
        raise ValueError(
            f"{path}: {f'{unit} 4' if unit == 'offset' else unit.partition(':')[0]}: "
            f"found {len(labels)} labels, expected {expected}, one an image of {images}"
        )
    if (labels >= CLASSES).any():
        first = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"{path}: {unit} {start + first}: found label {labels[first]}, "
            f"expected 0 to {CLASSES - 1}"
        )


def _remarks(
    published: Published, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray
) -> str:
    """Return what the summary adds for data that are not the published set."""
    result = count_remark(SIZES, (len(images), len(test_images)), published.title)
    identity = identify(images, labels)
    counts = tuple(np.bincount(labels, minlength=CLASSES).tolist())
    if identity is not None and identity is not published:
        result += (
            f"; these are images of {identity.title}, not of {published.title}: "
            f"the name of that set is {identity.name}"
        )
    elif identity is None and len(images) == SIZES[0] and counts != published.counts:
        result += f"; not the labels of {published.title}, whose classes have other counts"
    if is_black_and_white(images):
        result += "; every pixel is 0 or 255: binarized images, not grey ones"
    if np.array_equal(images[: len(test_images)], test_images):
        result += "; the test images are the first training images"
    return result


def _other_forms(root: Path) -> str:
    """Name files of the same data in forms that are not read."""
    return "".join(
        f"; found {root / name}, {form}, which is not read" for name, form in _existing(root)
    )


def _existing(root: Path) -> Iterator[tuple[str, str]]:
    for name, form in OTHER_FORMS.items():
        if file_kind(root / name) == "a file":
            yield name, form


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)
