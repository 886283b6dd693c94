"""Run two models on one batch and one noise, and compare what they computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from diptych.arrays import cast, leaves, map_arrays, to_numpy
from diptych.options.options import Options
from diptych.parity.comparing.cotangents import Cotangents, contiguous
from diptych.parity.comparing.items import TensorComparison
from diptych.parity.comparing.origins import Origins
from diptych.parity.comparing.references import References
from diptych.parity.comparing.states import compare_states
from diptych.parity.comparing.tensors import Tensors
from diptych.parity.measures.bounds import check_precision
from diptych.parity.measures.rows import ROOT_CAUSE, Row, masks_equal
from diptych.parity.recordings.recorded_side import RecordedSide, common_part, other_cotangents
from diptych.parity.reports.report import Report
from diptych.parity.running.alignment import Alignment
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Plan, Side
from diptych.parity.running.torch_side import unusable
from diptych.parity.running.trace import Arrays


class Comparison:
    """Compares two sides: parameters first, then every tensor in the left's order of computation.

    In float64 on the CPU the two sides are compared with each other. In float32 or on CUDA
    (`arbitrated`) each is compared with the left side in float64.
    """

    def __init__(
        self, left: Side, right: Side, batch: Any, noise: Any, options: Options, dtype: np.dtype
    ) -> None:
        self.left, self.right, self.options, self.dtype = left, right, options, dtype
        for side in (left, right):
            check_precision(side.dtype, dtype, side.label)
        self.descriptions = left.describe(), right.describe()
        options.check(
            *([*d.state, *s.modules] for d, s in zip(self.descriptions, (left, right), strict=True))
        )
        self.alignment = Alignment(left, right, options)
        self.root = self._root()
        inputs = batch if isinstance(batch, tuple) and not hasattr(batch, "_fields") else (batch,)
        inputs = (*inputs, noise) if self.root == "loss" and noise is not None else inputs
        for name, array in leaves(inputs):
            if isinstance(array, torch.Tensor) and (reason := unusable(array)) is not None:
                raise ValueError(f"batch: {name} is {reason}")
        self.inputs = map_arrays(lambda array: cast(to_numpy(array), dtype), inputs)
        self.device = self.right.device if self.right.device != "cpu" else self.left.device
        self.arbitrated = dtype != np.float64 or self.device != "cpu"
        self.cotangents = Cotangents(left.cotangents, right.cotangents, options, dtype)

    def _root(self) -> str:
        """The method that is run: `loss` if both have it, else `forward`."""
        methods = {m for path, m in self.alignment.left_methods if path == ""}
        for root in ("loss", "forward"):
            if root in methods:
                return root
        names = [type(side.model).__name__ for side in (self.left, self.right)]
        raise ValueError(
            f"pair: {names[0]} and {names[1]} share neither `loss` nor `forward`, "
            "take one of them on both"
        )

    def left_plan(self) -> Plan:
        """The plan of the left's runs."""
        return Plan(
            self.root,
            self.inputs,
            map_arrays(lambda array: cast(to_numpy(array), self.dtype), dict(self.options.kwargs)),
            self.cotangents.of_left,
            self.alignment.left_methods,
            self.alignment.left_names,
            self.dtype,
        )

    def right_plan(self) -> Plan:
        """The plan of the right's runs, whose cotangents follow from the outputs of the left's."""
        return replace(
            self.left_plan(),
            inputs=self._right_inputs(),
            cotangents=self.cotangents.of_right,
            methods=self.alignment.right_methods,
            names=self.alignment.right_names,
        )

    def report(self, name: str) -> Report:
        """Run both sides and compare them."""
        plan = self.left_plan()
        left = self.left.run(plan)
        self.cotangents.left_outputs = left.outputs
        right = self.right.run(self.right_plan())
        left, right = self._common(left, right)
        if self.left.can_run:
            self.references = References(self.left, plan, left, self.dtype)
        else:
            side = self.right if self.right.can_run else None
            self.references = References(
                side, self.right_plan(), right, self.dtype, self._under_left_names
            )
        tensors = Tensors(self.left, self.descriptions, self.alignment, self.options, left, right)
        rows = [] if self._problem else self._rows(tensors, left, right)
        return Report(
            name,
            str(self.dtype),
            self.device,
            tuple(rows),
            masks_equal(rows),
            problem=self._problem,
            not_compared=self._not_compared(tensors),
            options=self.options.used(),
            sources=self._sources(rows),
            runs={"left": self.left.count, "right": self.right.count, **self.references.runs},
        )

    def _common(self, left: Run, right: Run) -> tuple[Run, Run]:
        """The two runs without the tensors that a partial recording on the other side lacks."""
        self.dropped: tuple[str, ...] = ()
        if not self.right.can_run and not right.differentiated:
            left = replace(left, differentiated=False)
            self.left.without_gradients = self.right.without_gradients
        if isinstance(self.left, RecordedSide) and isinstance(self.right, RecordedSide):
            self.right.problem = self.right.problem or other_cotangents(
                self.left, self.right, self.options
            )
        for side, other in ((self.left, self.right), (self.right, self.left)):
            if isinstance(side, RecordedSide) and other.can_run:
                side.check_single()
            if side.is_partial:
                description = self.descriptions
                states = common_part(*description, self.options)
                self.descriptions = states[0], states[1]
                left, right, dropped = common_part(left, right, self.options)
                self.dropped = tuple(dict.fromkeys((*states[2], *dropped)))
        return left, right

    @property
    def _problem(self) -> str:
        return self.left.problem or self.right.problem

    def _rows(self, tensors: Tensors, left: Run, right: Run) -> list[Row]:
        arbitrated = self.arbitrated
        comparison = TensorComparison(
            self.dtype, self.references, self.options, arbitrated=arbitrated
        )
        states, notes = compare_states(*self.descriptions, self.options, right.gradients)
        tensors.notes += notes
        rows = [row if row.ok else replace(row, origin=ROOT_CAUSE) for row in states]
        ignored: Counter[str] = Counter()
        rows = [row for row in rows if not self._is_ignored(row.name, ignored)]
        # another count explains no difference in a float
        differing = [row.name for row in rows if not row.ok and not row.exact]
        origins = Origins(self.alignment, self.options, left, right, self.right, differing)
        for item in tensors.items():
            if self._is_ignored(item.title, ignored):
                continue
            row = comparison.row(item)
            if not row.ok and not row.origin:
                call = item.call
                origin = ROOT_CAUSE
                if call is not None:
                    origin = origins.classify(row.bound, call, item.kind, item.leaf)
                row = replace(row, origin=origin)
            rows.append(row)
        names = [name for d in self.descriptions for name in d.state]
        self.options.check_patterns([*(row.name for row in rows), *names, *self.right.other_names])
        if idle := self._idle_methods(left):
            tensors.notes.append(f"{', '.join(idle)} (not called by {self.root})")
        if ignored:
            tensors.notes.append(f"{', '.join(ignored)} (ignored by hand)")
        return rows

    def _under_left_names(self, run: Run) -> Run:
        """A run of the right with gradients and buffers under the left's names."""

        def renamed(arrays: Arrays) -> Arrays:
            named = {n: self.options.from_right(n, arrays) for n in self.descriptions[0].state}
            return {name: np.asarray(a) for name, a in named.items() if a is not None}

        return replace(run, gradients=renamed(run.gradients), buffers=renamed(run.buffers))

    def _idle_methods(self, left: Run) -> list[str]:
        """Public methods of both models that the run did not call."""
        called = {c.method for c in left.calls.values() if not c.module} | set(left.helpers)
        return sorted({m for path, m in self.alignment.left_methods if not path} - called)

    def _is_ignored(self, name: str, ignored: Counter[str]) -> bool:
        if self.options.ignored(name):
            ignored[name] += 1
            return True
        return False

    def _right_inputs(self) -> tuple[Any, ...]:
        """The root's inputs in the right's layout."""
        names = iter([name for i, a in enumerate(self.inputs) for name, _ in leaves(a, f"[{i}]")])
        single = len(self.inputs) == 1

        def convert(array: np.ndarray) -> np.ndarray:
            name = next(names)
            name = f"input{name.removeprefix('[0]') if single else name}"
            return contiguous(self.options.to_right(name, array))

        return tuple(map_arrays(convert, array) for array in self.inputs)

    def _not_compared(self, tensors: Tensors) -> tuple[str, ...]:
        notes = [*self.left.notes, *self.right.notes, *tensors.notes]
        if self.dropped:
            notes.append(f"{', '.join(self.dropped)} (on one side only)")
        if self.alignment.unmatched and not (self.left.is_partial or self.right.is_partial):
            notes.append(f"{', '.join(self.alignment.unmatched)} (no counterpart of that name)")
        return tuple(dict.fromkeys(notes))

    def _sources(self, rows: list[Row]) -> dict[str, tuple[str, str]]:
        """Where the modules of the failing rows are defined."""
        paths = {row.module for row in rows if not row.ok and row.module is not None}
        return {
            path: (self.left.source(path), self.right.source(self.options.right_name(path)))
            for path in sorted(paths)
        }
