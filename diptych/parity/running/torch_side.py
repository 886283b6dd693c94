"""A PyTorch module as a side of a comparison."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from diptych.arrays import is_float, leaves, map_arrays, to_numpy, to_tensors
from diptych.parity.running.noisy import NoisyTorch
from diptych.parity.running.run import Run
from diptych.parity.running.sides import (
    Control,
    Plan,
    Side,
    fail_in,
    outputs_of,
    strange_outputs,
    total_of,
)
from diptych.parity.running.torch_names import TorchNames, is_compiled, is_script
from diptych.parity.running.torch_trace import TorchTrace, unwrapped
from diptych.parity.running.trace import Arrays, public_methods


class TorchSide(Side):
    """A torch module. Its names lose the prefixes of torch.compile and DataParallel."""

    model: nn.Module

    def __init__(self, model: nn.Module, label: str) -> None:
        super().__init__(model, label)
        names = self._names = TorchNames(model)
        self.modules, self.parameters, self.buffers = names.modules, names.parameters, names.buffers
        for path in names.opaque:
            self.notes.append(f"modules inside {path or 'the ' + label + ' model'} (compiled)")
        self.gradients_are_optional = False
        self._compiled = any(map(is_compiled, model.modules()))
        self.other_names = tuple(n for n, _ in [*model.named_parameters(), *model.named_buffers()])
        self._check_tensors()
        self._state = {n: to_numpy(t) for n, t in (self.parameters | self.buffers).items()}
        self._all_buffers = [(b, b.detach().clone()) for b in model.buffers()]

    def clean(self, name: str) -> str:
        return self._names.clean(name)

    def _check_tensors(self) -> None:
        """Raise ValueError for parameters that cannot be compared."""
        for name, tensor in (self.parameters | self.buffers).items():
            if nn.parameter.is_lazy(tensor):
                raise ValueError(
                    f"{self.label}: {name} is not initialised yet, takes a model that has been run"
                )
            if (reason := unusable(tensor)) is not None:
                raise ValueError(f"{self.label}: {name} is {reason}")

    @property
    def dtype(self) -> np.dtype | None:
        dtypes = {str(p.dtype).removeprefix("torch.") for p in self.parameters.values()}
        if len(dtypes) > 1:
            names = ", ".join(sorted(dtypes))
            raise ValueError(f"{self.label}: parameters of several dtypes {names}, takes one")
        known = dtypes & {"float32", "float64"}
        if dtypes - known:
            name = dtypes.pop()
            raise ValueError(f"{self.label}: parameters of {name}, takes float32 or float64")
        return np.dtype(known.pop()) if known else None

    @property
    def device(self) -> str:
        return str(next((p.device for p in self.parameters.values()), "cpu"))

    def defines(self, path: str) -> set[str]:
        module = unwrapped(self.modules[path])
        methods = {"forward"} if is_script(module) else public_methods(module, nn.Module)
        # what torch.compile has fused calls no other method
        return methods & {"forward", "loss"} if is_compiled(self.modules[path]) else methods

    def describe(self) -> Run:
        groups: defaultdict[int, set[str]] = defaultdict(set)
        for name, parameter in self.parameters.items():
            groups[id(parameter)].add(name)
        return Run(
            "",
            {},
            [],
            self._state,
            parameters=frozenset(self.parameters),
            frozen=frozenset(n for n, p in self.parameters.items() if not p.requires_grad),
            ties=[frozenset(group) for group in groups.values() if len(group) > 1],
            device=self.device,
        )

    def _run(self, plan: Plan) -> Run:
        self.restore()
        self.model.zero_grad(set_to_none=True)
        traceable = {p: m for p, m in self.modules.items() if not is_script(m)}
        with self._surroundings(), TorchTrace(traceable, plan.methods, plan.names) as trace:
            try:
                inputs, arguments = self._arguments(plan)
                result = self._forward(plan, arguments)
                trace.end_forward()
                differentiated = self._differentiate(plan, result)
            except Exception as error:
                fail_in(trace, error)
                raise
        root = trace.root_call(plan.root, arguments, result)
        root.input_grads = input_grads(inputs)  # through operations in place too
        root.without_gradient.clear()
        if plan.root == "forward":
            named = (n for i, argument in enumerate(inputs) for n in leaves(argument, str(i)))
            root.variables |= {name for name, tensor in named if tensor.requires_grad}
        run = Run(plan.root, trace.calls, trace.events, {}, differentiated=differentiated)
        run.outputs, run.gradients = outputs_of(result), self._gradients()
        run.changed = self._changed()
        run.buffers = {n: to_numpy(b) for n, b in self._names.all_buffers()}
        return run

    def _control(self, plan: Plan, run: Run) -> Control:
        self.restore()
        self.model.zero_grad(set_to_none=True)
        with self._surroundings():
            inputs, arguments = self._arguments(plan)
            result = self._forward(plan, arguments)
            self._differentiate(plan, result)
        gradients = self._gradients(), input_grads(inputs)
        return Control(outputs_of(result), *gradients, strange_outputs(result))

    def _adopt(self, run: Run, control: Control) -> None:
        run.gradients = control.gradients
        for call in run.calls.values():
            if call.is_root and run.root == "forward":
                call.input_grads = control.input_grads

    def change_parameters(self, function: Callable[[str, np.ndarray], np.ndarray]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(function(name, to_numpy(parameter))))
                self._state[name] = to_numpy(parameter)  # or the next run would restore the first

    def _replaced(self) -> str:
        now = TorchNames(self.model).modules
        changed = [p for p, m in self.modules.items() if now.get(p) is not m]
        return f"it replaces {', '.join(changed)}" if changed else ""

    def run_noisily(self, plan: Plan, seed: int, size: float) -> Run:
        with NoisyTorch(seed, size):
            return self._guarded(plan)

    def _changed(self) -> Arrays:
        """The parameters that a run has changed."""
        arrays = ((n, to_numpy(p)) for n, p in self.parameters.items())  # one copy at a time
        return {n: a for n, a in arrays if not np.array_equal(a, self._state[n], equal_nan=True)}

    def _gradients(self) -> Arrays:
        named = self.parameters.items()
        return {n: to_numpy(p.grad) for n, p in named if p.grad is not None}

    def _arguments(self, plan: Plan) -> tuple[Any, Any]:
        """The inputs as leaves that require gradients, and the copies that the model gets.

        A layer's inputs need gradients, the batch of a loss does not. The model may change its
        inputs in place, which autograd forbids for leaves.
        """
        inputs = to_tensors(plan.inputs, torch.device(self.device), track=plan.root == "forward")
        return inputs, map_arrays(lambda t: t.clone() if t.requires_grad else t, inputs)

    def _forward(self, plan: Plan, arguments: Any) -> Any:
        method = self.model if plan.root == "forward" else getattr(self.model, plan.root)
        kwargs = to_tensors(dict(plan.kwargs), torch.device(self.device), track=False)
        result = method(*arguments, **kwargs)
        for name, tensor in leaves(result):
            if isinstance(tensor, Tensor) and (reason := unusable(tensor)) is not None:
                raise ValueError(f"output {name or plan.root} is {reason}")
        return result

    def _differentiate(self, plan: Plan, result: Any) -> bool:
        """Run the backward pass; False if nothing requires a gradient."""
        if plan.root == "loss":
            total = total_of(result)
            if not isinstance(total, Tensor) or not total.requires_grad:
                return False
            if total.numel() != 1:
                raise ValueError(f"its total has shape {tuple(total.shape)}, takes a scalar")
            total.sum().backward()
            return True
        tensors = {
            name: tensor
            for name, tensor in leaves(result)
            if isinstance(tensor, Tensor) and tensor.requires_grad and is_float(tensor)
        }
        if not tensors:
            return False
        cotangents = plan.cotangents(outputs_of(result))
        pairs = [(tensor, cotangents[n]) for n, tensor in tensors.items() if n in cotangents]
        torch.autograd.backward(
            [tensor for tensor, _ in pairs],
            [torch.from_numpy(c.copy()).to(tensor) for tensor, c in pairs],
        )
        return True

    def restore(self) -> None:
        with torch.no_grad():
            for buffer, first in self._all_buffers:
                buffer.copy_(first)
            for name in self._changed():
                self.parameters[name].copy_(torch.from_numpy(self._state[name].copy()))

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Gradients are recorded, whatever mode the caller is in."""
        with torch.inference_mode(False), torch.enable_grad():
            if not self._compiled:  # the warnings' filters belong to all threads: leave them alone
                yield
                return
            with warnings.catch_warnings():  # dynamo reads the .grad of every input
                message = "The .grad attribute of a Tensor that is not a leaf"
                warnings.filterwarnings("ignore", message, UserWarning)
                yield

    def twin(self, dtype: np.dtype) -> Self | None:
        try:
            model = copy.deepcopy(unwrapped(self.model)).to(getattr(torch, dtype.name))
        except Exception:  # a model with handles, locks or non-leaf tensors
            return None
        twin = type(self)(model, self.label)
        with torch.no_grad():
            for name, tensor in (twin.parameters | twin.buffers).items():
                tensor.copy_(torch.from_numpy(np.array(self._state[name])))
        return type(self)(model, self.label)


def input_grads(inputs: Any) -> Arrays:
    """The gradients of the root's inputs, by position and field."""
    named = (n for i, argument in enumerate(inputs) for n in leaves(argument, str(i)))
    return {n: to_numpy(t.grad) for n, t in named if t.is_leaf and t.grad is not None}


def unusable(tensor: Tensor) -> str | None:
    """The reason why a tensor cannot be compared, and what is taken; None for a usable one."""
    if tensor.is_meta:
        return "on the meta device, takes cpu or cuda"
    if tensor.is_quantized:
        return "quantised, takes floating-point tensors (dequantize() it)"
    if tensor.is_complex():
        return "complex, takes real tensors (torch.view_as_real)"
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        return f"{layout}, takes dense tensors (to_dense() it)"
    return None
