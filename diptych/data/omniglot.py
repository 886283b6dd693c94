"""OMNIGLOT at 28x28: hand-drawn characters of fifty alphabets, area-averaged from 105x105.

File: `omniglot28_area.npz` (4 MB), in ROOT or ROOT/omniglot.
Layout: keys background and evaluation, uint8 (N, 28, 28), bright strokes on a ground of 0; 0 .. 255
in the file and 0 .. 1 here (/ 255). Row i of background is by drawer i mod 20 of a character: the
last two drawers of each character are valid, the other eighteen train; evaluation is test. So valid
has new drawers, and test has new drawers and new alphabets.
Size: 17352 train, 1928 valid and 13180 test images, without labels.
Checks: shapes and dtypes; background is a multiple of 20 images; strokes are the bright pixels.
Origin: Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program
induction" (2015), with their division into background and evaluation. Burda, Grosse &
Salakhutdinov, "Importance weighted autoencoders" (2016), whose version most papers use, have 24345
and 8070 images and another resampling: the nats of these images cannot be compared with published
ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file
from diptych.data.npz import read_npz

SIDE = 28
NPZ = "omniglot28_area.npz"
FOLDERS = (".", "omniglot")
KEYS = ("background", "evaluation")
DRAWERS = 20
"""Drawers of each character; their images, one each, are consecutive rows."""
VALID_DRAWERS = 2


def load(root: Root = None) -> Dataset:
    """Load the 32460 characters; each pixel is Bernoulli(x), see `Dataset.dynamic`.

    Images keep the order of the file, by character: shuffle before you take a subset.
    Shapes: x (N, 784), y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    path = find_file(data_root(root), (NPZ,), FOLDERS)
    background, evaluation = read_npz(path, KEYS, (SIDE, SIDE))
    if len(background) % DRAWERS:
        raise ValueError(
            f"{path}: key background: found {len(background)} images, "
            f"expected a multiple of {DRAWERS}, one by each drawer of a character"
        )
    for key, images in zip(KEYS, (background, evaluation), strict=True):
        _check_polarity(path, key, images)
    is_valid = np.arange(len(background)) % DRAWERS >= DRAWERS - VALID_DRAWERS
    train, valid, test = (
        Split(images.reshape(len(images), -1) / np.float32(255))
        for images in (background[~is_valid], background[is_valid], evaluation)
    )
    summary = (
        f"omniglot: {count(train, valid, test)} of {SIDE}x{SIDE} without labels, read from {path}, "
        "pixels drawn as 0 or 1 at each use; neither the split nor the resampling of the IWAE "
        "paper, so its nats cannot be compared with published ones"
    )
    return Dataset("omniglot", train, valid, test, (1, SIDE, SIDE), summary, dynamic=True)


def _check_polarity(path: Path, key: str, images: np.ndarray) -> None:
    mean = images.mean()
    if mean > 255 / 2:  # strokes are a small part of an image
        raise ValueError(
            f"{path}: key {key}: found a mean of {mean:.1f}, "
            "expected bright strokes (255) on a dark ground (0), a mean below 127.5"
        )
