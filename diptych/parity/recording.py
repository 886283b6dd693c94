"""Record what a model or any other program computes into a golden file."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from diptych.arrays import to_numpy
from diptych.parity import taps
from diptych.parity.comparison import Comparison
from diptych.parity.golden import SUFFIX, save_run
from diptych.parity.named_values import Recording
from diptych.parity.run import Run
from diptych.parity.trace import LeftTrace, RightTrace, Trace, _defines, _public
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
        with taps.listening(recording):
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


# The seam to the engine: what follows builds the Run of a model from today's traces.


@contextlib.contextmanager
def _tracing(model: Any) -> Iterator[list[Run]]:
    """Trace all public methods of a model; at the end the run is the only item of the list."""
    if not isinstance(model, Module | nn.Module):
        kind = type(model).__qualname__
        raise ValueError(f"model: got a {kind}, takes a torch.nn.Module or a numpy_ref Module")
    is_torch = isinstance(model, nn.Module)
    state = {name: to_numpy(array) for name, array in model.state_dict().items()}
    methods = {
        (path, method)
        for path, module in model.named_modules()
        for method in [*_public(module), "forward"]
        if _defines(module, method)
    }
    gradients = (_torch_gradients if is_torch else _numpy_gradients)(model)
    trace = (RightTrace if is_torch else LeftTrace)(model, methods)
    runs: list[Run] = []
    with gradients as collect:
        with trace:
            yield runs
        runs.append(_run_of(trace, state, collect()))


def _run_of(trace: Trace, state: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> Run:
    model, calls = trace.model, trace.calls
    outermost = [call for call in calls.values() if call.parent is None]
    root = next((c for c in outermost if not c.module), outermost[0] if outermost else None)
    first = next(iter(model.parameters()), None)
    arrays = [getattr(p, "data", p) for p in model.parameters()] + [
        a for call in calls.values() for a in call.outputs.values()
    ]
    dtypes = [to_numpy(a).dtype for a in arrays[:1]] or [np.dtype(np.float64)]
    backward = any(c.output_grads or c.input_grads for c in calls.values())
    differentiated = backward or any(gradient.any() for gradient in gradients.values())
    ties: dict[int, set[str]] = {}
    every = (
        model.named_parameters(remove_duplicate=False)
        if isinstance(model, nn.Module)
        else model.named_parameters(tied=True)
    )
    for name, parameter in every:
        ties.setdefault(id(parameter), set()).add(name)
    parameters = frozenset(name for group in ties.values() for name in group)
    return Run(
        root=root.name if root else "",
        calls=calls,
        events=trace.events,
        state=state,
        gradients=gradients if differentiated else {},
        buffers={n: to_numpy(getattr(b, "data", b)) for n, b in model.named_buffers()},
        parameters=parameters,
        frozen=frozenset(
            n for n, p in model.named_parameters() if not getattr(p, "requires_grad", True)
        ),
        ties=tuple(frozenset(group) for group in ties.values() if len(group) > 1),
        inputs=root.arguments if root else (),
        differentiated=differentiated,
        dtype=dtypes[0],
        device=str(first.device) if isinstance(first, Tensor) else "cpu",
    )


@contextlib.contextmanager
def _torch_gradients(model: Any) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Sum the gradients that reach the parameters inside the block, whatever `.grad` holds."""
    sums: dict[str, np.ndarray] = {}

    def add(name: str, gradient: Tensor) -> None:
        sums[name] = sums[name] + to_numpy(gradient) if name in sums else to_numpy(gradient)

    hooks = [
        parameter.register_hook(functools.partial(add, name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield lambda: {n: sums[n] for n, _ in model.named_parameters() if n in sums}
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _numpy_gradients(model: Any) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Collect the gradients that vjps add inside the block.

    Those that the model held before are added back at its end, unless the block set them to 0.
    """
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
) -> tuple[Run, Run]:
    """Run both models as `compare` does, and return what each computed."""
    first = next(iter(left.parameters()), None)
    dtype = np.dtype(np.float64) if first is None else first.data.dtype
    pair = Comparison(left, right, batch, noise, dtype)
    grads = {n: to_numpy(p.grad) for n, p in right.named_parameters() if p.grad is not None}
    runs = (
        _run_of(pair.trace, pair.states[0], left.gradients()),
        _run_of(pair.right_trace, pair.states[1], grads),
    )
    for run in runs:
        run.inputs = pair.inputs
    return runs
