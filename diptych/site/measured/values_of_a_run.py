"""The values of a small run, line by line, forward and then backward, for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from diptych.site.measured.joining import JoinedValue
from diptych.site.measured.traced_run import BACKWARD, LOSS

MOST_NUMBERS = 256
MOST_STEPS = 60
DIGITS = 4


def steps(
    values: Iterable[JoinedValue],
    stem: str,
    most_steps: int = MOST_STEPS,
    most_numbers: int = MOST_NUMBERS,
) -> list[dict[str, Any]]:
    """The steps of one file: every value that its statements compute in the loss and backwards.

    A statement that runs several times within one call, such as a step of a loop over time, and a
    function that one call makes several times, are one step whose first axis counts them.
    """
    chosen = [v for v in values if v.stem == stem and v.phase in (LOSS, BACKWARD)]
    chosen = [v for v in chosen if v.array.size and v.array.dtype.kind in "fbiu"]
    runs: dict[Any, list[JoinedValue]] = {}
    for value in chosen:
        runs.setdefault(_run_of(value, chosen), []).append(value)
    result = [_step(run, most_numbers) for run in runs.values() if _is_shown(run)]
    return _thinned(result, most_steps)


def _run_of(value: JoinedValue, chosen: list[JoinedValue]) -> Any:
    """Values of one run: the same name at the same place, in calls of one caller."""
    return value.phase, value.place.group, value.line, value.name, value.parent


def _is_shown(run: list[JoinedValue]) -> bool:
    """True unless the value only hands on what a statement before has shown."""
    return not (run[0].name == "return" and len(run[0].array.shape) == 0)


def _thinned(result: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many steps: those with a twin first, in their order."""
    if len(result) <= most:
        return result
    order = sorted(range(len(result)), key=lambda n: (result[n]["difference"] is None, n))
    return [result[n] for n in sorted(order[:most])]


def _step(run: list[JoinedValue], most_numbers: int) -> dict[str, Any]:
    first = run[0]
    same = [v for v in run if v.array.shape == first.array.shape]
    times = ""
    array, twin = first.array, first.twin
    if len(same) > 1:
        if first.phase == BACKWARD:
            same = same[::-1]  # backwards in time, so that rows are steps of time again
        array = np.stack([v.array for v in same])
        twins = [v.twin for v in same]
        twin = None if any(t is None for t in twins) else np.stack(twins)  # type: ignore[arg-type]
        times = f"t = 0 … {len(same) - 1}"
    shape = list(first.array.shape)
    array, part = _part(array, most_numbers, bool(times))
    difference = None
    if twin is not None:
        other, _ = _part(twin, most_numbers, bool(times))
        difference = _rows(array.astype(np.float64) - other.astype(np.float64), 2)
    return {
        "group": first.place.group,
        "name": first.name,
        "phase": "forward" if first.phase == LOSS else "backward",
        "line": first.line,
        "times": times,
        "shape": shape,
        "part": part,
        "left": _rows(array, DIGITS),
        "difference": difference,
    }


def _part(array: np.ndarray, most: int, stacked: bool) -> tuple[np.ndarray, str]:
    """A matrix of at most `most` numbers, and the index of the part; "" for the whole."""
    index: list[str] = []
    keep = 1 if stacked else 0
    while array.size > most and array.ndim - keep > 1:
        array = array.take(0, axis=keep)
        index.append("0")
    part = f"[{', '.join(index)}]" if index else ""
    matrix = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1)
    if matrix.size > most:
        columns = min(matrix.shape[1], most)
        rows = max(1, most // columns)
        matrix = matrix[:rows, :columns]
        part += f"[:{rows}, :{columns}]"
    return matrix, part


def _rows(matrix: np.ndarray, digits: int) -> Any:
    """Rows of rounded numbers."""
    if matrix.dtype.kind in "biu":
        return matrix.astype(int).tolist()
    return [[_round(float(x), digits) for x in row] for row in matrix]


def _round(x: float, digits: int) -> Any:
    if not math.isfinite(x):
        return str(x)
    rounded = float(f"{x:.{digits}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e6 else rounded
