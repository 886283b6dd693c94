"""Give every reader a number of changed inputs, and count the outcomes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


@dataclass
class Campaign:
    """The outcomes of one reader's inputs."""

    reader: str
    inputs: int
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Inputs whose outcome was neither "accepted" nor "refused"."""
    slowest_s: float = 0.0
    memory_growth: int = 0
    """The largest growth of the resident memory in bytes, over all inputs."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, with the first ten findings."""
        return {**vars(self), "counts": dict(self.counts), "findings": self.findings[:10]}


def fuzz(reader: str, inputs: int, first: int = 0) -> Campaign:
    """Read `inputs` changed inputs, beginning with number `first`, in processes of their own.

    A process that dies by a signal is a finding, and another goes on after that input.
    """
    result = Campaign(reader, inputs)
    start, stop = first, first + inputs
    while start < stop:
        with tempfile.TemporaryDirectory() as folder:
            process = _start(reader, folder, start, stop)
            lines = [json.loads(line) for line in process.stdout.splitlines()]
            for line in lines:
                if "counts" in line:
                    result.counts.update(line["counts"])
                    result.slowest_s = max(result.slowest_s, line["slowest_s"])
                    result.memory_growth = max(result.memory_growth, line["memory_growth"])
                else:
                    result.findings.append(line)
            if process.returncode == 0:
                return result
            number = Path(folder) / ".number"
            if process.returncode > 0 or not number.exists():
                raise RuntimeError(f"{reader}: the worker failed: {process.stderr[-2000:]}")
            index = int(number.read_text())
            kind = signal.Signals(-process.returncode).name
        result.findings.append({"index": index, "kind": kind, "message": ""})
        result.counts[kind] += 1
        result.counts["read before a signal"] += index - start
        start = index + 1
    return result


def _start(reader: str, folder: str, start: int, stop: int) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "parity_tests"), str(ROOT)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "helpers.fuzz.worker", reader, folder, str(start), str(stop)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
