"""OMNIGLOT at 28x28: hand-drawn characters of fifty alphabets.

Files: `omniglot28_area.npz` (4 MB), area-averaged from 105x105, or else `chardata.mat` of the IWAE
paper (MATLAB 5, 8 MB), in ROOT, ROOT/omniglot or ROOT/OMNIGLOT.
Layout: bright strokes on a ground of 0. The .npz has keys background and evaluation, uint8
(N, 28, 28), 0 .. 255 in the file and 0 .. 1 here (/ 255). Row i of background is by drawer i mod 20
of a character: the last two drawers of each character are valid, the other eighteen train;
evaluation is test. So valid has new drawers, and test has new drawers and new alphabets. The .mat
has keys data and testdata, (784, N) in 0 .. 1, an image a column, whose pixels run down the columns
of the image; the last 1345 images of data are valid, which is a usual choice.
Size: .npz: 17352 train, 1928 valid and 13180 test images; .mat: 23000, 1345 and 8070. Without
labels.
Checks: shapes and dtypes; scale; background is a multiple of 20 images; strokes are the bright
pixels; no split repeats another. The summary tells other numbers of images.
Origin: Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic program
induction" (2015), with their division into background and evaluation. Burda, Grosse &
Salakhutdinov, "Importance weighted autoencoders" (2016), made the .mat, which most papers use: the
nats of the .npz, with another split and resampling, cannot be compared with published ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diptych.data.dataset import Dataset, Root, Split, count, data_root, find_file
from diptych.data.mat import read_matrices
from diptych.data.npz import read_npz
from diptych.data.splits import check_distinct
from diptych.data.values import check_dark_ground, check_grey, count_remark

SIDE = 28
PIXELS = SIDE * SIDE
NPZ = "omniglot28_area.npz"
MAT = "chardata.mat"
FOLDERS = (".", "omniglot", "OMNIGLOT")
KEYS = ("background", "evaluation")
MAT_KEYS = ("data", "testdata")
COUNTS, MAT_COUNTS = (19280, 13180), (24345, 8070)
DRAWERS = 20
"""Drawers of each character; their images, one each, are consecutive rows."""
VALID_DRAWERS = 2
MAT_VALID = 1345
MAX_IMAGES = 40_000
"""Images that one key may have; a header that declares more is refused."""


def load(root: Root = None) -> Dataset:
    """Load the characters; each pixel is Bernoulli(x), see `Dataset.dynamic`.

    Images keep the order of the file, by character: shuffle before you take a subset.
    Shapes: x (N, 784), y None, image_shape (1, 28, 28).
    Raises: ValueError that names the file, the key, what was found and what was expected.
    """
    path = find_file(data_root(root), (NPZ, MAT), FOLDERS)
    read, origin = (_read_mat, MAT_ORIGIN) if path.name == MAT else (_read_npz, NPZ_ORIGIN)
    splits, remark = read(path)
    train, valid, test = map(Split, splits)
    summary = (
        f"omniglot: {count(train, valid, test)} of {SIDE}x{SIDE} without labels, read from {path}, "
        f"pixels drawn as 0 or 1 at each use; {origin}{remark}"
    )
    return Dataset("omniglot", train, valid, test, (1, SIDE, SIDE), summary, dynamic=True)


NPZ_ORIGIN = (
    "neither the split nor the resampling of the IWAE paper, so its nats cannot be compared with "
    "published ones"
)
MAT_ORIGIN = "the images of the IWAE paper, the last 1345 of its training images are valid"


def _read_npz(path: Path) -> tuple[list[np.ndarray], str]:
    """Read train, valid and test images, and a remark if their numbers are not the usual ones."""
    background, evaluation = read_npz(path, KEYS, (SIDE, SIDE), MAX_IMAGES)
    if len(background) % DRAWERS:
        raise ValueError(
            f"{path}: key background: found {len(background)} images, "
            f"expected a multiple of {DRAWERS}, one by each drawer of a character"
        )
    for key, images in zip(KEYS, (background, evaluation), strict=True):
        check_grey(f"{path}: key {key}", images)
        check_dark_ground(f"{path}: key {key}", images, 255)
    check_distinct(path, {"key background": background, "key evaluation": evaluation})
    is_valid = np.arange(len(background)) % DRAWERS >= DRAWERS - VALID_DRAWERS
    splits = [
        images.reshape(len(images), -1) / np.float32(255)
        for images in (background[~is_valid], background[is_valid], evaluation)
    ]
    return splits, count_remark(COUNTS, (len(background), len(evaluation)), "OMNIGLOT")


def _read_mat(path: Path) -> tuple[list[np.ndarray], str]:
    """Read train, valid and test images, and a remark if their numbers are not those published."""
    columns = read_matrices(path, MAT_KEYS, MAX_IMAGES * PIXELS)
    train, test = (_from_columns(f"{path}: key {key}", columns.pop(key)) for key in MAT_KEYS)
    check_distinct(path, {"key data": train, "key testdata": test})
    valid = MAT_VALID if len(train) > 2 * MAT_VALID else max(1, len(train) // 10)
    counts = len(train), len(test)
    return [train[:-valid], train[-valid:], test], count_remark(
        MAT_COUNTS, counts, "the IWAE paper"
    )


def _from_columns(source: str, columns: np.ndarray) -> np.ndarray:
    """Check (784, N) values of 0 .. 1 and return them as row-major images, (N, 784) float32."""
    expected = f"({PIXELS}, N >= 2) of grey values 0 to 1"
    if columns.ndim != 2 or len(columns) != PIXELS or columns.shape[1] < 2:
        hint = ", transposed?" if columns.shape[-1] == PIXELS else ""
        raise ValueError(f"{source}: found {columns.shape}{hint}, expected {expected}")
    low, high = columns.min(), columns.max()
    if not (low >= 0 and high <= 1) or high < 0.5:  # NaN fails here as well
        raise ValueError(f"{source}: found values from {low:g} to {high:g}, expected {expected}")
    check_dark_ground(source, columns, 1)
    images = columns.T.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return images.astype(np.float32, order="C").reshape(-1, PIXELS)
