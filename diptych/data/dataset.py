"""What every reader hands back, and how it finds and opens its files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Root = str | Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The examples of one split, a row each, and their labels where the data set has any.

    Shapes: x (N, D) float32, C-contiguous, in [0, 1]; y (N,) int64, or None. N >= 1.
    Raises: ValueError that names x or y, what it got and what it takes.
    """

    x: np.ndarray
    y: np.ndarray | None = None

    def __post_init__(self) -> None:
        x, y = self.x, self.y
        if x.ndim != 2 or 0 in x.shape or x.dtype != np.float32 or not x.flags.c_contiguous:
            raise ValueError(
                f"x: got {x.dtype} {x.shape}, takes float32 (N, D) in C order, neither of them 0"
            )
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # NaN fails here as well
            raise ValueError(f"x: got values from {low:g} to {high:g}, takes [0, 1]")
        if y is not None and (y.shape != x.shape[:1] or y.dtype != np.int64):
            raise ValueError(f"y: got {y.dtype} {y.shape}, takes int64 {x.shape[:1]}")

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three splits of one data set, and `summary`: one sentence of what was read, and where.

    Where it is `dynamic`, x is no image but the probability that each pixel is 1: whoever trains
    draws the pixels anew each time they are seen, and whoever judges draws the held-out ones once.
    Shapes: image_shape (C, H, W) with C H W = D, so `x.reshape(-1, *image_shape)` is NCHW.
    Raises: ValueError where a split's width is not that of image_shape.
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
        """The images that a run trains and is selected on."""
        return self.train.x, self.valid.x


def count(train: Split, valid: Split, test: Split) -> str:
    """The start of a `summary`: 1297 train, 200 valid and 300 test images."""
    return f"{len(train)} train, {len(valid)} valid and {len(test)} test images"


def data_root(root: Root = None, archive: str | None = None) -> Path:
    """The folder that data files are read from: `root`, else the environment's DIPTYCH_DATA.

    With `archive`, a file whose name ends so will do in its place.
    Raises: ValueError where neither is given, or where what was given is not a folder.
    """
    source = "DIPTYCH_DATA" if root is None else "root"
    given = os.environ.get("DIPTYCH_DATA", "") if root is None else root
    if not str(given):
        raise ValueError(
            f"{source}: no data folder given, pass one (root=..., --data-root ...) "
            "or set the environment variable DIPTYCH_DATA to it"
        )
    folder = Path(os.path.expanduser(given))
    with reading(folder, "a folder that can be read"):
        exists, is_folder = folder.exists(), folder.is_dir()
    if not is_folder and not (archive and exists and folder.name.endswith(archive)):
        result = "a file" if exists else "nothing"
        takes = f"a folder or a {archive}" if archive else "a folder"
        raise ValueError(f"{source}: found {result} at {folder}, expected {takes}")
    return folder


def find_file(root: Path, names: Sequence[str], folders: Sequence[str] = (".",)) -> Path:
    """The first of `names` that lies in one of `folders` below `root`; earlier names go first.

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
    """Turn `faults` raised while `path` is read into one ValueError, of one line, that names it."""
    try:
        yield
    except faults as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"{path}: {' '.join(said.split())}, expected {expected}") from None
