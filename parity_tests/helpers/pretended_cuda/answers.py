"""The requests that `server` answers, each a function of JSON values."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from helpers.pretended_cuda import faults
from helpers.pretended_cuda.ledger import LEDGER

Cuda = Callable[[], Any]


def snippet(cuda: Cuda, source: str) -> dict[str, Any]:
    """Run a few lines on the device; return their variable `result`, and the events."""
    import torch  # noqa: PLC0415

    names: dict[str, Any] = {"torch": torch, "result": None}
    error = None
    with cuda():
        try:
            exec(compile(source, "snippet.py", "exec"), names)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    return {"result": names["result"], "error": error, "ledger": LEDGER.as_json()}


def situations(cuda: Cuda, cases: list[list[str]]) -> list[dict[str, Any]]:
    """Run situations (kind, name, dtype); return what differs from the CPU, and the events."""
    from helpers.pretended_cuda.situations import Case, problems  # noqa: PLC0415

    results = []
    for kind, name, dtype in cases:
        LEDGER.clear()
        try:
            lines = problems(kind, Case(name, dtype), cuda)
        except Exception:
            lines = traceback.format_exc().splitlines()[-6:]
        results.append({"problems": lines, "ledger": LEDGER.as_json()})
    return results


def steps(cuda: Cuda, model: str, options: dict[str, Any]) -> dict[str, Any]:
    """Count the synchronisations and copies of a training step."""
    from helpers.pretended_cuda.steps import count  # noqa: PLC0415

    return count(model, cuda, **options)


def resident_steps(cuda: Cuda, model: str, options: dict[str, Any]) -> dict[str, Any]:
    """Count the synchronisations and copies of steps on the resident path."""
    from helpers.pretended_cuda.steps import count_resident  # noqa: PLC0415

    return count_resident(model, cuda, **options)


def run(cuda: Cuda, model: str, resident: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Train for an epoch; return the names of arrays that differ from a run on the CPU."""
    from helpers.pretended_cuda.steps import weights_that_differ  # noqa: PLC0415

    names = weights_that_differ(model, cuda, resident, **options)
    return {"differ": names, "ledger": LEDGER.as_json()}


def fault(cuda: Cuda, file: str, old: str, new: str, case: list[str]) -> dict[str, Any]:
    """Run a situation with a fault in the source; `place` is the line of the fault."""
    line = faults.plant(file, old, new)
    (result,) = situations(cuda, [case])
    return result | {"place": f"{file}:{line}"}


ANSWERS: dict[str, Callable[..., Any]] = {
    "snippet": snippet,
    "situations": situations,
    "steps": steps,
    "resident steps": resident_steps,
    "run": run,
    "fault": fault,
}
