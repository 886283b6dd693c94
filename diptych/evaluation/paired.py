"""The difference between two models on the same images, with the standard error of its mean.

The likelihood varies more from image to image than from model to model, and an image that is
unlikely under one model is unlikely under the other. The mean of the differences is therefore known
better than the difference of the means over two samples of images.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diptych.files import read_bytes, write_atomically

COLUMNS = ("data", "split", "image", "nll", "elbo", "effective_samples")
"""The columns of a file of `diptych evaluate --per-image`: the data set, its split and the number
of the image in it, two values in nats, and a number of samples."""


class Image(NamedTuple):
    """An image by its data set, its split, and its number in it."""

    data: str
    split: str
    number: int


@dataclass(frozen=True)
class PairedDifference:
    """The NLL of model A less that of model B, in nats per image."""

    images: int
    difference: float
    """mean_n d_n with d_n = NLL_A(x_n) - NLL_B(x_n): negative if A is the better model"""
    standard_error: float
    """s / sqrt(N), s the sample standard deviation of the d_n"""
    unpaired_standard_error: float
    """sqrt(s_A^2 / N + s_B^2 / N), the standard error of two independent samples of N images"""
    correlation: float
    """of NLL_A and NLL_B over the images; NaN if one of them is constant"""


def paired_difference(a: np.ndarray, b: np.ndarray) -> PairedDifference:
    """Compare the NLLs of two models on the same images, in the same order.

        d_n = a_n - b_n;   standard error of mean d = sqrt(sum_n (d_n - mean d)^2 / (N (N - 1)))

    Shapes: a (N,), b (N,), N >= 2.   Units: nats.
    Raises: ValueError for other shapes.
    Source: the paired t statistic, Student (1908), "The probable error of a mean".
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"a and b: got {a.shape} and {b.shape}, takes (N,) and (N,), N >= 2")
    d, n = a - b, len(a)
    deviations = a.std(ddof=1), b.std(ddof=1)
    correlation = float(np.corrcoef(a, b)[0, 1]) if all(deviations) else math.nan
    return PairedDifference(
        images=n,
        difference=float(d.mean()),
        standard_error=float(d.std(ddof=1)) / math.sqrt(n),
        unpaired_standard_error=math.hypot(*deviations) / math.sqrt(n),
        correlation=correlation,
    )


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write one line for each image, with values that are read back exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*(columns[name].tolist() for name in COLUMNS), strict=True))
    write_atomically(path, text.getvalue().encode())


def read_nll(path: Path) -> dict[Image, float]:
    """Read the NLL of each image.

    Raises: ValueError that names the file and the line, for a file of another kind.
    """
    lines = list(csv.reader(read_bytes(path).decode(errors="replace").splitlines()))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise ValueError(
            f"{path}: not a file of --per-image, which begins with {','.join(COLUMNS)}"
        )
    result: dict[Image, float] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            image, nll = Image(line[0], line[1], int(line[2])), float(line[3])
        except (ValueError, IndexError):
            image, nll = Image("", "", -1), math.nan
        if image.number < 0 or not math.isfinite(nll) or image in result:
            takes = "takes the number of an image that no other line has, and a finite NLL"
            raise ValueError(f"{path}: line {number}: got {','.join(line)!r}, {takes}")
        result[image] = nll
    return result


def read_paired(a: Path, b: Path) -> PairedDifference:
    """Compare two files of --per-image.

    Raises: ValueError if they are not of the same images, or of fewer than 2.
    """
    left, right = read_nll(a), read_nll(b)
    if left.keys() != right.keys():
        alone = len(left.keys() ^ right.keys())
        raise ValueError(f"{b}: has other images than {a}: {alone} are in one of the files alone")
    if len(left) < 2:
        raise ValueError(f"{a} and {b}: have {len(left)} images, takes 2 or more")
    order = sorted(left)
    return paired_difference(*(np.array([nll[n] for n in order]) for nll in (left, right)))
