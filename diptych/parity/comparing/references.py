"""Further runs in float64, made only when a verdict needs them: a reference, and perturbed runs.

The reference is the arbiter in float32 and on CUDA. Perturbed runs measure the condition number of
a tensor, by which its bound may grow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.arrays import cast, map_arrays
from diptych.parity.measures.bounds import (
    FLOAT32_SAMPLES,
    NOISE_RATIO,
    PERTURBATION,
    PERTURBATIONS,
    SMALL,
    TINY,
    UNIT_ROUNDOFF,
    VANISHING,
    perturb,
    sensitivity,
)
from diptych.parity.measures.errors import noise_level, norm
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Plan, Side
from model_specs.common.key import Key

_FLOAT32 = np.dtype(np.float32)
PERTURBATION_KEY = Key(0).fold_in("nudges")  # another stream would move the measured bounds

Select = Callable[[Run], np.ndarray | None]
Change = Callable[[str, np.ndarray], np.ndarray]


class References:
    """Runs of one side in float64. `runs` counts them by purpose.

    `side` is the left model, or the right one if the left is a recording; None if neither can be
    run again. `first` is the side's run of the comparison.
    """

    def __init__(self, side: Side | None, plan: Plan, first: Run | None, dtype: np.dtype) -> None:
        self.side, self.first, self.dtype = side, first, dtype
        self.plan = _cast(plan, np.dtype(np.float64))
        self.runs = {"float64 reference": 0, "perturbed": 0, "float32": 0}
        self._perturbed: list[Run | None] = []

    @functools.cached_property
    def reference(self) -> Run | None:
        """The run in float64; the run of the comparison if that is in float64."""
        if self.first is not None and self.first.dtype == np.float64 and self.first.device == "cpu":
            return self.first
        return self._extra_run("float64 reference", np.float64, self.plan)

    def _extra_run(
        self, purpose: str, dtype: type, plan: Plan, change: Change | None = None
    ) -> Run | None:
        """A run of a copy in another dtype or with changed parameters; None if that fails.

        The copy may overflow, or raise: a model that mixes dtypes need not run in another one.
        """
        twin = self.side.twin(np.dtype(dtype)) if self.side is not None else None
        if twin is None:
            return None
        self.runs[purpose] += 1
        if change is not None:
            twin.change_parameters(change)
        try:
            with np.errstate(all="ignore"):
                return twin.run_once(plan)
        except Exception:
            return None

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
        condition number, so it stops when the error is allowed. It does not begin where no
        condition number could allow the error: no perturbation changes a tensor by more than twice
        its size.
        """
        limit, largest = bound(1.0), 0.0
        hopeless = error > bound(2 / PERTURBATION) and size > SMALL * self._scale
        if not size or hopeless:
            return limit
        if self.dtype == np.float64:
            limit = max(limit, bound(self._rounding_noise(select, mask) / size))
        for i in range(PERTURBATIONS):
            if error <= limit:
                return limit
            largest = max(largest, self._sensitivity(select, self._perturbation(i), mask))
            limit = max(limit, bound(largest / size))
        if error > limit and largest and self._is_noise(select, mask, largest * PERTURBATION):
            limit = max(limit, NOISE_RATIO * largest * PERTURBATION / size)
        return limit

    def _is_noise(self, select: Select, mask: np.ndarray | None, change: float) -> bool:
        """True for rounding errors: changed by any perturbation, and tiny beside the run's tensors.

        It finds the sums that are exactly 0 where the left computes them in float64 whatever its
        inputs are, as `1 / np.sqrt(n)` makes it do.
        """
        value = self._selected(select, self.reference, mask)
        size = 0.0 if value is None else norm(value)
        return change >= VANISHING * size and max(change, size) <= TINY * self._scale

    @functools.cached_property
    def _scale(self) -> float:
        """The largest norm of a gradient or an output of the run."""
        run = self.reference
        if run is None:
            return 0.0
        roots = [call for call in run.calls.values() if call.is_root]
        tensors = [*run.gradients.values(), *run.outputs.values()]
        tensors += [gradient for call in roots for gradient in call.input_grads.values()]
        return max((norm(t) for t in tensors if t.dtype.kind == "f"), default=0.0)

    def _rounding_noise(self, select: Select, mask: np.ndarray | None) -> float:
        """The change of a tensor between float64 and float32, per unit roundoff.

        It shows what no perturbation shows: a cancellation inside a layer. Some sums are exactly 0
        for all weights and cotangents, such as the gradient of a bias before a batch normalisation
        or of the keys of an attention, and hold nothing but rounding errors.
        """
        exact = None if self.reference is None else select(self.reference)
        rounded = None if self._float32 is None else select(self._float32)
        if exact is None or rounded is None or exact.shape != rounded.shape:
            return 0.0
        if mask is not None and mask.shape != exact.shape:
            return 0.0
        with np.errstate(all="ignore"):
            noise = np.abs(rounded.astype(np.float64) - exact)
            level = noise_level(np.where(np.isfinite(noise), noise, 0), exact, mask)
        return level / UNIT_ROUNDOFF

    def float32_noise(self, select: Select, mask: np.ndarray | None) -> float:
        """The largest error of the left in float32, over runs whose inputs are perturbed by a
        rounding: one run may have a small error by chance."""
        exact = None if self.reference is None else select(self.reference)
        levels = [0.0]
        for run in self._float32_samples:
            value = None if run is None else select(run)
            if value is not None and exact is not None and value.shape == exact.shape:
                noise = np.abs(value.astype(np.float64) - exact)
                levels.append(noise_level(noise, exact, mask))
        return max(level for level in levels if math.isfinite(level))

    @functools.cached_property
    def _float32_samples(self) -> list[Run | None]:
        runs: list[Run | None] = []
        for i in range(FLOAT32_SAMPLES):
            key = PERTURBATION_KEY.fold_in("float32").fold_in(i)
            change = functools.partial(self._rounded, key)
            plan = _cast(replace(self.plan, inputs=self._changed_inputs(change)), _FLOAT32)
            runs.append(self._extra_run("float32", np.float32, plan, change))
        return runs

    @staticmethod
    def _rounded(key: Key, name: str, array: np.ndarray) -> np.ndarray:
        return perturb(key.fold_in(name), array, UNIT_ROUNDOFF).astype(array.dtype)

    @functools.cached_property
    def _float32(self) -> Run | None:
        """The run in float32."""
        return self._extra_run("float32", np.float32, _cast(self.plan, _FLOAT32))

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
        key = PERTURBATION_KEY.fold_in(i)

        def change(name: str, array: np.ndarray) -> np.ndarray:
            return perturb(key.fold_in(name), array)

        plan = replace(self.plan, inputs=self._changed_inputs(change))
        return self._extra_run("perturbed", np.float64, plan, change)

    def _changed_inputs(self, change: Change) -> tuple[Any, ...]:
        """The inputs with changed noise. The batch of a loss may not leave its range."""
        inputs = self.plan.inputs
        fixed = len(inputs) - 1 if self.plan.root == "loss" else 0
        return (*inputs[:fixed], *map_arrays(lambda a: change("noise", a), inputs[fixed:]))


def _cast(plan: Plan, dtype: np.dtype) -> Plan:
    """The plan with inputs and cotangents in another dtype; they may overflow."""

    def cast_all(value: Any) -> Any:
        with np.errstate(all="ignore"):
            return map_arrays(lambda a: cast(a, dtype), value)

    return replace(
        plan,
        dtype=dtype,
        inputs=cast_all(plan.inputs),
        cotangents=lambda outputs: cast_all(plan.cotangents(outputs)),
    )
