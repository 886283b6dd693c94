"""One side of a comparison: a model, its runs, and the check that the trace does not change it.

A side is run twice on copies of the same inputs and from the same state: with a trace, and without
one as the control run. The control run is what the user's model does, so both must give the same
outputs bit for bit. If they do not, either the model is not deterministic, or the trace disturbs
it; then only the root method is recorded, from outside.
"""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from diptych.arrays import is_array, leaves, strange_leaves, to_numpy
from diptych.parity.measures.bounds import SMALL
from diptych.parity.measures.errors import norm, normwise
from diptych.parity.running.run import Run
from diptych.parity.running.trace import Arrays, Methods, Trace

Cotangents = Callable[[Arrays], Arrays]
"""A function from the root's outputs to the gradient of each of them, by output name"""


@dataclass(frozen=True)
class Plan:
    """The root method of a run, its arguments, and the cotangents of its outputs."""

    root: str
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    cotangents: Cotangents
    methods: Methods
    names: Mapping[str, str] = field(default_factory=dict)
    """Other names of module paths in the calls"""
    dtype: np.dtype = np.dtype(np.float64)  # noqa: RUF009  (immutable)
    """The dtype of the inputs"""


@dataclass(frozen=True)
class Control:
    """The outputs and the gradients of a run without a trace."""

    outputs: Arrays
    gradients: Arrays
    input_grads: Arrays = field(default_factory=dict)
    """Gradients of the root's inputs, by position and field"""
    strange: tuple[tuple[str, str], ...] = ()
    """Items of the result that are no arrays: name and type"""


class Side(ABC):
    """A model of a comparison. `label` is "left" or "right" and stands in every message."""

    def __init__(self, model: Any, label: str) -> None:
        self.model, self.label = model, label
        self.title = type(model).__name__
        self.modules: dict[str, Any] = {}
        self.inputs: Any = None
        """The inputs of a recording"""
        self.notes: list[str] = []
        """Tensors and modules of this side that are not compared, each with its reason"""
        self.problem = ""
        """The reason why this side gives no verdict, such as a random model; "" without any"""
        self.count = 0
        """Number of runs of the model"""
        self.other_names: tuple[str, ...] = ()
        """Names that the model itself gives to parameters and buffers"""
        self.can_run = True
        """False for a recording"""
        self.is_partial = False
        """True for a recording that holds some values only"""
        self.cotangents: Arrays = {}
        """The gradients of the root's outputs in a recording; empty for a model"""
        self.gradients_are_optional = True
        """False if a side without gradients differs from one that has them"""
        self.without_gradients = f"nothing requires a gradient on the {label}"
        """The reason why a run was not differentiated"""
        self.accumulation: dict[str, float] = {}
        """Gradients that two backward passes do not double -> the factor by which they grow"""

    # What a kind of model must provide

    @property
    @abstractmethod
    def dtype(self) -> np.dtype | None:
        """The dtype of the parameters; None without any."""

    @property
    def device(self) -> str:
        return "cpu"

    @abstractmethod
    def defines(self, path: str) -> set[str]:
        """The public methods of a module, and `forward`."""

    @abstractmethod
    def describe(self) -> Run:
        """A Run without calls: copies of parameters and buffers, and the names of frozen and tied
        ones."""

    @abstractmethod
    def _run(self, plan: Plan) -> Run:
        """Run the model from its first state under a trace."""

    @abstractmethod
    def _control(self, plan: Plan, run: Run) -> Control:
        """Run the model again without a trace, from the same state."""

    @abstractmethod
    def twin(self, dtype: np.dtype) -> Self | None:
        """An independent copy in another dtype in the first state; None if the model has none."""

    def clean(self, name: str) -> str:
        """The name that a parameter has in a comparison."""
        return name

    # The checks, which are the same for all

    def run(self, plan: Plan) -> Run:
        """Run the model with a trace and without, and check that both give the same outputs."""
        try:
            run = self._guarded(plan)
        except Exception as error:
            control = self._try_control(plan, error)
            run = self._root_only(plan, control)
            reason = f"tracing it raised {type(error).__name__}"
        else:
            control = self._try_control(plan, None, run)
            reason = self._replaced() or self._gradient_reason(run, control)
            if difference := _first_difference(run.outputs, control.outputs, self.device):
                again = self._control(plan, run)
                if other := _first_difference(control.outputs, again.outputs, self.device):
                    self.problem = self._not_deterministic(plan, other)
                else:
                    run = self._root_only(plan, control)
                    reason = f"tracing changes its output {difference[0] or plan.root}"
            elif reason:
                run = self._root_only(plan, control)
        if reason:
            run.whole = False
            self.notes.append(f"modules inside the {self.label} model ({reason})")
        if control.strange and not control.outputs:
            kinds = ", ".join(dict.fromkeys(kind for _, kind in control.strange))
            self.problem = (
                f"{self.label}: {plan.root} returned {kinds}, takes arrays, numbers, and tuples, "
                "lists, mappings and dataclasses of them"
            )
        for name, kind in control.strange:
            self.notes.append(f"output {name or plan.root} of the {self.label} (a {kind})")
        for call in run.calls.values():
            if call.is_root:  # what the caller gets, whatever stands around the method
                call.outputs = {n: control.outputs[n] for n in control.outputs}
        self._adopt(run, control)
        return run

    @abstractmethod
    def _adopt(self, run: Run, control: Control) -> None:
        """Take the gradients of the control run into the run, or check them against it."""

    @abstractmethod
    def change_parameters(self, function: Callable[[str, np.ndarray], np.ndarray]) -> None:
        """Replace each parameter by `function(name, array)`."""

    @abstractmethod
    def run_noisily(self, plan: Plan, seed: int, size: float) -> Run:
        """Run the model with a trace, and a random relative error in every operation."""

    def run_once(self, plan: Plan) -> Run:
        """Run the model with a trace alone."""
        return self._guarded(plan)

    def _guarded(self, plan: Plan) -> Run:
        self.count += 1
        run = self._run(plan)
        run.dtype, run.device = self.dtype or plan.dtype, self.device
        return run

    def _try_control(self, plan: Plan, error: Exception | None, run: Run | None = None) -> Control:
        self.count += 1
        try:
            return self._control(plan, run or Run(plan.root, {}, [], {}))
        except Exception as second:
            call = getattr(error or second, "parity_call", "") or plan.root
            raise ValueError(
                f"{self.label}: {call} raised {type(second).__name__}: {_message(second)}"
            ) from (error or second)

    def _root_only(self, plan: Plan, control: Control) -> Run:
        run = self._guarded(replace(plan, methods=set()))
        if difference := _first_difference(run.outputs, control.outputs, self.device):
            name = difference[0] or plan.root
            self.problem = f"{self.label}: recording its {plan.root} changes the output {name}"
        return run

    def _replaced(self) -> str:
        """The reason why the run may have used other modules than the traced ones, or ""."""
        return ""

    def _gradient_reason(self, run: Run, control: Control) -> str:
        """The reason why the trace changes gradients by more than their rounding errors, or ""."""
        bound = 1e-4 if self.dtype == np.float32 else 1e-9
        # a gradient of exactly 0 is noise, which the order of a sum may change altogether
        least = SMALL * max(map(norm, control.gradients.values()), default=0.0)
        for name, gradient in control.gradients.items():
            traced = run.gradients.get(name)
            if traced is None or not _close(traced, gradient, bound, least):
                return f"tracing changes the gradient of {name}"
        return ""

    def _not_deterministic(self, plan: Plan, output: tuple[str, float]) -> str:
        """The sentence that names the first call whose outputs change between two equal runs."""
        everything = {(path, "forward") for path in self.modules if self.defines(path)}
        plan = replace(plan, methods=plan.methods | everything)
        first_run, again = self._guarded(plan), self._guarded(plan)
        name, error = output[0] or plan.root, output[1]
        for call in again.calls.values():
            first = first_run.calls.get(call.name)
            if first is None or _first_difference(first.inputs, call.inputs, self.device):
                continue
            if difference := _first_difference(first.outputs, call.outputs, self.device):
                name, error = call.title("output", difference[0]), difference[1]
                break
        return (
            f"{self.label} is not deterministic: two runs on the same input differ in {name} "
            f"by {error:.1e}"
        )

    def source(self, path: str) -> str:
        """File and line of the class of a module, "" if unknown."""
        return source_of(self.modules.get(path))


