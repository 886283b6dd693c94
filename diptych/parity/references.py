"""Further runs in float64, made only when a verdict needs them: a reference, and perturbed runs.

The reference is the arbiter in float32 and on CUDA. Perturbed runs measure the condition number of
a tensor, by which its bound may grow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.arrays import cast, map_arrays
from diptych.parity.bounds import (
    PERTURBATION,
    PERTURBATIONS,
    UNDETERMINED,
    perturb,
    sensitivity,
)
from diptych.parity.errors import norm
from diptych.parity.numpy_side import NumpySide
from diptych.parity.run import Run
from diptych.parity.sides import Plan, Side
from diptych.parity.trace import Arrays
from model_specs.common.key import Key

PERTURBATION_KEY = Key(0).fold_in("nudges")  # another stream would move the measured bounds

Select = Callable[[Run], np.ndarray | None]


class References:
    """Runs of one side in float64. `runs` counts them by purpose.

    `side` is the left model, or the right one if the left is a recording; None if neither can be
    run again. `first` is the side's run of the comparison.
    """

    def __init__(self, side: Side | None, plan: Plan, first: Run | None) -> None:
        self.side, self.first = side, first
        float64 = np.dtype(np.float64)
        self.plan = replace(plan, inputs=map_arrays(lambda a: cast(a, float64), plan.inputs))
        self.plan = replace(self.plan, cotangents=self._cotangents(plan))
        self.runs = {"float64 reference": 0, "perturbed": 0}
        self._perturbed: list[Run | None] = []

    @staticmethod
    def _cotangents(plan: Plan) -> Callable[[Arrays], Arrays]:
        return lambda outputs: {
            name: array.astype(np.float64) for name, array in plan.cotangents(outputs).items()
        }

    @functools.cached_property
    def reference(self) -> Run | None:
        """The run in float64; the run of the comparison if that is in float64."""
        if self.first is not None and self.first.dtype == np.float64 and self.first.device == "cpu":
            return self.first
        twin = self.side.twin() if self.side is not None else None
        if twin is None:
            return None
        self.runs["float64 reference"] += 1
        return twin.run_once(self.plan)

    def widen(
        self,
        select: Select,
        bound: Callable[[float], float],
        mask: np.ndarray | None,
        error: float,
        size: float,
    ) -> float:
        """The bound for the elements of `mask`: `bound(condition number)`, measured as needed.

        `size` is the norm that the error is relative to. Each further run can only raise the
        condition number, so it stops when the error is allowed.
        """
        limit, largest = bound(1.0), 0.0
        for i in range(PERTURBATIONS):
            if error <= limit:
                return limit
            largest = max(largest, self._sensitivity(select, self._perturbation(i), mask))
            limit = max(limit, bound(largest / size))
        value = self._selected(select, self.reference, mask)
        own = 0.0 if value is None else norm(value)
        if error > limit and largest * PERTURBATION >= UNDETERMINED * own:
            largest = max(largest, self._sensitivity(select, self._perturbed_backward, mask))
            limit = max(limit, bound(largest / size))
        return limit

    def _sensitivity(self, select: Select, run: Run | None, mask: np.ndarray | None) -> float:
        values = (self._selected(select, other, mask) for other in (self.reference, run))
        return sensitivity(*values)

    @staticmethod
    def _selected(select: Select, run: Run | None, mask: np.ndarray | None) -> np.ndarray | None:
        """The elements of a mask of one tensor of a run."""
        value = None if run is None else select(run)
        if mask is None or value is None:
            return value
        return value[mask] if value.shape == mask.shape else None

    def _perturbation(self, i: int) -> Run | None:
        """The run with the i-th random perturbation of every weight and noise."""
        while len(self._perturbed) <= i:
            self._perturbed.append(self._perturbed_run(len(self._perturbed)))
        return self._perturbed[i]

    def _perturbed_run(self, i: int) -> Run | None:
        twin = self.side.twin() if self.side is not None else None
        if twin is None:
            return None
        self.runs["perturbed"] += 1
        key = PERTURBATION_KEY.fold_in(i)
        twin.change_parameters(lambda name, array: perturb(key.fold_in(name), array))
        return twin.run_once(replace(self.plan, inputs=self._perturbed_inputs(key)))

    def _perturbed_inputs(self, key: Key) -> tuple[Any, ...]:
        """The inputs with perturbed noise. The batch of a loss may not leave its range."""
        inputs = self.plan.inputs
        fixed = len(inputs) - 1 if self.plan.root == "loss" else 0
        noise = key.fold_in("noise")
        return (*inputs[:fixed], *map_arrays(lambda a: perturb(noise, a), inputs[fixed:]))

    @functools.cached_property
    def _perturbed_backward(self) -> Run | None:
        """The run with all cotangents perturbed instead of weights and noise.

        Some sums are exactly 0 for all weights and noises, such as the gradient of a bias before a
        batch normalisation; only this perturbation shows the size of their summands.
        """
        twin = self.side.twin() if self.side is not None else None
        if not isinstance(twin, NumpySide):
            return None
        self.runs["perturbed"] += 1
        key = PERTURBATION_KEY.fold_in("cotangents")
        twin.perturb = lambda name, array: perturb(key.fold_in(name), array)
        return twin.run_once(self.plan)
