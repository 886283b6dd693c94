"""The values of a small run, line by line, forward and then backward, for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.site.measured.joining import JoinedValue
from diptych.site.measured.traced_run import BACKWARD, CONSTRUCT, LOSS

MOST_NUMBERS = 256
MOST_STEPS = 60
MOST_NOISE = 8
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
    own = [v for v in values if v.stem == stem and v.phase in (LOSS, BACKWARD) and _is_shown(v)]
    named = {v.source for v in own if not v.name.startswith("return")}
    chosen, known = [], set[Any]()
    for value in own:
        content = value.array.shape, value.array.tobytes()
        marks = {(content, value.source), (content, value.name)}
        if value.name.endswith("]"):  # an element or a view has an id of its own
            marks.add((content, None))
        is_handed_on = value.array.ndim > 0 and bool(marks & known)
        if not is_handed_on and not (value.name.startswith("return") and value.source in named):
            chosen.append(value)
            known |= {*marks, (content, None)}
    return _thinned([_step(run, most_numbers) for run in _runs(chosen)], most_steps)


def noise_steps(
    values: Iterable[JoinedValue],
    stem: str,
    noise: Mapping[str, np.ndarray],
    most_numbers: int = MOST_NUMBERS,
) -> list[dict[str, Any]]:
    """The random numbers of a run, such as eps or dropout masks, at the statement that draws them.

    `noise` has the arrays that both panels get, by name. Arrays that the file does not draw are
    left out.
    """
    drawn = [v for v in values if v.stem == stem and v.phase == CONSTRUCT and _is_shown(v)]
    result = []
    for name, array in noise.items():
        same = (v for v in reversed(drawn) if np.array_equal(v.array, array))
        value = next(same, None)
        if value is not None:
            both = replace(value, name=name, twin=value.array)
            result.append(_step([both], most_numbers) | {"phase": "noise"})
    return result[:MOST_NOISE]


def _is_shown(value: JoinedValue) -> bool:
    return value.array.size > 0 and value.array.dtype.kind in "fbiu"


def _runs(values: list[JoinedValue]) -> list[list[JoinedValue]]:
    """Values of one name at one place, together if one call higher up made them in a loop."""
    alike: dict[Any, list[JoinedValue]] = {}
    for value in values:
        calls = tuple(frame.function.definition for frame in value.chain)
        key = value.phase, value.place.group, value.line, value.name, calls
        alike.setdefault(key, []).append(value)
    runs: list[list[JoinedValue]] = []
    for same in alike.values():
        depth = len(same[0].chain)
        level = next(
            (n for n in range(depth) if len({v.chain[n] for v in same}) < len(same)), depth
        )
        by_caller: dict[Any, list[JoinedValue]] = {}
        for value in same:
            caller = value.chain[level] if level < depth else value.key
            by_caller.setdefault(caller, []).append(value)
        runs += by_caller.values()
    order = {id(value): n for n, value in enumerate(values)}
    return sorted(runs, key=lambda run: order[id(run[0])])


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
        times = _times(same)
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


def _times(run: list[JoinedValue]) -> str:
    """The executions behind a value: "t = 0 … 8" in a loop over a range, else "9 times"."""
    caller = next(
        (a for a, b in zip(run[0].chain, run[1].chain, strict=True) if a is b), run[0].chain[-1]
    )
    variable = caller.function.loop_variable
    return f"{variable} = 0 … {len(run) - 1}" if variable else f"{len(run)} times"


def _part(array: np.ndarray, most: int, stacked: bool) -> tuple[np.ndarray, str]:
    """A matrix of at most `most` numbers, and the index of the part; "" for the whole."""
    index: list[str] = []
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
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
