"""Record what a model or any other program computes into a golden file."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from diptych.arrays import to_numpy
from diptych.options.options import Options
from diptych.parity.api import side_of
from diptych.parity.comparing.comparison import Comparison
from diptych.parity.recordings.golden import SUFFIX, save_run
from diptych.parity.recordings.named_values import Recording
from diptych.parity.running.numpy_trace import NumpyTrace
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Side
from diptych.parity.running.torch_trace import TorchTrace
from diptych.parity.running.trace import Trace, listening
from numpy_ref.nn.module import Module


@contextlib.contextmanager
def record(path: str | os.PathLike[str], model: Any = None) -> Iterator[Recording]:
    """Record what happens inside the block, and write it to a golden file at its end.

        with parity.record("golden.safetensors", model):       # torch.nn.Module or numpy_ref Module
            model.loss(batch, noise).total.backward()

        with parity.record("golden.safetensors") as recording:  # any other program
            y = network(x)                                      # calls parity.tap("hidden", h)
            recording["output"] = y

    With a model, the file holds every call of every public method inside the block: inputs,
    outputs and, if a backward pass ran inside the block, gradients; and the parameters and buffers
    before the block. Without a model it holds the values of `parity.tap` and of
    `recording[name] = array`, see `Recording`. `parity.compare` takes the file in place of a model.

    The block runs the model as always: its buffers and gradients change as they would without
    `record`. The file holds the gradients of this block only, also if the model held others before.
    An exception inside the block leaves no file, and an older file at `path` stays.

    Raises: ValueError for another suffix than .safetensors, for a model of another kind, and if
    nothing was recorded.
    """
    path = check_path(path)
    recording = Recording()
    run = Run("", {}, [], {}, differentiated=False)
    hint = "call parity.tap(name, y) or set recording[name] = array inside the block"
    if model is None:
        with listening(recording):
            yield recording
    else:
        with _tracing(model) as runs:
            yield recording
        (run,) = runs
        hint = f"call {type(model).__name__} inside the block"
    run = recording.add_to(run)
    if not run.calls:
        raise ValueError(f"{path}: nothing was recorded, so no file was written; {hint}")
    save_run(path, run)


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file to be written; it must end in .safetensors."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"path: got '{path}', takes a name that ends in {SUFFIX}")
    return path


@contextlib.contextmanager
def _tracing(model: Any) -> Iterator[list[Run]]:
    """Trace all public methods of a model; at the end the run is the only item of the list."""
    if not isinstance(model, Module | nn.Module):
        kind = type(model).__qualname__
        raise ValueError(f"model: got a {kind}, takes a torch.nn.Module or a numpy_ref Module")
    side = side_of(model, "model")
    before = side.describe()
    is_torch = isinstance(model, nn.Module)
    trace: Trace = (TorchTrace if is_torch else NumpyTrace)(side.modules, all_methods(side))
    gradients = (_torch_gradients if is_torch else _numpy_gradients)(side)
    runs: list[Run] = []
    with gradients as collect:
        with trace:
            yield runs
            if isinstance(trace, TorchTrace):
                trace.end_forward()  # finds the outputs that were changed in place
        runs.append(_run_of(trace, before, side_of(model, "model").describe(), collect()))
        runs[0].dtype = side.dtype or runs[0].dtype
        runs[0].aliases = aliases(side)


def all_methods(side: Side) -> set[tuple[str, str]]:
    """(path, name) of all public methods of all modules."""
    return {(path, method) for path in side.modules for method in side.defines(path)}


def aliases(side: Side) -> dict[str, str]:
    """Further paths of each module that stands under several -> the first one."""
    first = {id(module): path for path, module in reversed(side.modules.items())}
    return {p: first[id(m)] for p, m in side.modules.items() if first[id(m)] != p}


def _run_of(trace: Trace, before: Run, after: Run, gradients: dict[str, np.ndarray]) -> Run:
    calls = trace.calls
    outermost = [call for call in calls.values() if call.parent is None and call.method != "tap"]
    root = next((c for c in outermost if not c.module), outermost[0] if outermost else None)
    backward = any(c.output_grads or c.input_grads for c in calls.values())
    differentiated = backward or any(gradient.any() for gradient in gradients.values())
    return replace(
        before,
        root=root.name if root else "",
        calls=calls,
        events=trace.events,
        outputs=root.outputs if root else {},
        gradients=gradients if differentiated else {},
        buffers={n: a for n, a in after.state.items() if n not in after.parameters},
        inputs=root.arguments if root else (),
        differentiated=differentiated,
    )


@contextlib.contextmanager
def _torch_gradients(side: Any) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Sum the gradients that reach the parameters inside the block, whatever `.grad` holds."""
    sums: dict[int, np.ndarray] = {}

    def add(key: int, gradient: Tensor) -> None:
        sums[key] = sums[key] + to_numpy(gradient) if key in sums else to_numpy(gradient)

    hooks = [
        parameter.register_hook(functools.partial(add, key))
        for key, parameter in {id(p): p for p in side.parameters.values()}.items()
        if parameter.requires_grad
    ]
    try:
        yield lambda: {n: sums[id(p)] for n, p in side.parameters.items() if id(p) in sums}
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _numpy_gradients(side: Any) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Collect the gradients that vjps add inside the block.

    Those that the model held before are added back at its end, unless the block set them to 0.
    """
    model = side.model
    earlier = {name: gradient.copy() for name, gradient in model.gradients().items()}
    set_to_zero = model.zero_grad

    def zero_grad() -> None:
        earlier.clear()
        set_to_zero()

    set_to_zero()
    vars(model)["zero_grad"] = zero_grad
    try:
        yield lambda: {name: gradient.copy() for name, gradient in model.gradients().items()}
    finally:
        del vars(model)["zero_grad"]
        for name, gradient in earlier.items():
            model.gradients()[name] += gradient


def run_pair(
    left: Any, right: Any, batch: Any, noise: Any, options: Mapping[str, Any]
) -> tuple[Run, ...]:
    """Run both models as `compare` does, each under its own names; return what each computed."""
    sides = side_of(left, "left"), side_of(right, "right")
    settings = Options(**{f.name: options[f.name] for f in fields(Options) if f.name in options})
    dtype = next((side.dtype for side in sides if side.dtype is not None), np.dtype(np.float64))
    comparison = Comparison(*sides, batch, noise, settings, dtype)
    runs = []
    for side, plan_of in zip(sides, (comparison.left_plan, comparison.right_plan), strict=True):
        plan = replace(plan_of(), methods=all_methods(side), names={})
        description = side.describe()
        run = side.run(plan)
        if side.problem:
            raise ValueError(side.problem)
        comparison.cotangents.left_outputs = comparison.cotangents.left_outputs or run.outputs
        names = ("state", "parameters", "frozen", "ties", "sources")
        state = {name: getattr(description, name) for name in names}
        runs.append(replace(run, inputs=plan.inputs, aliases=aliases(side), **state))
    return tuple(runs)
