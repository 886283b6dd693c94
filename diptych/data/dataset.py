"""`Dataset`, the splits of an image data set, and how readers find and open their files."""

from __future__ import annotations

import math
import os
import stat
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
    def contents(self) -> dict[str, np.ndarray]:
        """The arrays that decide the numbers of a run, by name, for their digests."""
        splits = {"train": self.train, "valid": self.valid, "test": self.test}
        images = {f"{name} images": split.x for name, split in splits.items()}
        labels = {f"{name} labels": s.y for name, s in splits.items() if s.y is not None}
        return images | labels | {"image shape": np.array([*self.image_shape, self.dynamic])}


def check_size(size: object, sizes: Sequence[int]) -> None:
    """Raise ValueError unless `size` is one of the sizes of a data set's images."""
    if type(size) is not int or size not in sizes:
        raise ValueError(f"size: got {size!r}, takes {' or '.join(map(str, sizes))}")


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
    """Return the path of the first of `names` that is a file in one of `folders` below `root`.

    What is no file is passed over and the search goes on. Only where there is no other, an empty
    file or a folder is returned, whose reader then says what it expects.
    Raises: ValueError that lists the names and the folders, and says what has the name of the file:
    a broken link, a named pipe, a socket or a device.
    """
    last_resorts: list[Path] = []
    obstacles: list[str] = []
    for name in names:
        for folder in folders:
            path = root / folder / name
            with reading(path, "a folder that can be searched"):
                kind = file_kind(path)
                if kind == "a file" and path.stat().st_size:
                    return path
            if kind in ("a file", "a folder"):
                last_resorts.append(path)
            elif kind != "nothing":
                obstacles.append(f"{path}: found {kind}, expected a file")
    if last_resorts:
        return min(last_resorts, key=Path.is_dir)  # an empty file before a folder
    places = " or ".join(dict.fromkeys(str(root / folder) for folder in folders))
    missing = f"{root}: found no {names[0]}, expected {' or '.join(names)} in {places}"
    raise ValueError("; ".join([*obstacles[:1], missing]))


def find_files(
    root: Path, names: Sequence[Sequence[str]], folders: Sequence[str] = (".",)
) -> list[Path]:
    """Return one path for each list of spellings, all in the first folder that has them all.

    Raises: ValueError as `find_file`, about the folder that has most of them.
    """
    best, most = None, 0
    for folder in folders:
        with reading(root / folder, "a folder that can be searched"):
            present = [
                any(file_kind(root / folder / name) == "a file" for name in spellings)
                for spellings in names
            ]
        if sum(present) > most:
            best, most = root / folder, sum(present)
        if all(present):
            break
    if best is None:
        return [find_file(root, spellings, folders) for spellings in names]
    return [find_file(best, spellings) for spellings in names]


def file_kind(path: Path) -> str:
    """Return "a file", "nothing", or what else lies at `path`; links are followed.

    Raises: OSError if the folder cannot be searched.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if path.is_symlink() else "nothing"
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


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
