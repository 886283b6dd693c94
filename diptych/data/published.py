"""Published sets in the format of MNIST: where users have the files, and how to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diptych.data.values import count_remark, is_black_and_white

CLASSES = 10
SIZES = (60_000, 10_000)
"""The numbers of images in the training and in the test file of each published set."""


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


def identify(images: np.ndarray, labels: np.ndarray) -> Published | None:
    """Return the set of the family that the training images and labels are from, if any.

    A whole set is recognised in any order, by its class counts and its mean; a part that begins
    like one, by its first ten labels.
    """
    first = tuple(labels[:10].tolist())
    for published in FAMILY:
        if published.start == first:
            return published
    counts = tuple(np.bincount(labels, minlength=CLASSES).tolist())
    for published in FAMILY:
        mean, uncertainty = published.mean
        if counts == published.counts and abs(float(images.mean()) / 255 - mean) <= uncertainty:
            return published
    return None


def remarks(published: Published, images: np.ndarray, labels: np.ndarray, test_size: int) -> str:
    """Return the end of the summary: what differs from the published set, or ""."""
    result = count_remark(SIZES, (len(images), test_size), published.title)
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
    return result
