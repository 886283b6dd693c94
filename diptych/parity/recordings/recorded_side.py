"""A recording as a side of a comparison: it is read, not run."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from diptych.arrays import cast, is_float, leaves, to_numpy
from diptych.options.options import Options
from diptych.parity.measures.errors import normwise
from diptych.parity.recordings.golden import load_run
from diptych.parity.recordings.packing import Unsaved
from diptych.parity.running.alignment import match_leaves
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Control, Plan, Side
from diptych.parity.running.trace import Arrays, Call
from numpy_ref.nn.module import Buffer, Module, Parameter

COTANGENTS_AGREE = 1e-5
"""Relative error above which two cotangents are different ones, and not rounded differently"""


class RecordedSide(Side):
    """The run in a golden file, or a Run itself.

    A recording is partial if a program named its values itself: then it holds some values only, and
    what it does not hold is not compared.
    """

    def __init__(self, recording: str | os.PathLike[str] | Run, label: str) -> None:
        self.recorded = recording if isinstance(recording, Run) else load_run(recording)
        super().__init__(self.recorded, label)
        self.title = "recording"
        if not isinstance(recording, Run):
            self.title = os.path.basename(os.fspath(recording))
        self.inputs = self.recorded.inputs
        root = self.recorded.calls.get(self.recorded.root)
        self.cotangents = {} if root is None else root.output_grads
        self.can_run = False
        self.without_gradients = f"the {label} is a recording without a backward pass"
        self.is_partial = all(call.method == "tap" for call in self.recorded.calls.values())
        self._methods: defaultdict[str, set[str]] = defaultdict(set)
        for call in self.recorded.calls.values():
            if call.method != "tap":
                self._methods[call.module].add(call.method)
            elif self.is_partial:  # the name of a module, or of a module's method
                module, _, method = call.unit.rpartition(".")
                self._methods[module].add(method)
                self._methods[call.unit].add("forward")
        self._methods[""].add(self.recorded.root or "forward")
        self.modules = {path: self._module(path) for path in self._methods}
        for path, first in self.recorded.aliases.items():
            if first in self.modules:
                self.modules[path] = self.modules[first]
                self._methods[path] = self._methods[first]

    def _module(self, path: str) -> Module:
        """A stand-in for a module, with its own parameters and buffers."""
        module = Module()
        for name, array in self.recorded.state.items():
            owner, _, leaf = name.rpartition(".")
            if owner == path:
                kind = Parameter if name in self.recorded.parameters else Buffer
                setattr(module, leaf, kind(array))
        return module

    @property
    def dtype(self) -> np.dtype:
        return self.recorded.dtype

    @property
    def device(self) -> str:
        return self.recorded.device

    def defines(self, path: str) -> set[str]:
        return self._methods[path]

    def describe(self) -> Run:
        return replace(self.recorded, calls={}, events=[])

    def source(self, path: str) -> str:
        return self.recorded.sources.get(path, "")

    def run(self, plan: Plan) -> Run:
        """The recorded run, with the calls of the plan's methods under the plan's names."""
        self._check_inputs(plan)
        names, kept = Counter[str](), dict[Call, Call]()
        for call in self.recorded.calls.values():
            if call.method == "tap" or (call.module, call.method) in plan.methods:
                path = plan.names.get(call.module, call.module)
                unit = call.unit if path == call.module else path
                names[unit] += 1
                name = unit if names[unit] == 1 else f"{unit}#{names[unit]}"
                kept[call] = replace(call, name=name, module=path)
        root = Call(plan.root, "", plan.root, None) if self.is_partial else None
        return _with_calls(self.recorded, kept, root)

    def _check_inputs(self, plan: Plan) -> None:
        """Note as a problem that the arguments are not those of the recording."""
        if self.inputs and len(plan.inputs) != len(self.inputs):
            counts = f"{len(self.inputs)} arguments; this comparison has {len(plan.inputs)}"
            self.problem = f"{self.label} was recorded with {counts}"
        for i, (value, recorded) in enumerate(zip(plan.inputs, self.inputs, strict=False)):
            array_sets = [dict(leaves(item, str(i))) for item in (value, recorded)]
            for name in array_sets[0].keys() & array_sets[1].keys():
                array, other = (to_numpy(arrays[name]) for arrays in array_sets)
                if not np.array_equal(
                    array, cast(other, array.dtype), equal_nan=array.dtype.kind == "f"
                ):
                    self.problem = (
                        f"{self.label} was recorded on other inputs: argument {name} differs; "
                        "leave out the batch to use the recorded one"
                    )

    def check_single(self) -> None:
        """Note as a problem that the recorded block did what `compare` does not do with a model.

        A model is called once, and a loss is differentiated by `loss.total.backward()`.
        """
        calls = self.recorded.calls.values()
        seeds = [seed for seed in self.cotangents.values() if seed.any()]
        if self.recorded.root == "loss" and not all(np.all(seed == 1) for seed in seeds):
            self.problem = (
                f"{self.label} was recorded with another gradient of its loss than 1; takes "
                "loss.total.backward()"
            )
        names = [c.name for c in calls if c.parent is None and c.method != "tap"]
        if len(names) > 1:
            self.problem = (
                f"{self.label} is a recording of several calls ({', '.join(names)}); a model is "
                "compared with a recording of one call"
            )

    def run_noisily(self, plan: Plan, seed: int, size: float) -> Run:
        raise NotImplementedError("a recording cannot be run")

    def twin(self, dtype: np.dtype) -> Self | None:
        return None

    def change_parameters(self, function: Callable[[str, np.ndarray], np.ndarray]) -> None:
        raise NotImplementedError("a recording is not run")

    def _run(self, plan: Plan) -> Run:
        raise NotImplementedError("a recording is not run")

    def _control(self, plan: Plan, run: Run) -> Control:
        raise NotImplementedError("a recording is not run")

    def _adopt(self, run: Run, control: Control) -> None:
        raise NotImplementedError("a recording is not run")


def other_cotangents(left: RecordedSide, right: RecordedSide, options: Options) -> str:
    """The problem that two recordings of equal outputs began their backward passes differently."""
    pairs = []
    for kind in ("outputs", "output_grads"):
        lefts, rights = (
            getattr(side.recorded.calls.get(side.recorded.root), kind, {}) for side in (left, right)
        )
        pairs.append(
            [
                (lefts[name], np.asarray(options.to_left(f"output{name}", rights[other])))
                for name, other in match_leaves(lefts, rights).items()
                if is_float(lefts[name])
            ]
        )
    outputs, gradients = pairs
    if all(_agree(*pair) for pair in outputs) and not all(_agree(*pair) for pair in gradients):
        return (
            "left and right were recorded with other gradients of their output: they differ, while "
            "the outputs agree; pass the same gradient to both backward passes"
        )
    return ""


def _agree(array: np.ndarray, other: np.ndarray) -> bool:
    return array.shape == other.shape and normwise(array, other) <= COTANGENTS_AGREE


def recorded_inputs(sides: Iterable[Side]) -> Any:
    """The arguments of the root method in the first recording; None if no side is one.

    Raises: ValueError if a model needs them and the recording has none, or one that a file cannot
    hold.
    """
    recordings = [side for side in sides if not side.can_run]
    if not recordings:
        return None
    side = recordings[0]
    if len(recordings) == 2:
        return tuple(side.inputs)
    if not side.inputs:
        raise ValueError(f"batch: got None, and the {side.label} is a recording without inputs")
    for i, value in enumerate(side.inputs):
        if isinstance(value, Unsaved):
            raise ValueError(
                f"batch: got None, and argument {i} of the {side.label}'s recording is a "
                f"{value.description}, which a file cannot hold"
            )
    return tuple(side.inputs)


def common_part(left: Run, right: Run, options: Options) -> tuple[Run, Run, tuple[str, ...]]:
    """Both runs without what only one of them holds, and the names of that."""
    calls = [name for name in left.calls if name in right.calls]
    dropped = [n for run in (left, right) for n in run.calls if n not in calls]
    runs = []
    name = left.root or right.root or "forward"
    root = Call(name, "", name, None)
    for run in (left, right):
        kept = {call: replace(call) for name, call in run.calls.items() if name in calls}
        runs.append(_with_calls(run, kept, root))
    for attribute in ("state", "gradients", "buffers"):
        lefts, rights = getattr(left, attribute), getattr(right, attribute)
        names = {n: options.right_name(n) for n in lefts if options.right_name(n) in rights}
        dropped += [n for n in [*lefts, *rights] if n not in names and n not in names.values()]
        setattr(runs[0], attribute, _only(lefts, names))
        setattr(runs[1], attribute, _only(rights, names.values()))
    for run in runs:
        run.parameters = run.parameters & run.state.keys()
        run.ties = ()
    return runs[0], runs[1], tuple(dict.fromkeys(dropped))


def _only(arrays: Mapping[str, np.ndarray], names: Iterable[str]) -> Arrays:
    members = set(names)
    return {name: array for name, array in arrays.items() if name in members}


def _with_calls(run: Run, kept: Mapping[Call, Call], root: Call | None) -> Run:
    """The run with copies of some of its calls; `root` is the parent of those without one."""
    for call, copy in kept.items():
        parent = call.parent
        while parent is not None and parent not in kept:
            parent = parent.parent
        copy.parent = root if parent is None else kept[parent]
        if root is not None and copy.name == root.name:
            copy.parent = None
    events = [(phase, kept[call]) for phase, call in run.events if call in kept]
    return replace(run, calls={call.name: call for call in kept.values()}, events=events)
