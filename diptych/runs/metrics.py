"""The metrics of a run: one JSON object per line, for training steps and for epochs.

A checkpoint stores the number of lines before it and their digest, so that lines that were lost or
changed afterwards are noticed. Lines after the last checkpoint have no such witness: a killed run
may have written a part of one, and a resumed run drops them.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from diptych.files import parse_json, read_bytes, sync, write_atomically

NUMBERS = ("train", "valid")
"""The fields of an epoch's line with a number for each term; in a final fit "valid" is empty."""


class Extent(NamedTuple):
    """The first lines of a metrics file: their number and their digest."""

    lines: int
    digest: str


class MetricsFile:
    """A metrics file that is written line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state, self._lines = hashlib.blake2b(digest_size=16), 0

    def append(self, record: dict[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(record) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._count([line.encode()])

    def extent(self) -> Extent:
        """Return the number and the digest of the lines so far, which are then on the disk."""
        if self._lines:
            sync(self.path)
        return Extent(self._lines, self._state.hexdigest())

    def cut(self, lines: int) -> None:
        """Keep the first `lines` lines of the file, and go on after them."""
        kept = _split(self.path)[:lines]
        if self.path.exists():
            write_atomically(self.path, b"".join(kept))
        self._state, self._lines = hashlib.blake2b(digest_size=16), 0
        self._count(kept)

    def _count(self, lines: list[bytes]) -> None:
        self._lines += len(lines)
        for line in lines:
            self._state.update(line)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a metrics file; a last line that was cut off is skipped.

    Raises: ValueError that names the file and the line that is damaged.
    """
    lines, records = _split(path), []
    for number, line in enumerate(lines, 1):
        source = f"{path}: line {number}"
        try:
            record = parse_json(line, f"{source} is")
        except ValueError:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise
        records.append(_checked(record, source))
    return records


class History(NamedTuple):
    """The lines of the training steps, and those of the epochs."""

    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]


def history(path: Path) -> History:
    """Read a metrics file for a comparison or an evaluation.

    Raises: ValueError as `read_metrics` does, and for steps or epochs with different terms.
    """
    records = read_metrics(path)
    result = History(*([r for r in records if r.get("kind") == k] for k in ("step", "epoch")))
    for line in result.steps:
        for name in line.keys() - {"kind"}:
            _check_number(line[name], f"{path}: step {line['step']}: {name}")
    for lines, part in ((result.steps, None), *((result.epochs, name) for name in NUMBERS)):
        if len({frozenset(line if part is None else line[part]) for line in lines}) > 1:
            raise ValueError(f"{path}: damaged: its lines have different terms")
    return result


def check_extent(path: Path, extent: Extent) -> None:
    """Raise ValueError unless a metrics file begins with the lines that a checkpoint counted."""
    lines = _split(path)[: extent.lines]
    complete = [line for line in lines if line.endswith(b"\n")]
    if len(complete) < extent.lines:
        raise ValueError(
            f"{path}: lines are lost: it has {len(complete)} of the {extent.lines} that the "
            "checkpoint counts"
        )
    if hashlib.blake2b(b"".join(complete), digest_size=16).hexdigest() != extent.digest:
        raise ValueError(
            f"{path}: damaged: its first {extent.lines} lines are not those that the checkpoint "
            "counts"
        )


def parse_extent(value: Any, path: Path) -> Extent:
    """Return the extent in a checkpoint's metadata. Raises: ValueError that names the file."""
    fields = value if isinstance(value, dict) else {}
    lines, digest = fields.get("lines"), fields.get("digest")
    if type(lines) is not int or lines < 0 or not isinstance(digest, str):
        raise ValueError(f"{path}: damaged: metrics: got {value!r}, takes lines and a digest")
    return Extent(lines, digest)


def _checked(record: Any, source: str) -> dict[str, Any]:
    """Check the fields that the readers of metrics use."""
    if not isinstance(record, dict):
        raise ValueError(f"{source} is no JSON object")
    step, kind = record.get("step"), record.get("kind")
    if type(step) is not int or step < 0:
        raise ValueError(f"{source} has no step" if step is None else f"{source}: step: {step!r}")
    if kind == "epoch":
        _check_number(record.get("seconds"), f"{source}: seconds")
        for name in NUMBERS:
            terms = record.get(name)
            if not isinstance(terms, dict) or not (terms or name == "valid"):
                raise ValueError(f"{source}: {name}: got {terms!r}, takes a number for each term")
            for term, value in terms.items():
                if term != "perplexity" or value != math.inf:  # exp of an nll above 700
                    _check_number(value, f"{source}: {name}: {term}")
    return record


def _check_number(value: Any, source: str) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{source}: got {value!r}, takes a number")


def _split(path: Path) -> list[bytes]:
    """Return the lines of a file with their ends; a missing file has no line."""
    return read_bytes(path).splitlines(keepends=True) if path.exists() else []
