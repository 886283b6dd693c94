"""The distance of each time to the limit of the machine: its roofline, and where the rest goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diptych.bench import peaks
from diptych.bench.backends import BACKENDS
from diptych.bench.case import Case
from diptych.bench.costs import cost
from diptych.bench.protocol import WorkerProcess
from diptych.bench.roofline import fraction, limit

Row = dict[str, Any]
PROFILED = ("numpy", "torch", "torch cuda")
"""Backends whose training step is profiled: a compiled or captured step has few names."""
NOTHING: Row = {"flops": None, "bytes": None, "roofline": None, "bound": None}


class Peaks:
    """Peak rates by device kind and dtype, each measured once by a worker of its own.

    On a CPU the better of NumPy's and torch's rates is the peak of both.
    """

    def __init__(self, threads: int, *, quick: bool) -> None:
        self.threads, self.quick = threads, quick
        self._peaks: dict[tuple[str, str], peaks.Peak] = {}

    def of(self, device: str, dtype: str) -> peaks.Peak:
        """The peak of a device in a dtype."""
        if (device, dtype) not in self._peaks:
            kinds = ("torch",) if device != "cpu" else peaks.BACKENDS
            measured = [self._measure(kind, device, dtype) for kind in kinds]
            self._peaks[device, dtype] = peaks.best(measured)
        return self._peaks[device, dtype]

    def _measure(self, kind: str, device: str, dtype: str) -> peaks.Peak:
        worker = WorkerProcess(self.threads)
        try:
            answer = worker.ask(
                do="peak", backend=kind, dtype=dtype, device=device, quick=self.quick
            )
        finally:
            worker.kill()
        return peaks.Peak(**answer)

    def rows(self) -> list[Row]:
        """All peaks as rows of the metric "peaks"."""
        return [
            {"device": device, "dtype": dtype, "flops": peak.flops, "bytes": peak.bytes}
            for (device, dtype), peak in self._peaks.items()
        ]

    def distance(self, case: Case, operation: str, backend: str, seconds: float) -> Row:
        """The FLOPs and bytes of one call, and the share of the roofline that it reaches."""
        try:
            work = cost(case.pair, case.config, case.batch_size, case.dtype, operation)
        except ValueError:  # a part, or a pair whose work is not known
            return NOTHING
        peak = self.of(BACKENDS[backend].device, case.dtype)
        return {
            "flops": work.flops,
            "bytes": work.bytes,
            "roofline": fraction(work, peak, seconds),
            "bound": limit(work, peak).bound,
        }


def profile(worker: WorkerProcess, operation: str) -> Sequence[Row]:
    """The five parts of an operation that take most of its time: name and share."""
    rows: list[Row] = worker.ask(do="profile", operation=operation)["rows"]
    return rows
