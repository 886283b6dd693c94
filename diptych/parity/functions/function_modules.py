"""Plain functions as modules that `compare` takes."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from diptych.parity.functions.arguments import Arguments
from diptych.parity.functions.styles import PAIRS, STYLES
from numpy_ref.nn.module import Module, Parameter


class FunctionModule(Module):
    """A function in the form of `styles`, with its parameters, as a module."""

    _run: Callable[..., Any]
    _arguments: Arguments
    _function: Callable[..., Any]
    source_object: Any
    """The user's function: its file and line stand in a report"""

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        for name, array in params.items():
            if not name or hasattr(self, name):
                raise ValueError(f"params: got the name {name!r}, which a module uses itself")
            vars(self)[name] = Parameter(np.array(array))

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        params = {name: vars(self)[name].data for name in self._arguments.params}
        copies = {name: data.copy() for name, data in params.items()}
        y, function_vjp = self._run(*self._arguments.fill(inputs, copies), **keywords)
        if function_vjp is None:
            return y

        def vjp(*dys: Any) -> Any:
            of_params, of_inputs = self._arguments.gradients(function_vjp(*dys), inputs, params)
            for name, gradient in of_params.items():
                parameter = vars(self)[name]
                if parameter.grad.shape != gradient.shape:  # the comparison reports it
                    parameter.grad = np.zeros(gradient.shape, gradient.dtype)
                parameter.grad += gradient
            return of_inputs[0] if len(of_inputs) == 1 else of_inputs

        with contextlib.suppress(TypeError, ValueError):  # builtins have none
            vjp.__signature__ = inspect.signature(function_vjp)  # type: ignore[attr-defined]
        return y, vjp


class TorchFunction(nn.Module):
    """A function of torch tensors, with its parameters, as a module."""

    _arguments: Arguments
    _function: Callable[..., Any]

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name, array in params.items():
            if not name or hasattr(self, name):
                raise ValueError(f"params: got the name {name!r}, which a module uses itself")
            # not register_parameter, which takes no name with a dot
            self._parameters[name] = nn.Parameter(torch.from_numpy(np.array(array)))

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        return self._function(*self._arguments.fill(inputs, self._parameters), **keywords)


def function_module(
    function: Any, style: str, params: Mapping[str, np.ndarray], input_count: int
) -> Module | TorchFunction:
    """The module of a function of one of the styles, or of "torch"."""
    forward = function[0] if style in PAIRS else function
    arguments = Arguments(forward, tuple(params), input_count)
    if style == "torch":
        return subclass_of(TorchFunction, arguments, forward)(params)
    return subclass_of(FunctionModule, arguments, forward, STYLES[style](function))(params)


def subclass_of(
    base: Any, arguments: Arguments, function: Callable[..., Any], run: Any = None
) -> Any:
    """A class of its own for each function: it bears its name, and its forward the signature."""

    @functools.wraps(base._forward)
    def forward(self: Any, *inputs: Any, **keywords: Any) -> Any:
        return self._forward(*inputs, **keywords)

    forward.__signature__ = arguments.signature  # type: ignore[attr-defined]
    name = arguments.label if arguments.label.isidentifier() else "function"
    attributes = {
        "forward": forward,
        "_arguments": arguments,
        "_function": staticmethod(function),
        "source_object": property(lambda self: inspect.unwrap(_innermost(function))),
        "__module__": getattr(function, "__module__", None) or __name__,
    }
    if run is not None:
        attributes["_run"] = staticmethod(run)
    return type(name, (base,), attributes)


def _innermost(function: Any) -> Any:
    """The function inside functools.partial."""
    return _innermost(function.func) if isinstance(function, functools.partial) else function
