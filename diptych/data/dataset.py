"""`Dataset`, the splits of an image data set, and how readers find and open their files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_specs.common.fields import exact

Root = str | Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The examples of one split, one a row, and their labels if the data set has any.

    Shapes: x (N, D) float32, C-contiguous, in [0, 1]; y (N,) int64, or None. N >= 1.
    Raises: ValueError that names x or y, what it got and what it takes.
    """

    x: np.ndarray
    y: np.ndarray | None = None

    def __post_init__(self) -> None:
        x, y = self.x, self.y
        if x.ndim != 2 or 0 in x.shape or x.dtype != np.float32 or not x.flags.c_contiguous:
            raise ValueError(
                f"x: got {x.dtype} {x.shape}, takes float32 (N, D) in C order, N and D >= 1"
            )
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # NaN fails here as well
            raise ValueError(f"x: got values from {exact(low)} to {exact(high)}, takes [0, 1]")
        if y is not None and (y.shape != x.shape[:1] or y.dtype != np.int64):
            raise ValueError(f"y: got {y.dtype} {y.shape}, takes int64 {x.shape[:1]}")

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three splits of an image data set and a one-sentence `summary`.

    If `dynamic`, x holds the probability that each pixel is 1: training draws the pixels each
    time an image is used, evaluation draws those of held-out images once.
    Shapes: image_shape (C, H, W) with C H W = D, so `x.reshape(-1, *image_shape)` is NCHW.
    Raises: ValueError if the width of a split is not C H W.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    image_shape: tuple[int, int, int]
    summary: str
    dynamic: bool = False

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            width = getattr(self, name).x.shape[1]
            if width != math.prod(self.image_shape):
                raise ValueError(
                    f"{name}: got {width} values an image, takes {math.prod(self.image_shape)} "
                    f"for image_shape {self.image_shape}"
                )

    @property
    def contents(self) -> tuple[np.ndarray, ...]:
        """The arrays that decide a training run, for its digest: train and valid images."""
        return self.train.x, self.valid.x


def count(train: Split, valid: Split, test: Split) -> str:
    """Format sizes for a `summary`: "1297 train, 200 valid and 300 test images"."""
    return f"{len(train)} train, {len(valid)} valid and {len(test)} test images"


def data_root(root: Root = None, archive: str | None = None) -> Path:
    """Return the folder of the data files: `root`, by default the environment's DIPTYCH_DATA.

    `archive` is a file name suffix; a file whose name ends in it is accepted as well.
    Raises: ValueError if neither is set, or if it is not a folder.
    """
    source = "DIPTYCH_DATA" if root is None else "root"
    path = os.environ.get("DIPTYCH_DATA", "") if root is None else root
    if not str(path):
        raise ValueError(
            f"{source}: no data folder given, pass one (root=..., --data-root ...) "
            "or set the environment variable DIPTYCH_DATA to it"
        )
    folder = Path(os.path.expanduser(path))
    with reading(folder, "a folder that can be read"):
        exists, is_folder = folder.exists(), folder.is_dir()
    if not is_folder and not (archive and exists and folder.name.endswith(archive)):
        kind = "a file" if exists else "nothing"
        takes = f"a folder or a {archive}" if archive else "a folder"
        raise ValueError(f"{source}: found {kind} at {folder}, expected {takes}")
    return folder


def find_file(root: Path, names: Sequence[str], folders: Sequence[str] = (".",)) -> Path:
    """Return the path of the first of `names` that exists in one of `folders` below `root`.

    Raises: ValueError that lists the names and the folders.
    """
    for name in names:
        for folder in folders:
            path = root / folder / name
            with reading(path, "a folder that can be searched"):
                if path.exists():
                    return path
    places = " or ".join(str(root / folder) for folder in folders)
    raise ValueError(f"{root}: found no {names[0]}, expected {' or '.join(names)} in {places}")


@contextmanager
def reading(
    path: Path, expected: str, faults: type[Exception] | tuple[type[Exception], ...] = OSError
) -> Iterator[None]:
    """Context that turns `faults` raised while reading `path` into a one-line ValueError."""
    try:
        yield
    except faults as error:
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path}: {' '.join(message.split())}, expected {expected}") from None
