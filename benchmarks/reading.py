"""Count what a reader must open to follow one loss and its gradients in the left panel.

    python benchmarks/reading.py
    python benchmarks/reading.py --root CHECKOUT --files
    python benchmarks/reading.py --json

For each of the five models it runs `model.loss(batch, noise)` and `backward()` once, and counts

* the files of numpy_ref and model_specs in which a function runs, construction excluded;
* the moves between files: the calls from a function in one of these files to a function in another;
* the moves between rooms. A room is a chapter folder such as numpy_ref/nn, or a file that stands
  beside the chapters, such as a model's own.

Returns are not moves: a reader comes back to a page that is already open. `--published` counts at
the sizes of the publications (the 28 x 28 VLAE of Chen et al., ...) instead of the smallest
configs. `--root` counts another checkout of this project, also one of an earlier layout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import CodeType, FrameType
from typing import Any

MODELS = ("mlp_vae", "conv_vae", "vlae", "rnn", "lstm")
PANELS = ("numpy_ref", "model_specs")
BATCH_SIZE = 7


class Reader:
    """Counts calls between the source files of the left panel while `sys.setprofile` reports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: set[PurePath] = set()
        self.moves_between_files = 0
        self.moves_between_rooms = 0
        self._paths: dict[CodeType, PurePath | None] = {}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the calls within this block."""
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        path = self._path(frame.f_code)
        if event != "call" or path is None:
            return
        self.files.add(path)
        caller = frame.f_back
        while caller is not None and self._path(caller.f_code) is None:
            caller = caller.f_back  # for example functools.partial, or a function of NumPy
        if caller is None:
            return
        origin = self._path(caller.f_code)
        assert origin is not None
        self.moves_between_files += origin != path
        self.moves_between_rooms += room(origin) != room(path)

    def _path(self, code: CodeType) -> PurePath | None:
        """The file of a function relative to the root; None outside the left panel."""
        if code not in self._paths:
            file = Path(code.co_filename)
            inside = file.is_relative_to(self.root)
            path = file.relative_to(self.root) if inside else None
            self._paths[code] = path if path and path.parts[0] in PANELS else None
        return self._paths[code]


def room(path: PurePath) -> PurePath:
    """The chapter folder of a file, or the file itself if it stands beside the chapters."""
    return path.parent if len(path.parts) > 2 else path


def count(name: str, root: Path, *, published: bool = False) -> dict[str, Any]:
    """Run one loss and backward of a model's left panel, and count files and moves."""
    # imported here, because --root decides whose modules these are
    import numpy as np  # noqa: PLC0415

    from diptych import Key, pairs  # noqa: PLC0415

    pair = pairs.get(name)
    config = next(iter(pair.sizes.values()))[0] if published else pair.variants[""]
    key, dtype = Key(0), np.dtype("float64")
    model = pair.left(config, key.fold_in("weights"), dtype=dtype)
    batch = pair.batch(config, key.fold_in("batch"), dtype, BATCH_SIZE)
    noise = model.draw_noise(key.fold_in("noise"), BATCH_SIZE)
    reader = Reader(root)
    with reader.reading():
        _, backward = model.loss(batch, noise)
        backward()
    return {
        "files": sorted(path.as_posix() for path in reader.files),
        "moves_between_files": reader.moves_between_files,
        "moves_between_rooms": reader.moves_between_rooms,
    }


def table(counts: dict[str, dict[str, Any]], *, files: bool = False) -> Iterator[str]:
    """The lines of a table with one row for each model, below it its files if `files` is set."""
    yield f"{'model':10}{'files':>7}{'moves between files':>22}{'moves between rooms':>22}"
    for name, result in counts.items():
        moves = f"{result['moves_between_files']:22}{result['moves_between_rooms']:22}"
        yield f"{name:10}{len(result['files']):7}{moves}"
        if files:
            yield from (f"    {file}" for file in result["files"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, help="Checkout to count. [this one]")
    parser.add_argument("--published", action="store_true", help="Count at the published sizes.")
    parser.add_argument("--files", action="store_true", help="List the files of each model.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    options = parser.parse_args()
    root = options.root.resolve()
    if not (root / "numpy_ref").is_dir():
        parser.error(f"--root: got {options.root}, takes a checkout with a folder numpy_ref")

    sys.path.insert(0, str(root))
    counts = {name: count(name, root, published=options.published) for name in MODELS}
    if options.json:
        print(json.dumps(counts, indent=1))
        return
    print(*table(counts, files=options.files), sep="\n")


if __name__ == "__main__":
    main()
