"""Times one sweep by one backend in a process of its own: `python -m diptych.bench.scaling.worker`.

It reads one JSON request, {"sweep": index, "values": [...], "dtype": ..., "backend": ...,
"rounds": ...}, from the standard input, and writes the median seconds of each value as JSON.
The threads are those of the environment. The values are timed in turn, round by round, so that a
slow moment of the machine does not bend the fit.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from diptych.bench.scaling import operations
from diptych.bench.scaling.sweeps import SWEEPS

TURN, CALLS = 0.03, 20
"""Seconds that a turn of one value should take, and its calls at most."""


def times(runs: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median over the rounds of the median call of each turn, in seconds."""
    single = [_seconds(run, 2) for run in runs]
    results: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, seconds, result in zip(runs, single, results, strict=True):
            calls = max(1, min(CALLS, round(TURN / seconds)))
            result.append(_seconds(run, calls))
    return [statistics.median(result) for result in results]


def _seconds(run: Callable[[], Any], calls: int) -> float:
    """Median seconds of `calls` calls, after one that is not counted."""
    run()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    request = json.load(sys.stdin)
    sweep, dtype, backend = SWEEPS[request["sweep"]], request["dtype"], request["backend"]
    runs = [operations.build(sweep, value, dtype, backend) for value in request["values"]]
    json.dump(times(runs, request["rounds"]), sys.stdout)


if __name__ == "__main__":
    main()
