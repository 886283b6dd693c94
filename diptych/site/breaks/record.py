"""Plant every fault in a copy of the packages, and record what the comparison says of it."""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import diptych
from diptych.site.breaks import planter
from diptych.site.breaks.fault import Fault, FaultError, read_faults

ROOT = Path(diptych.__file__).parents[1]
PACKAGES = ("model_specs", "numpy_ref", "torch_impl", "diptych")
TESTS = ("parity_tests", "pyproject.toml")
SLOWEST = {"vlae": 0, "conv_vae": 1}
"""The slowest pairs are planted first, so that no worker waits for another one at the end."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """A fault and what became of it when it was planted."""

    fault: Fault
    report: Json = field(default_factory=dict)
    """the report of the pair in float64, as Report.to_json; empty if it could not be made"""
    others: tuple[Json, ...] = ()
    """the reports of the pair in float32, and of the other variants in float64"""
    test: Json = field(default_factory=dict)
    """the witness: {test, failed, message}; empty if it was not run"""
    problem: str = ""
    """the reason why the page would be wrong about this fault"""

    @property
    def first(self) -> Json | None:
        """The row of the first diverging tensor."""
        return self.report.get("first_divergence")


def record_faults(
    console: Console, workers: int = 2, faults: Sequence[Fault] | None = None
) -> list[Recorded]:
    """Plant the faults, by default those of faults.toml, and compare their pairs.

    Each worker has a copy of the packages and of the tests. A fault that cannot be planted, or has
    another effect than expected, has a `problem`.
    """
    faults = read_faults() if faults is None else list(faults)
    if not hasattr(os, "fork"):
        return [
            Recorded(f, problem=f"{f.name}: not planted, this system has no fork") for f in faults
        ]
    with contextlib.ExitStack() as stack, console.status("planting faults") as status:
        processes: queue.SimpleQueue[PlantingProcess] = queue.SimpleQueue()
        for _ in range(min(workers, len(faults))):
            processes.put(stack.enter_context(planting_process()))

        def record(fault: Fault) -> Recorded:
            process = processes.get()
            status.update(f"planting {fault.name}")
            try:
                return _record(fault, process)
            except FaultError as error:
                return Recorded(fault, problem=f"{fault.name}: {error}")
            finally:
                processes.put(process)

        slowest_first = sorted(faults, key=lambda fault: SLOWEST.get(fault.model, len(SLOWEST)))
        with ThreadPoolExecutor(workers) as pool:
            recorded = {r.fault.name: r for r in pool.map(record, slowest_first)}
    return [recorded[fault.name] for fault in faults]


@dataclass(frozen=True)
class PlantingProcess:
    """A process of planter.py, and the copy of the packages in which it plants."""

    process: subprocess.Popen[str]
    folder: Path

    def answer(self, job: Json) -> Json:
        """Its answer to a job. Raises: FaultError if it has none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = ""
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps({"folder": str(self.folder), **job}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the planting process died"}
        if answer["error"]:
            raise FaultError(str(answer["error"]).strip().splitlines()[-1])
        return answer


@contextlib.contextmanager
def planting_process() -> Iterator[PlantingProcess]:
    """A PlantingProcess, which ends with the context."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", planter.__file__]  # without the folder of the file in the path
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory(prefix="diptych-faults-") as name,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process,
    ):
        folder = Path(name)
        for part in (*PACKAGES, *TESTS):
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, folder / part)
            elif (ROOT / part).is_file():
                shutil.copy2(ROOT / part, folder / part)
        for package in PACKAGES:  # old bytecode may stand beside them
            compileall.compile_dir(folder / package, quiet=2)
        yield PlantingProcess(process, folder)


def _record(fault: Fault, process: PlantingProcess) -> Recorded:
    checks = [(fault.pair, "float64")]
    checks += [] if fault.float32 == "skipped" else [(fault.pair, "float32")]
    checks += [(pair, "float64") for pair in fault.also]
    can_test = importlib.util.find_spec("pytest") and (process.folder / TESTS[0]).is_dir()
    tests = [fault.witness] if fault.witness and can_test else []
    job = {"texts": fault.texts(process.folder), "checks": checks, "tests": tests}
    answer = process.answer(job)
    report, *others = answer["reports"]
    test = answer["tests"][0] if tests else {}
    recorded = Recorded(fault, report, tuple(others), test)
    return replace(recorded, problem=_problem(recorded))


def _problem(recorded: Recorded) -> str:
    """The difference between the expected and the observed effect of a fault."""
    fault, report = recorded.fault, recorded.report
    float32 = next((other for other in recorded.others if other["dtype"] == "float32"), {})
    first = recorded.first["name"] if recorded.first else ""
    problem = ""
    if fault.expect and report["ok"]:
        problem = f"{fault.pair} stays green; it should diverge in {fault.expect}"
    elif first != fault.expect:
        problem = f"the first divergence is {first or report['verdict']}, not {fault.expect}"
    elif not fault.expect and not report["ok"]:
        problem = f"{fault.pair} should stay green, got {report['verdict']}"
    elif float32 and float32["ok"] != (fault.float32 == "agrees"):
        problem = f"{fault.pair} in float32 should be: {fault.float32}; got {float32['verdict']}"
    elif recorded.test and not recorded.test["failed"]:
        problem = f"{fault.witness} passes and should fail"
    return f"{fault.name}: {problem}" if problem else ""
