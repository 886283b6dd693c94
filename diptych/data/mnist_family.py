"""MNIST and the sets that share its file names and its sizes: one reader, and a check of identity.

Files: the four IDX files of `FILES`, in the folders and under the spellings of the set; where they
are missing, the .npz files in which some publishers ship the same arrays.
Layout: see `read_idx`. Pixels are 0 .. 255 in the files and 0 .. 1 here (/ 255).
Size: 50000 train, 10000 valid (the last sixth of the training file) and 10000 test images.
Checks: magic numbers, sizes, file lengths, labels 0 .. 9, as many labels as images, grey values, a
dark ground. The summary tells other numbers of images, and images of another set of the family.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, file_kind, find_files
from diptych.data.idx import read_idx
from diptych.data.npz import read_npz
from diptych.data.published import CLASSES, Published, remarks
from diptych.data.splits import check_distinct
from diptych.data.values import check_dark_ground, check_grey

SIDE = 28
VALID_PART = 6
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
    names = {f"{paths[0].name} (train)": images, f"{paths[2].name} (test)": test_images}
    check_distinct(os.path.commonpath(paths), names)
    differences = remarks(published, images, labels, len(test_images))
    x, y = _scaled(images), labels.astype(np.int64)
    train, valid = Split(x[:cut], y[:cut]), Split(x[cut:], y[cut:])
    test = Split(_scaled(test_images), test_labels.astype(np.int64))
    source = os.path.commonpath(paths)
    summary = (
        f"{published.name}: {count(train, valid, test)} of {SIDE}x{SIDE} with labels, "
        f"read from {source}{differences}"
    )
    return Dataset(published.name, train, valid, test, (1, SIDE, SIDE), summary)


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
        if archived := _read_npz(published, root):
            return archived
        raise ValueError(f"{error}{_other_forms(published, root)}") from None
    arrays: list[np.ndarray] = []
    for images, labels in ((paths[0], paths[1]), (paths[2], paths[3])):
        arrays += [read_idx(images, (None, SIDE, SIDE)), read_idx(labels, (None,))]
        _check_labels(labels, arrays[-1], len(arrays[-2]), images.name)
    return paths, arrays


def _read_npz(published: Published, root: Path) -> tuple[list[Path], list[np.ndarray]] | None:
    """Read the set from .npz files, or return None if there are none."""
    shapes = ((SIDE, SIDE), (), (SIDE, SIDE), ())
    for name in published.archives:
        path = root / name
        if file_kind(path) == "a file":
            x, x_test = read_npz(path, ("x_train", "x_test"), shapes[0])
            y, y_test = read_npz(path, ("y_train", "y_test"), shapes[1])
            _check_labels(path, y, len(x), "x_train", "y_train")
            _check_labels(path, y_test, len(x_test), "x_test", "y_test")
            return [path] * 4, [x, y, x_test, y_test]
    for folder in published.folders if published.arrays else ():
        paths = [root / folder / name for name in published.arrays]
        if all(file_kind(path) == "a file" for path in paths):
            arrays = [
                read_npz(path, ("arr_0",), shape)[0]
                for path, shape in zip(paths, shapes, strict=True)
            ]
            for i in (0, 2):
                _check_labels(paths[i + 1], arrays[i + 1], len(arrays[i]), paths[i].name, "arr_0")
            return paths, arrays
    return None


def _check_labels(
    path: Path, labels: np.ndarray, expected: int, images: str, key: str | None = None
) -> None:
    """Raise ValueError unless there are `expected` labels, each 0 to 9; an .npz has a `key`."""
    if len(labels) != expected:
        place = "offset 4" if key is None else f"key {key}"
        raise ValueError(
            f"{path}: {place}: found {len(labels)} labels, "
            f"expected {expected}, one an image of {images}"
        )
    if (labels >= CLASSES).any():
        first = int(np.argmax(labels >= CLASSES))
        place = f"offset {8 + first}" if key is None else f"key {key}: row {first}"
        raise ValueError(
            f"{path}: {place}: found label {labels[first]}, expected 0 to {CLASSES - 1}"
        )


def _other_forms(published: Published, root: Path) -> str:
    """Name files of the same data in forms that are not read, for the end of an error."""
    folders = dict.fromkeys((".", *published.folders))
    return "".join(
        f"; found {root / folder / name}, {form}, which is not read"
        for folder in folders
        for name, form in OTHER_FORMS.items()
        if file_kind(root / folder / name) == "a file"
    )


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)
