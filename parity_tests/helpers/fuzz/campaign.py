"""Give readers a number of changed inputs each, and count the outcomes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .worker import PRESENT

ROOT = Path(__file__).parents[3]
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory: hundreds of thousands of files are written and flushed."""
GOOD = ("accepted", "refused")
"""The outcomes that a reader promises: a value, or one ValueError of one line with a name."""


@dataclass
class Campaign:
    """The outcomes of one reader's inputs."""

    reader: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Inputs whose outcome was neither "accepted" nor "refused"."""
    slowest_s: float = 0.0
    memory_growth: int = 0
    """The largest growth of the resident memory in bytes, over all inputs."""

    def add(self, line: dict[str, Any]) -> None:
        """Add a line that the worker printed."""
        if "counts" not in line:
            self.findings.append(line)
            return
        self.counts.update(line["counts"])
        self.slowest_s = max(self.slowest_s, line["slowest_s"])
        self.memory_growth = max(self.memory_growth, line["memory_growth"])


def fuzz(readers: Sequence[str], inputs: int) -> list[Campaign]:
    """Give each reader the inputs 0 to `inputs` - 1, in a process of their own.

    A process that dies by a signal is a finding, and another goes on after that input.
    """
    results = {reader: Campaign(reader) for reader in readers}
    jobs = [(reader, 0, inputs) for reader in readers]
    while jobs:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            process = _run(Path(folder), jobs)
            for line in map(json.loads, process.stdout.splitlines()):
                results[line["reader"]].add(line)
            if process.returncode == 0:
                break
            present = Path(folder) / PRESENT
            if process.returncode > 0 or not present.exists():
                raise RuntimeError(f"{jobs[0]}: the worker failed: {process.stderr[-2000:]}")
            reader, number = present.read_text().split()
        kind = signal.Signals(-process.returncode).name
        results[reader].add({"reader": reader, "index": int(number), "kind": kind, "message": ""})
        results[reader].counts[kind] += 1
        rest = jobs[[name for name, *_ in jobs].index(reader) :]
        results[reader].counts["before a signal"] += int(number) - rest[0][1]
        jobs = [(reader, int(number) + 1, inputs), *rest[1:]]
    return [*results.values()]


def _run(folder: Path, jobs: Sequence[tuple[str, int, int]]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "parity_tests"), str(ROOT)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-m", "helpers.fuzz.worker", str(folder)]
    command += [str(item) for job in jobs for item in job]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
