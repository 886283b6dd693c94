"""Compare the strangers' pairs, plant their faults, and write benchmarks/results/strangers.json.

PYTHONPATH=. python parity_tests/parity/strangers/measure.py
"""

import contextlib
import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import faults_cs231n
import faults_frameworks
import faults_numpy

from diptych.runs import results

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parents[2] / "benchmarks/results/strangers.json"
FAULTS = faults_cs231n.FAULTS | faults_numpy.FAULTS | faults_frameworks.FAULTS
ADAPTER_LINES = 5
REQUIREMENTS = {"autograd_mlp": "autograd", "jax_dense": "jax", "jax_rnn": "jax"}


NOT_LOCATED = {
    "autograd_mlp": {
        "np.dot(getval(inputs), W) + b": "layer0 and layer1 have no gradient to compare, which the "
        "report says; the first row with one is the network's input",
    }
}
"""The faults of a pair, by their faulty code, that the report names elsewhere, and why."""


class Outcome(NamedTuple):
    """The first line of the report on one planted fault."""

    code: str
    faulty_code: str
    place: str
    verdict: str
    detected: bool
    located: bool


def source(name):
    return (FOLDER / f"{name}.py").read_text()


def report(name, code="", faulty_code=""):
    """The report on a pair in whose source `code` is replaced."""
    text = source(name)
    if code and text.count(code) != 1:
        raise ValueError(f"{name}: got {text.count(code)} times {code!r}, takes one occurrence")
    module = ModuleType(name)
    text = text.replace(code, faulty_code) if code else text
    exec(compile(text, FOLDER / f"{name}.py", "exec"), vars(module))
    return module.compare()


def outcomes(name):
    """One outcome for each fault of a pair; jax runs without its compiler, which takes seconds."""
    for code, faulty_code, place in FAULTS[name]:
        try:
            with _without_jit(name):
                result = report(name, code, faulty_code)
            verdict, ok = result.verdict, result.ok
        except ValueError as error:  # code that cannot be compared, with a sentence that says why
            verdict, ok = str(error), False
        yield Outcome(code, faulty_code, place, verdict, not ok, not ok and place in verdict)


def _without_jit(name):
    if REQUIREMENTS.get(name) != "jax":
        return contextlib.nullcontext()
    return importlib.import_module("jax").disable_jit()


def adapter(name):
    """The lines between the markers of the adapter, without blank ones."""
    _, rest = source(name).split("    # adapter\n")
    lines, _ = rest.split("    # end of adapter\n")
    return [line for line in lines.splitlines() if line.strip()]


def tap_lines(name):
    """The number of lines that record a tensor inside the implementations."""
    return sum("parity.tap" in line for line in source(name).splitlines())


def main():
    begun, table = time.perf_counter(), {}
    for name in FAULTS:
        planted = list(outcomes(name))
        table[name] = {
            "adapter lines": len(adapter(name)),
            "lines with taps": tap_lines(name),
            "agrees": report(name).ok,
            "faults": len(planted),
            "detected": sum(r.detected for r in planted),
            "located": sum(r.located for r in planted),
            "planted": [r._asdict() for r in planted],
            "not located": NOT_LOCATED.get(name, {}),
        }
        print(name, *list(table[name].values())[:6])
    total = {
        key: sum(row[key] for row in table.values()) for key in ("faults", "detected", "located")
    }
    total["rate of detection"] = total["detected"] / total["faults"]
    total["rate of localisation"] = total["located"] / total["faults"]
    results.write(
        RESULTS,
        name="strangers",
        command="python parity_tests/parity/strangers/measure.py",
        seed=0,
        data="random numbers and weights",
        device="cpu",
        time_s=time.perf_counter() - begun,
        metrics={"total": total, "pairs": table},
    )
    print(total)


if __name__ == "__main__":
    sys.exit(main())
