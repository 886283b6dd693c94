"""OMNIGLOT at 28x28: hand-drawn characters of fifty alphabets, area-averaged from 105x105."""

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
"""Of each character, one image each, in a row."""
VALID_DRAWERS = 2


def load(root: Root = None) -> Dataset:
    """32460 characters without labels, pixels drawn anew: 17352 / 1928 / 13180 in full.

    Format: an .npz with keys background and evaluation, uint8 (N, 28, 28), strokes bright on a
    ground of 0, in ROOT or ROOT/omniglot; 0 .. 255 in the file, 0 .. 1 here (/ 255), and each pixel
    is Bernoulli(x), see `Dataset.dynamic`. Row i of background is by drawer i mod 20 of a
    character: the last two drawers of each are valid, the other eighteen train, and evaluation is
    test. So valid has new hands, and test new hands and new alphabets. Rows stay in file order,
    which is by character: shuffle before taking a part of them.
    Shapes: x (N, 784), y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    Source: Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic
    program induction" (2015), whose division into background and evaluation this is. Burda, Grosse
    & Salakhutdinov, "Importance weighted autoencoders" (2016), whom the literature follows, have
    24345 and 8070 images, resampled otherwise: no nats of these images compare with published ones.
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
    held = np.arange(len(background)) % DRAWERS >= DRAWERS - VALID_DRAWERS
    train, valid, test = (
        Split(images.reshape(len(images), -1) / np.float32(255))
        for images in (background[~held], background[held], evaluation)
    )
    summary = (
        f"omniglot: {count(train, valid, test)} of {SIDE}x{SIDE} without labels, read from {path}, "
        "pixels drawn anew as 0 or 1; neither the split nor the resampling of the IWAE paper, so "
        "its nats compare with none published"
    )
    return Dataset("omniglot", train, valid, test, (1, SIDE, SIDE), summary, dynamic=True)


def _check_polarity(path: Path, key: str, images: np.ndarray) -> None:
    mean = images.mean()
    if mean > 255 / 2:  # strokes are a small part of an image
        raise ValueError(
            f"{path}: key {key}: found a mean of {mean:.1f}, "
            "expected bright strokes (255) on a dark ground (0), a mean below 127.5"
        )
