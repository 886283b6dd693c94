"""Prove every vjp of the left panel in 50 digits, and measure the float64 error of both panels.

    python benchmarks/many_digits.py

runs the cases of parity_tests/witness (half a minute on one core), prints one line for each, and
writes benchmarks/results/many_digits.json; `make results` then makes the tables of docs/witness.md.
Errors in float64 are in units in the last place (ulp): of an array's norm, and of single elements.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "parity_tests"))

from helpers.many_digits import DIGITS  # noqa: E402  (the tests' helpers are not installed)
from helpers.witness import functions, layers, models  # noqa: E402
from helpers.witness.coverage import functions_with_vjp  # noqa: E402
from helpers.witness.proof import Proof, prove  # noqa: E402
from helpers.witness.runs import Case  # noqa: E402

from diptych.runs import results  # noqa: E402

PARTS = ("left_values", "left_gradients", "right_values", "right_gradients")


def cases() -> list[tuple[str, str, str, Case]]:
    """(kind, name of the function, name of the case, case) of all cases of the witness."""
    names = {function: name for name, function in functions_with_vjp().items()}
    return [
        *(
            ("function", names[function], label, functions.CASES[label])
            for function, labels in functions.COVERED.items()
            for label in labels
        ),
        *(("layer", name, name, case) for name, case in layers.CASES.items()),
        *(("model", name, name, models.make_case(name)) for name in models.NAMES),
    ]


def row(kind: str, function: str, proof: Proof) -> dict[str, Any]:
    """The numbers of one case for the record."""
    errors = {part: getattr(proof, part) for part in PARTS}
    return {
        "kind": kind,
        "function": function,
        "gradients": proof.size,
        "vjp": _rounded(max(proof.vjp.values())),
        **{
            part: {"normwise": _rounded(error.normwise), "worst": _rounded(error.worst)}
            for part, error in errors.items()
        },
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    torch.set_num_threads(1)
    begun, rows = time.perf_counter(), {}
    for kind, function, name, case in cases():
        proof = prove(name, case)
        rows[name] = row(kind, function, proof)
        ulps = "  ".join(f"{getattr(proof, part).normwise:8.2f}" for part in PARTS)
        print(f"{name:45s} vjp {rows[name]['vjp']:.1e}  ulp {ulps}", flush=True)
    results.write(
        HERE / "results" / "many_digits.json",
        name="many_digits",
        command="python benchmarks/many_digits.py",
        seed=0,
        data="random numbers and weights",
        device="cpu",
        time_s=time.perf_counter() - begun,
        metrics={"digits": DIGITS, "returning_vjps": len(functions_with_vjp()), "proofs": rows},
    )


if __name__ == "__main__":
    main()
