"""One backend in a process of its own: `python -m diptych.bench.worker`.

It reads one JSON request a line and answers one JSON object a line. The requests:

    {"do": "build", "case": [model, size, batch size, dtype], "backend": name}
    {"do": "values", "file": path}      write loss terms and gradients, at the first weights
    {"do": "time", "operation": name}   one turn -> {"seconds": s, "calls": n}
    {"do": "memory"}                    -> {"host": bytes, "device": bytes}, null where unknown
    {"do": "profile", "operation": name} -> {"rows": [{"name": n, "share": s}, ...], "overhead": f}
    {"do": "peak", ...}                 see diptych.bench.peaks.measure
    {"do": "compare", ...}              see diptych.bench.agreement
    {"do": "sweep", ...}                see diptych.bench.scaling.operations

An error is the answer {"error": message}, and the worker goes on. It ends with its input. Nothing
but an answer is written to the standard output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from diptych import allocator
from diptych.bench import clock

Answer = dict[str, Any]


class Worker:
    """The case that is being timed, and the answers to the requests about it."""

    def __init__(self) -> None:
        self.first_peak = clock.peak_resident()
        self.operations: dict[str, Callable[[], Any]] = {}
        self.steps: Any = None
        self.comparer: Any = None

    def answer(self, request: dict[str, Any]) -> Answer:
        """Do what a request names. Raises: whatever the operation raises."""
        answer: Answer = getattr(self, request.pop("do"))(**request)
        return answer

    def build(self, case: list[Any], backend: str) -> Answer:
        """Build the operations of a case; the old ones are dropped first. -> {"threads": n}"""
        from diptych.bench.backends import BACKENDS  # noqa: PLC0415
        from diptych.bench.case import Case  # noqa: PLC0415

        self.operations, self.steps = {}, None
        self.case, self.backend = Case(*case), backend
        self.device = BACKENDS[backend].device
        clock.reset_peak_of_device(self.device)
        self.steps = BACKENDS[backend].make(self.case)
        self.operations = dict(self.steps.operations)
        return {"threads": torch.get_num_threads()}

    def values(self, file: str, operation: str = "") -> Answer:
        """Write the loss terms and the gradients of the parameters, or what a part computes."""
        from diptych.bench import agreement  # noqa: PLC0415

        if operation:
            agreement.save_part(Path(file), self._operation(operation))
        else:
            agreement.save(Path(file), *self.steps.values())
        return {}

    def time(self, operation: str) -> Answer:
        """Time one turn of an operation."""
        seconds, calls = clock.turn(self._operation(operation))
        return {"seconds": seconds, "calls": calls}

    def memory(self) -> Answer:
        """The growth of the resident set since the start, and the peak of the device, in bytes."""
        peak = clock.peak_resident()
        known = peak is not None and self.first_peak is not None
        growth = peak - self.first_peak if known else None  # type: ignore[operator]
        return {"host": growth, "device": clock.peak_of_device(self.device)}

    def profile(self, operation: str) -> Answer:
        """The parts of an operation that take most of its time."""
        from diptych.bench import profiles  # noqa: PLC0415

        kind = "numpy" if self.backend == "numpy" else "torch"
        profile = profiles.profile(self._operation(operation), kind)
        return {"rows": [row._asdict() for row in profile.rows], "overhead": profile.overhead}

    def peak(self, **request: Any) -> Answer:
        """The peak rates of this machine."""
        from dataclasses import asdict  # noqa: PLC0415

        from diptych.bench.peaks import measure  # noqa: PLC0415

        return asdict(measure(**request))

    def compare(self, **request: Any) -> Answer:
        """Compare the files of several backends with the left panel in float64."""
        from diptych.bench.agreement import Comparer  # noqa: PLC0415

        self.comparer = self.comparer or Comparer()
        answer: Answer = self.comparer.compare(**request)
        return answer

    def sweep(self, **request: Any) -> Answer:
        """Time every value of one sweep of diptych.bench.scaling."""
        from diptych.bench.scaling.operations import times  # noqa: PLC0415

        return {"seconds": times(**request)}

    def _operation(self, name: str) -> Callable[[], Any]:
        if name not in self.operations:
            from diptych.bench.workloads import build  # noqa: PLC0415

            self.operations[name] = build(self.case, name, self.backend)
        return self.operations[name]


def main() -> None:
    """Answer requests until the input ends. Ctrl-C is left to the process that sends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    allocator.keep_freed_memory()  # as the commands of the command line do
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        import diptych.bench.backends  # noqa: F401, PLC0415  # before the memory is first measured

        worker = Worker()
        for line in sys.stdin:
            try:
                answer = worker.answer(json.loads(line))
            except Exception as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                answer = {"error": f"{kind}{error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