def source_of(module: Any) -> str:
    """File and line of the class of an object, "" if unknown."""
    target = getattr(module, "source_object", None) or type(module)
    try:
        file, line = inspect.getsourcefile(target), inspect.getsourcelines(target)[1]
    except Exception:  # also a SyntaxError, if the file was edited after its import
        return ""
    relative = os.path.relpath(file) if file else ""
    return f"{file if relative.startswith('..') else relative}:{line}"


def _message(error: Exception) -> str:
    """The message of an exception in one line."""
    try:
        return " ".join(str(error).split())
    except Exception:  # of its own __str__
        return "no message"


def fail_in(trace: Trace, error: Exception) -> None:
    """Note on an exception which call of a trace raised it."""
    if trace.failed and not hasattr(error, "parity_call"):
        error.parity_call = trace.failed  # type: ignore[attr-defined]


def outputs_of(result: Any) -> Arrays:
    """The root's outputs by name, as NumPy arrays; Python's numbers count."""
    return {name: to_numpy(array) for name, array in leaves(result, numbers=True)}


def strange_outputs(result: Any) -> tuple[tuple[str, str], ...]:
    """(name, type) of each item of a result that cannot be compared, such as text."""
    return tuple(strange_leaves(result))


def total_of(result: Any) -> Any:
    """The number that is differentiated: `total` of a loss, else `loss`, else its first entry."""
    for name in ("total", "loss"):
        if isinstance(result, Mapping) and name in result:
            return result[name]
        if not is_array(result) and hasattr(result, name) and not callable(getattr(result, name)):
            return getattr(result, name)
    return next((array for _, array in leaves(result, numbers=True)), None)


def _first_difference(a: Arrays, b: Arrays, device: str) -> tuple[str, float] | None:
    """Name and size of the first output that differs, bit for bit; on CUDA, by over 1e-5."""
    for name in [*a, *(n for n in b if n not in a)]:
        if name not in a or name not in b or a[name].shape != b[name].shape:
            return name, float("inf")
        if not np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind in "fc"):
            error = normwise(np.ravel(a[name]), np.ravel(b[name]))
            if device == "cpu" or not error <= 1e-5:
                return name, error
    return None


def _close(a: np.ndarray, b: np.ndarray, bound: float, least: float) -> bool:
    """True if the arrays differ by at most `bound`, relative to their norm or to `least`."""
    with np.errstate(all="ignore"):
        return np.array_equal(a, b, equal_nan=True) or norm(a - b) <= bound * max(norm(b), least)
