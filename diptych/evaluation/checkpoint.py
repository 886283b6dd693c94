"""Checkpoints of a long evaluation: its partial sums, kept in the run folder until it ends."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diptych.evaluation.importance import Sums
from diptych.files import digest, load_arrays, reading, save_arrays
from diptych.files.lock import locked
from model_specs.common.state import check_state

EVERY = 30.0
"""Seconds between two saves, and so the most work that a killed process loses."""
ARRAYS = ("log_w", "log_sum", "log_squares")


class PartialFile:
    """The partial sums of one evaluation in a safetensors file, which is replaced atomically.

    `identity` is a JSON-able dict of everything that decides the result. It is stored in the file,
    and its digest is part of the file name, so evaluations of other examples, samples or weights
    have files of their own. The memory bound is not part of it: an evaluation may resume under
    another bound, which changes only the rounding of later sums.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], examples: int) -> None:
        self.identity = json.loads(json.dumps(identity))  # as JSON returns it: tuples become lists
        name = digest(json.dumps(self.identity, sort_keys=True).encode())[:16]
        self.path, self.examples = folder / f"nll-{name}.safetensors", examples
        self.earlier_seconds = 0.0
        """seconds spent by earlier processes"""
        self._started = self._saved = time.monotonic()

    @contextlib.contextmanager
    def locked(self) -> Iterator[PartialFile]:
        """Context in which no other process computes this evaluation.

        Raises: ValueError that names the process that does.
        """
        with locked(self.path.parent, f".lock-{self.path.stem}"):
            yield self

    def begin(self, resume: bool) -> Sums:
        """Return the sums to start from: those of the file, or empty sums if there is no file.

        Raises: ValueError if there is a file but `resume` is False, so that a forgotten option does
        not discard hours of work; and for a file that is damaged or of another evaluation.
        """
        # a process that was killed while it wrote leaves its temporary file
        for orphan in self.path.parent.glob(f".{self.path.name}.*"):
            orphan.unlink()
        if not self.path.exists():
            return Sums.empty(self.examples)
        if not resume:
            raise ValueError(
                f"{self.path}: holds a part of this evaluation; --resume it, or delete the file"
            )
        arrays, metadata = load_arrays(self.path)
        with reading(self.path):
            return self._restored(arrays, metadata)

    def _restored(self, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Sums:
        """Check the contents of the file. Raises: ValueError for those of another evaluation."""
        stored = metadata.get("identity", {})
        changes = [k for k in self.identity | stored if self.identity.get(k) != stored.get(k)]
        if changes:
            raise ValueError(f"{self.path}: of another evaluation, with other {', '.join(changes)}")
        check_state(
            dict.fromkeys(ARRAYS, (self.examples,)),
            {n: a.shape for n, a in arrays.items()},
            str(self.path),
        )
        broken = [n for n, a in arrays.items() if a.dtype != np.float64 or not (a < np.inf).all()]
        if broken:
            raise ValueError(f"{', '.join(broken)}: damaged, takes float64 without NaN and inf")
        done, seconds = metadata["done"], metadata["seconds"]
        total = self.examples * self.identity.get("samples", math.inf)
        if type(done) is not int or not 0 <= done <= total:
            raise ValueError(f"done: got {done!r}, takes a count of samples up to {total}")
        if type(seconds) not in (int, float) or not 0 <= seconds < math.inf:
            raise ValueError(f"seconds: got {seconds!r}, takes a number from 0")
        self.earlier_seconds = seconds
        return Sums(**arrays, done=done)

    def save(self, sums: Sums, now: bool = False) -> None:
        """Write `sums` if the last save is at least EVERY seconds old, or always with `now`."""
        time_now = time.monotonic()
        if not now and time_now - self._saved < EVERY:
            return
        arrays = {name: getattr(sums, name) for name in ARRAYS}
        metadata = {"done": sums.done, "seconds": self.earlier_seconds + time_now - self._started}
        save_arrays(self.path, arrays, {"identity": self.identity} | metadata)
        self._saved = time_now


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the digest of named arrays: of their names, dtypes, shapes and values."""
    return digest(*(f"{n} {a.dtype} {a.shape};".encode() + a.tobytes() for n, a in arrays.items()))
