"""The parity check before the clock starts: each backend against the left panel in float64.

A backend's worker writes the loss terms and the gradients of the very loss that it times to a file.
They are compared with those of the left panel, under the bounds of `diptych.parity`: 1e-13 in
float64 on the CPU; in float32 or on a GPU a bound that follows from dtype and size, against the
left panel in float64. A bound grows with the rounding errors that noisy runs measure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diptych.arrays import leaves, to_numpy
from diptych.bench.case import KEY, Case
from diptych.bench.passes import INPUT, NumpyBackward, TorchBackward
from diptych.bench.plain_steps import NAME as PLAIN
from diptych.bench.steps import Arrays
from diptych.options.options import Options
from diptych.parity.comparing.items import Item, TensorComparison
from diptych.parity.comparing.references import References
from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures.bounds import FLOAT64_BOUND, rounding_bound
from diptych.parity.measures.rows import Row, compare_arrays
from diptych.parity.running.numpy_side import NumpySide
from diptych.parity.running.sides import Plan

TERM, GRADIENT = "loss term ", "gradient "
PART_ROUNDINGS = 4096
"""Roundings of a part, whose calls are not traced: the longest sum in one of them."""


def save(file: Path, terms: Arrays, gradients: Arrays) -> None:
    """Write loss terms and gradients as an .npz file, which only `Comparer` reads."""
    named = {f"{TERM}{name}": array for name, array in terms.items()}
    named |= {f"{GRADIENT}{name}": array for name, array in gradients.items()}
    np.savez(file, **named)  # type: ignore[arg-type]


def save_part(file: Path, run: Callable[[], Any]) -> None:
    """Run a part once and write its gradients, or the arrays that it returns if it has none."""
    if isinstance(run, NumpyBackward | TorchBackward):
        named = {f"{GRADIENT}{name}": array for name, array in run.values().items()}
    else:
        named = {f"result{name}": to_numpy(array) for name, array in leaves(run())}
    np.savez(file, **named)  # type: ignore[arg-type]


class Comparer:
    """Compares the files of all backends that are timed on one case."""

    def compare(
        self, case: list[Any], files: dict[str, str], devices: dict[str, str], part: str = ""
    ) -> dict[str, Any]:
        """Compare each file; returns by backend {tensors, ok, worst, bound, tensor, text}."""
        timed = Case(*case)
        arrays = {name: _read(Path(file)) for name, file in files.items()}
        if part:
            return {"backends": _compare_part(timed, arrays)}
        result = {}
        panels = {False: [n for n in arrays if n != PLAIN], True: [n for n in arrays if n == PLAIN]}
        for plain, names in panels.items():
            if names:
                reference = Reference(timed.without_dropout() if plain else timed)
                for name in names:
                    rows = reference.rows(arrays[name], devices[name], only_total=plain)
                    result[name] = _summary(rows)
        return {"backends": {name: result[name] for name in arrays}}


class Reference:
    """The left panel's loss and gradients of a case, with what bounds their errors."""

    def __init__(self, case: Case) -> None:
        self.dtype = np.dtype(case.dtype)
        left = case.pair.left(case.config, KEY, dtype=case.dtype)
        side = NumpySide(left, "left")
        methods = {(path, "forward") for path in side.modules if "forward" in side.defines(path)}
        noise = left.draw_noise(KEY, case.batch_size)
        inputs = (case.batch(), noise)
        plan = Plan(
            "loss", inputs, {}, lambda outputs: {}, methods | {("", "loss")}, {}, self.dtype
        )
        self.first = side.run_once(plan)
        self.references = References(side, plan, self.first, self.dtype)
        self.roundings = sum(
            roundings(call, side.modules.get(call.module), phase)
            for phase, call in self.first.events
            if phase != "cotangent"
        )

    def rows(self, arrays: Arrays, device: str, *, only_total: bool = False) -> list[Row]:
        """Compare the loss terms and the gradients that a backend computed."""
        arbitrated = self.dtype != np.float64 or device != "cpu"
        compare = TensorComparison(self.dtype, self.references, Options(), arbitrated=arbitrated)
        terms = {n.removeprefix("."): a for n, a in self.first.outputs.items()}
        known = {TERM + n for n in terms} | {GRADIENT + n for n in self.first.gradients}
        rows = []
        for title in [*known, *(name for name in arrays if name not in known)]:
            name = title.removeprefix(TERM).removeprefix(GRADIENT)
            is_term = title.startswith(TERM)
            if is_term and title not in arrays and (only_total or name.startswith("state")):
                continue
            left = terms.get(name) if is_term else self.first.gradients.get(name)
            kind = "output" if is_term else "parameter gradient"
            right = arrays.get(title)
            select = _term(name) if is_term else _gradient(name)
            if left is not None and right is not None and np.array_equal(left, right):
                rows.append(Row(title, kind, left.shape, 0.0, FLOAT64_BOUND))  # sorts nothing
                continue
            rows.append(
                compare.row(Item(title, kind, None, name, left, right, select, self.roundings))
            )
        return rows


def _term(name: str) -> Any:
    return lambda run: run.outputs.get(f".{name}")


def _gradient(name: str) -> Any:
    return lambda run: run.gradients.get(name)


def _read(file: Path) -> Arrays:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _compare_part(case: Case, arrays: dict[str, Arrays]) -> dict[str, Any]:
    """Compare what each backend's part computes with that of the first backend, the left panel.

    An input that needs no gradient, such as data, has none on the right.
    """
    bound = rounding_bound(np.dtype(case.dtype), PART_ROUNDINGS)
    bound = max(bound, FLOAT64_BOUND) if case.dtype == "float64" else bound
    first = next(iter(arrays.values()))
    result = {}
    for backend, own in arrays.items():
        rows = [
            compare_arrays(name, "output", own.get(name), first.get(name), bound)
            for name in {**first, **own}
            if name in own or name != GRADIENT + INPUT
        ]
        result[backend] = _summary(rows)
    return result


def _summary(rows: list[Row]) -> dict[str, Any]:
    """The outcome of one backend's rows, ready for JSON; the row nearest to its bound is named."""
    worst = max(rows, key=lambda row: row.excess)
    return {
        "ok": all(row.ok for row in rows),
        "tensors": len(rows),
        "error": worst.error,
        "bound": worst.bound,
        "tensor": worst.name,
        "failures": [str(row) for row in rows if not row.ok],
    }
