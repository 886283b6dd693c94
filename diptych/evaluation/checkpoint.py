"""What an evaluation of hours has found so far, kept in the run's folder until it is finished."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diptych.evaluation.importance import Sums
from diptych.files import load_arrays, save_arrays
from model_specs.common.state import check_state

EVERY = 30.0
"""Seconds between two saves: at most so much is lost by a `kill -9`."""
ARRAYS = ("log_w", "log_sum", "log_squares")


class PartialFile:
    """The sums of an evaluation that is under way, as one safetensors file, replaced whole.

    `identity` is everything that decides the numbers, as JSON can hold it. Its digest is in the
    file's name, so that evaluations of other examples, samples or weights stand beside each other,
    and all of it is in the file. How the work is cut is no part of it: another memory bound goes on
    from the same sums, and changes but the last digit of what it adds.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], examples: int) -> None:
        self.identity = json.loads(json.dumps(identity))  # as it is read back: tuples are lists
        name = digest(json.dumps(self.identity, sort_keys=True).encode())[:16]
        self.path, self.examples = folder / f"nll-{name}.safetensors", examples
        self.earlier_seconds = 0.0
        """spent before this process went on"""
        self._begun = self._saved = time.monotonic()

    def begin(self, resume: bool) -> Sums:
        """The sums to go on from, those of no sample where there is no file.

        Raises: ValueError where there is one and `resume` is not asked for, so that nobody loses
        hours by a forgotten option; and for a file that is not whole or is another evaluation's.
        """
        for orphan in self.path.parent.glob(f".{self.path.name}.*"):  # a killed write leaves it
            orphan.unlink()
        if not self.path.exists():
            return Sums.none(self.examples)
        if not resume:
            raise ValueError(
                f"{self.path}: holds a part of this evaluation; --resume it, or delete the file"
            )
        arrays, metadata = load_arrays(self.path)
        theirs = metadata.get("identity", {})
        other = [k for k in self.identity | theirs if self.identity.get(k) != theirs.get(k)]
        if other:
            raise ValueError(f"{self.path}: of another evaluation, with other {', '.join(other)}")
        check_state(
            dict.fromkeys(ARRAYS, (self.examples,)),
            {n: a.shape for n, a in arrays.items()},
            str(self.path),
        )
        self.earlier_seconds = metadata["seconds"]
        return Sums(**arrays, done=metadata["done"])

    def save(self, sums: Sums, now: bool = False) -> None:
        """Write them, where that was not done a moment ago or `now` is set."""
        at = time.monotonic()
        if not now and at - self._saved < EVERY:
            return
        arrays = {name: getattr(sums, name) for name in ARRAYS}
        metadata = {"done": sums.done, "seconds": self.earlier_seconds + at - self._begun}
        save_arrays(self.path, arrays, {"identity": self.identity} | metadata)
        self._saved = at


def digest(*contents: bytes) -> str:
    """BLAKE2b of all of them, in order, as hexadecimal digits."""
    result = hashlib.blake2b(digest_size=16)
    for content in contents:
        result.update(content)
    return result.hexdigest()


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Of arrays by name: their names, dtypes, shapes and values."""
    return digest(*(f"{n} {a.dtype} {a.shape};".encode() + a.tobytes() for n, a in arrays.items()))
