"""Record a PyTorch module: tensor hooks record the gradients, and the model is not changed.

Each call gets views of its inputs, and its caller gets views of its outputs. A view shares the
memory of its tensor, so operations in place act as they do without the trace; but it has a place
of its own in the graph. So the gradient of an input is the contribution of this call alone, and
the gradient of an output comes from its callers alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diptych.arrays import leaves, map_arrays
from diptych.parity.running.trace import Call, Methods, Trace, add_gradient, bound_arguments

IN_PLACE = "modified in place by the model"
HOOKED = "changed by a backward hook of the module"


class TorchTrace(Trace):
    """The trace of a torch module.

    A call of `module(x)` is recorded by module hooks, around all hooks of the model's own; a call
    of `module.forward(x)` or of another method by a shadow. Nothing is recorded during the
    backward pass, in which activation checkpointing computes its calls again.
    """

    def __init__(
        self, modules: Mapping[str, Any], methods: Methods, names: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(modules, methods, names)
        self._handles: list[Any] = []
        self._entered: set[Call] = set()
        self._hooked: set[Call] = set()
        self._inputs: dict[Call, list[tuple[str, Any, int]]] = {}
        self._aliases: list[tuple[Call, str, Tensor, int]] = []
        self._backward = False

    def _shadow(self, path: str, module: Any, method: str) -> None:
        forward = unwrapped(module).forward  # before its shadow, which has no signature
        super()._shadow(path, module, method)
        if method == "forward":
            enter = functools.partial(self._enter_call, path, forward)
            leave = functools.partial(self._leave_call, path)
            self._handles += [
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                module.register_forward_hook(leave, with_kwargs=True, always_call=True),
            ]

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*exception)

    def end_forward(self) -> None:
        """Begin the backward pass, in which no call is recorded."""
        self._backward = True
        for call, name, alias, version in self._aliases:
            if alias._version != version:
                call.without_gradient.setdefault(name, IN_PLACE)
        self._aliases.clear()

    @property
    def _in_backward(self) -> bool:
        """True after `end_forward`, and inside a backward pass that the user runs."""
        return self._backward or torch._C._current_graph_task_id() != -1

    def _enter_call(
        self, path: str, forward: Any, module: nn.Module, args: Any, kwargs: Any
    ) -> Any:
        if self._in_backward:
            return None
        args, kwargs = map_arrays(_alias, args), map_arrays(_alias, kwargs)
        names, bound, _ = bound_arguments(forward, args, kwargs)
        call = self._begin(path, "forward", names, bound)
        self._watch_inputs(call, bound)
        if module._backward_pre_hooks:
            self._hooked.add(call)
        return args, kwargs

    def _leave_call(self, path: str, module: Any, args: Any, kwargs: Any, result: Any) -> Any:
        if self._in_backward or not self._open or self._open[-1].module != path:
            return None  # a hook before `_enter_call` has raised an exception
        call = self._open.pop()
        self._entered.discard(call)
        if result is None and sys.exc_info()[0] is not None:
            self._fail(call)
            return None
        return self._watch_outputs(call, result)

    def _run(self, path: str, method: str, original: Any, *args: Any, **keywords: Any) -> Any:
        if self._in_backward:
            return original(*args, **keywords)
        current = self._open[-1] if method == "forward" and self._open else None
        if current and current.module == path and current not in self._entered:
            self._entered.add(current)  # opened by the hook
            return original(*args, **keywords)
        return super()._run(path, method, original, *args, **keywords)

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        self._entered.add(call)
        arguments = map_arrays(_alias, arguments)
        self._watch_inputs(call, arguments)
        return self._watch_outputs(call, original(*arguments))

    def _watch_inputs(self, call: Call, arguments: Any) -> None:
        """Record the gradients of a call's inputs."""
        named = [n for i, argument in enumerate(arguments) for n in leaves(argument, str(i))]
        self._inputs[call] = [(name, tensor, _version(tensor)) for name, tensor in named]
        for name, tensor in named:
            if _requires_grad(tensor):
                call.variables.add(name)
                tensor.register_hook(functools.partial(self._add_input_grad, call, name))

    def _watch_outputs(self, call: Call, result: Any) -> Any:
        """Record the outputs of a call and their gradients; returns views of the outputs."""
        changed = [
            (name, tensor)
            for name, tensor, version in self._inputs.pop(call, [])
            if _version(tensor) != version
        ]
        for name, _ in changed:
            call.without_gradient[name] = IN_PLACE
        aliased = map_arrays(_alias, result)
        self._end(call, aliased)
        tensors = dict(leaves(result))
        call.differentiable = any(map(_requires_grad, tensors.values())) or (
            bool(call.variables) and torch.is_grad_enabled()
        )
        if call in self._hooked:
            call.without_gradient.update(dict.fromkeys(tensors, HOOKED))
        for name, alias in leaves(aliased):
            if not _requires_grad(alias) or call in self._hooked:
                continue
            tensor = _base_of(tensors[name], [t for _, t in changed])
            if tensor is None:
                # if the caller changes the view in place, its graph goes past the view
                for watched, if_changed in ((alias, False), (tensors[name], True)):
                    watched.register_hook(
                        functools.partial(self._add_output_grad, call, name, if_changed)
                    )
                self._aliases.append((call, name, alias, alias._version))
            elif tensor.shape == alias.shape:
                changes = name in call.without_gradient
                tensor.register_hook(functools.partial(self._add_output_grad, call, name, changes))
            else:
                call.without_gradient[name] = IN_PLACE
        return aliased

    def _add_input_grad(self, call: Call, name: str, grad: Tensor) -> None:
        if self._open:  # a gradient inside a forward
            return
        if not call.input_grads:
            self.events.append(("vjp", call))
        add_gradient(call.input_grads, name, grad)

    def _add_output_grad(self, call: Call, name: str, if_changed: bool, grad: Tensor) -> None:
        """Add the gradient of an output: of its view, or of itself if the view was changed."""
        if (name in call.without_gradient) == if_changed and not self._open:
            if not call.output_grads:
                self.events.append(("cotangent", call))
            add_gradient(call.output_grads, name, grad)

    def tap(self, name: str, value: Any) -> Any:
        if self._in_backward:
            return value
        call = self._new_call(name, "", "tap")
        return self._watch_outputs(call, value)


def unwrapped(module: Any) -> Any:
    """The module inside torch.compile's wrapper, or the module itself."""
    while hasattr(module, "_orig_mod"):
        module = module._orig_mod
    return module


def _base_of(output: Any, changed: list[Any]) -> Tensor | None:
    """The tensor through which every use of an output goes that is an input changed in place."""
    for tensor in changed:
        if isinstance(tensor, Tensor) and tensor.data_ptr() == output.data_ptr():
            return tensor if tensor._base is None else tensor._base
    return None


def _alias(tensor: Any) -> Any:
    """A view of a tensor that requires a gradient; anything else is kept."""
    if not _requires_grad(tensor) or not torch.is_grad_enabled():
        return tensor
    return tensor if tensor.layout is not torch.strided else tensor.view_as(tensor)


def _requires_grad(tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and tensor.requires_grad


def _version(tensor: Any) -> int:
    if not isinstance(tensor, Tensor) or tensor.is_inference():
        return 0
    return tensor._version
