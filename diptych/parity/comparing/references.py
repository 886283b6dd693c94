"""Further runs in float64, made only when a verdict needs them: a reference, and noisy runs.

The reference is the arbiter in float32 and on CUDA. Noisy runs measure how large the rounding
errors of a tensor are; its bound may grow with them.
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
    NO_DIGIT,
    NOISE,
    NOISE_RATIO,
    NOISY_RUNS,
    SMALL,
    perturb,
)
from diptych.parity.measures.errors import noise_level, norm
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Plan, Side
from diptych.parity.running.trace import Arrays
from model_specs.common.key import Key

NOISE_KEY = Key(0).fold_in("nudges")

Select = Callable[[Run], np.ndarray | None]


class References:
    """Runs of one side in float64. `runs` counts them by purpose.

    `side` is the left model, or the right one if the left is a recording; None if neither can be
    run again. `first` is the side's run of the comparison. `translate` puts a run under the left's
    names.
    """

    def __init__(
        self,
        side: Side | None,
        plan: Plan,
        first: Run | None,
        dtype: np.dtype,
        translate: Callable[[Run], Run] = lambda run: run,
    ) -> None:
        self.side, self.translate = side, translate
        self.first = None if first is None else translate(first)
        self.unit = float(np.finfo(dtype).eps) / 2
        self.plan = _in_float64(plan)
        self.runs = {"float64 reference": 0, "noisy": 0}
        self._noisy: list[Run | None] = []

    @functools.cached_property
    def reference(self) -> Run | None:
        """The run in float64; the run of the comparison if that is in float64."""
        if self.first is not None and self.first.dtype == np.float64 and self.first.device == "cpu":
            return self.first
        return self._extra_run("float64 reference", lambda twin: twin.run_once(self.plan))

    def widen(
        self, select: Select, bound: float, mask: np.ndarray | None, error: float, size: float
    ) -> float:
        """The bound for the elements of `mask`, which grows with their rounding errors.

            max(bound, NOISE_RATIO * unit roundoff * change in a noisy run / NOISE / size)

        `size` is the norm that the error is relative to. Each noisy run can only raise the bound,
        so they stop when the error is allowed.
        """
        if self.side is None and mask is not None and size:
            return max(bound, self._rounding_of_largest(select, mask) / size)
        for i in range(NOISY_RUNS):
            if error <= bound or not size:
                break
            change, exact = self._change(select, self._noisy_run(i), mask)
            noise = NOISE_RATIO * self.unit * change / NOISE / size
            if mask is None and exact > SMALL * self._scale:
                noise = min(noise, NO_DIGIT)
            bound = max(bound, noise)
        return bound

    def _rounding_of_largest(self, select: Select, mask: np.ndarray) -> float:
        """Rounding errors of the tensor's largest element, in each element of the mask.

        It stands for the noise between two recordings, of which nothing can be run again.
        """
        exact = None if self.first is None else select(self.first)
        if exact is None or exact.shape != mask.shape:
            return 0.0
        largest = float(np.abs(exact).max(initial=0.0))
        return NOISE_RATIO * self.unit * largest * math.sqrt(int(mask.sum()))

    def _change(
        self, select: Select, run: Run | None, mask: np.ndarray | None
    ) -> tuple[float, float]:
        """Norms of the change of a tensor's elements in a noisy run, and of the elements.

        The change is 0 if it is not known.
        """
        values = [None if r is None else select(r) for r in (self.reference, run)]
        exact, noisy = values
        if exact is None or noisy is None or exact.shape != noisy.shape:
            return 0.0, 0.0
        if mask is not None and mask.shape != exact.shape:
            return 0.0, 0.0
        with np.errstate(all="ignore"):
            change = np.abs(noisy - exact)
            level = noise_level(np.where(np.isfinite(change), change, 0.0), exact, mask)
        return level, norm(exact if mask is None else exact[mask])

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

    def _noisy_run(self, i: int) -> Run | None:
        """The run with the i-th random errors in parameters, noise, cotangents and operations."""
        while len(self._noisy) <= i:
            key = NOISE_KEY.fold_in(len(self._noisy))
            self._noisy.append(self._extra_run("noisy", functools.partial(self._run_noisily, key)))
        return self._noisy[i]

    def _run_noisily(self, key: Key, twin: Side) -> Run:
        twin.change_parameters(lambda name, array: perturb(key.fold_in(name), array))
        inputs = self.plan.inputs
        # the batch of a loss may not leave its range
        fixed = len(inputs) - 1 if self.plan.root == "loss" else 0
        noise = key.fold_in("noise")
        changed = map_arrays(lambda a: perturb(noise, a), inputs[fixed:])

        def cotangents(outputs: Arrays) -> Arrays:
            exact = self.plan.cotangents(outputs)
            # a product with integers, which stay exact, rounds as if these had errors
            return {n: perturb(key.fold_in("cotangents").fold_in(n), a) for n, a in exact.items()}

        plan = replace(self.plan, inputs=(*inputs[:fixed], *changed), cotangents=cotangents)
        return twin.run_noisily(plan, key.words[0], NOISE)

    def _extra_run(self, purpose: str, run: Callable[[Side], Run]) -> Run | None:
        """A run of a copy in float64; None if there is no copy or if it raises."""
        try:
            twin = self.side.twin(np.dtype(np.float64)) if self.side is not None else None
            if twin is None:
                return None
            self.runs[purpose] += 1
            with np.errstate(all="ignore"):
                return self.translate(run(twin))
        except Exception:
            return None


def _in_float64(plan: Plan) -> Plan:
    """The plan with inputs and cotangents in float64."""
    dtype = np.dtype(np.float64)

    def convert(value: Any) -> Any:
        return map_arrays(lambda a: cast(a, dtype), value)

    return replace(
        plan,
        dtype=dtype,
        inputs=convert(plan.inputs),
        cotangents=lambda outputs: convert(plan.cotangents(outputs)),
    )
