"""What a fuzzed reader is, and the kinds of input that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from diptych.files import save_arrays

from . import mutations

Change = Callable[[bytes, Random, Sequence[bytes]], bytes]
Wrap = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader and the changed inputs that it is given."""

    change: Callable[[Random], None]
    """Write (or keep) the next input."""
    read: Callable[[], Any]
    """Read it."""
    names: tuple[str, ...]
    """An error message must contain one of these: the file, the folder, or the option."""
    bug_types: tuple[type[BaseException], ...] = ()
    """Exceptions besides ValueError that the reader documents."""


def of_file(
    path: Path,
    seeds: Sequence[bytes],
    read: Callable[[], Any],
    *,
    wrap: Wrap | None = None,
    change: Change = mutations.change_bytes,
) -> Reader:
    """A reader of one file; `wrap` compresses, and half of the changes are made before it."""

    def write(rng: Random) -> None:
        seed = rng.choice(seeds)
        if wrap is None:
            path.write_bytes(change(seed, rng, seeds))
        elif rng.random() < 0.5:
            path.write_bytes(wrap(change(seed, rng, seeds)))
        else:
            path.write_bytes(change(wrap(seed), rng, ()))

    return Reader(write, read, (path.name, str(path.parent)))


def of_json(path: Path, text: str, read: Callable[[], Any]) -> Reader:
    """A reader of a JSON file: changes of its nodes, and of its bytes."""

    def change(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
        if rng.random() < 0.7:
            return mutations.change_json(text, rng).encode()
        return mutations.change_bytes(data, rng, others)

    return of_file(path, [text.encode()], read, change=change)


def of_arrays(
    path: Path,
    arrays: dict[str, np.ndarray],
    metadata: dict[str, Any],
    read: Callable[[], Any],
) -> Reader:
    """A reader of a safetensors file: changes of its arrays and metadata, and of its bytes."""
    save_arrays(path, arrays, metadata)
    seed = path.read_bytes()

    def write(rng: Random) -> None:
        if rng.random() < 0.6:
            save_arrays(path, *mutations.change_arrays(arrays, metadata, rng))
        else:
            path.write_bytes(mutations.change_bytes(seed, rng, ()))

    return Reader(write, read, (path.name,))


def of_text(
    text: str, tokens: Sequence[str], read: Callable[[str], Any], names: Sequence[str]
) -> Reader:
    """A reader of a one-line text, such as the value of an option."""
    current = [text]

    def change(rng: Random) -> None:
        current[0] = mutations.change_text(text, rng, tokens)

    return Reader(change, lambda: read(current[0]), tuple(names))
