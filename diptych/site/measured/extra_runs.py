"""Runs for files that no loss reaches: optimisers, random streams, the score function."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

import numpy_ref.score_function
import torch_impl.score_function
from diptych.arrays import to_numpy
from diptych.parity import streams
from diptych.parity.measures.bounds import ELEMENTWISE, FLOAT64_BOUND, rounding_bound
from diptych.parity.measures.rows import Row, compare_arrays
from diptych.parity.reports.report import Report
from diptych.site.measured.report_rows import PlacedRow
from diptych.site.measured.traced_run import Losses, TracedRun
from model_specs.common.key import Key
from numpy_ref.nn import averaging, optim, random
from numpy_ref.nn.module import Parameter
from torch_impl.nn import averaging as torch_averaging

OPTIMISERS, SCORE = "optimisers", "score function"
EXTRAS = (streams.NAME, OPTIMISERS, SCORE)
STEPS = 5
SHAPES = {"weight": (5, 3), "bias": (5,)}
SCORE_PAIR = "mlp_vae[sampled,samples=3]"
SCORE_LOSSES: Losses = (
    functools.partial(numpy_ref.score_function.score_function_loss, baseline="leave_one_out"),
    functools.partial(torch_impl.score_function.score_function_loss, baseline="leave_one_out"),
)
RMSPROP = {"lr": 0.01, "alpha": 0.9, "momentum": 0.9, "centered": True}
RULES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "SGD": (optim.SGD, torch.optim.SGD, {"lr": 0.03, "momentum": 0.9, "weight_decay": 0.3}),
    "RMSprop": (optim.RMSprop, torch.optim.RMSprop, RMSPROP),
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 0.02}),
    "Adamax": (optim.Adamax, torch.optim.Adamax, {"lr": 0.02}),
}
MAX_NORM, DECAY = 1.0, 0.9
Values = dict[str, Any]
"""(left, right) by the name of the tensor"""


def streams_rows(report: Report) -> list[PlacedRow]:
    """The rows of the random streams, each at the function that draws it."""
    return [PlacedRow("nn/random", re.split(r"\W", row.name)[0], row) for row in report.rows]


def optimiser_rows(dtype: str) -> Iterator[PlacedRow]:
    """Some steps of every optimiser on both sides, with clipped gradients and an average."""
    for rule in RULES:
        for place, values in _trajectory(rule, dtype).items():
            for name, (left, right) in values.items():
                row = _row(f"{name} under {rule}", "value", left, right, dtype)
                yield PlacedRow(*place, row)


def _trajectory(rule: str, dtype: str) -> dict[tuple[str, str], Values]:
    """Weights, state, average and norms of both sides after the steps, by file and definition."""
    left_class, right_class, options = RULES[rule]
    ours = {name: Parameter(_draw(f"{rule} {name}", name, dtype)) for name in SHAPES}
    theirs = {n: nn.Parameter(torch.tensor(p.data.copy())) for n, p in ours.items()}
    left, right = left_class(ours.items(), **options), right_class(theirs.values(), **options)
    average, right_average = (
        averaging.PolyakAverage(ours.items(), DECAY),
        torch_averaging.PolyakAverage(theirs.items(), DECAY),
    )
    norms: list[tuple[float, float]] = []
    for step in range(STEPS):
        for name, parameter in ours.items():
            parameter.grad = _draw(f"{rule} {name} {step}", name, dtype)
            theirs[name].grad = torch.tensor(parameter.grad.copy())
        norm = optim.clip_grad_norm(ours.values(), MAX_NORM)
        norms.append((norm, float(nn.utils.clip_grad_norm_(theirs.values(), MAX_NORM))))
        left.step()
        right.step()
        average.update()
        right_average.update()
    states = {
        f"{name}.{buffer}": (left.state[name][buffer], right.state[theirs[name]][buffer])
        for name in ours
        for buffer in left.buffers
    }
    return {
        ("nn/optim", f"{rule}._update"): {n: (p.data, theirs[n]) for n, p in ours.items()} | states,
        ("nn/averaging", "PolyakAverage.update"): {
            f"average of {n}": (average.averages[n], right_average.averages[n]) for n in ours
        },
        ("nn/optim", "clip_grad_norm"): {
            "norms": tuple(np.array(side) for side in zip(*norms, strict=True))
        },
    }


def optimisers_report(dtype: str, rows: list[PlacedRow]) -> Report:
    """The report of the optimisers' steps."""
    command = "pytest parity_tests/nn/test_optim.py"
    return Report(OPTIMISERS, dtype, "cpu", tuple(r.row for r in rows), reproducer=command)


def score_report(run: TracedRun) -> Report:
    """The report of the loss by scores: the gradients of all parameters."""
    rows = tuple(
        _row(name, "parameter gradient", left, right, run.dtype, len(run.trace.frames))
        for name, (left, right, _) in run.gradients.items()
    )
    command = "pytest parity_tests/models/test_score_function.py"
    return Report(SCORE, run.dtype, "cpu", rows, problem=run.problem, reproducer=command)


def _row(name: str, kind: str, a: Any, b: Any, dtype: str, roundings: int = 0) -> Row:
    own = rounding_bound(np.dtype(dtype), roundings + STEPS * ELEMENTWISE)
    bound = FLOAT64_BOUND if dtype == "float64" else own
    return compare_arrays(name, kind, np.asarray(a), to_numpy(b), bound)


def _draw(purpose: str, name: str, dtype: str) -> np.ndarray:
    return random.normal(Key(0).fold_in(purpose), SHAPES[name], dtype=np.dtype(dtype))
