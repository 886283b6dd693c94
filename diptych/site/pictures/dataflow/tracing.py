"""Run the left panel of a pair on arrays that know their origins."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diptych import pairs
from diptych.arrays import leaves
from diptych.parity.registered import BATCH_SIZE
from diptych.parity.running.numpy_trace import NumpyTrace, has_vjp
from diptych.parity.running.trace import Call, public_methods
from diptych.site.pictures.dataflow.provenance import Origins, origins_of, outputs_of
from model_specs.common.key import Key
from numpy_ref.nn.module import Module, as_dtype

FLOAT64 = as_dtype("float64")


@dataclass(frozen=True)
class FlowRun:
    """The calls of one run of a loss, and the origins of the arrays that they read and return."""

    model: Any
    calls: dict[str, Call]
    """in the order in which they ended"""
    functions: dict[str, Any]
    """the function or method of each call"""
    reads: dict[str, dict[str, Origins]]
    """call -> input name, such as "0" or "1.eps" -> origins"""
    inside: dict[str, dict[str, Origins]]
    """call -> output name -> origins within the call"""
    root: str = "loss"


class FlowTrace(NumpyTrace):
    """A trace that notes the origins of each call's inputs and outputs."""

    def __init__(self, modules: dict[str, Any]) -> None:
        methods = {(p, m) for p, module in modules.items() for m in public_methods(module, Module)}
        super().__init__(modules, methods)
        self.functions: dict[str, Any] = {}
        self.reads: dict[str, dict[str, Origins]] = {}
        self.inside: dict[str, dict[str, Origins]] = {}

    def _run(self, path: str, method: str, original: Any, *args: Any, **keywords: Any) -> Any:
        self._original = original
        return super()._run(path, method, original, *args, **keywords)

    def _record(self, call: Call, original: Any, *arguments: Any) -> Any:
        self.functions[call.name] = self._original
        named = (leaf for i, argument in enumerate(arguments) for leaf in leaves(argument, str(i)))
        self.reads[call.name] = {name: origins_of(array) for name, array in named}
        result = super()._record(call, original, *arguments)
        value = result[0] if has_vjp(result) else result
        if call.name not in self.calls:
            self._end(call, value)  # a method without a vjp
        self.inside[call.name] = {name: origins_of(array) for name, array in leaves(value)}
        value = outputs_of(call.name, value)
        return (value, result[1]) if has_vjp(result) else value

    @contextlib.contextmanager
    def functions_of(self, model: Module) -> Iterator[None]:
        """Record the functions that the files of the model's modules define or import, too.

        The files of the chapter nn are left out: their functions are the insides of layers.
        """
        types = dict.fromkeys(type(module) for _, module in model.named_modules())
        names = [c.__module__ for cls in types for c in cls.__mro__[:-1]]
        files = [sys.modules[name] for name in names if not name.startswith("numpy_ref.nn")]
        replaced = [
            (file, name, value)
            for file in dict.fromkeys(files)
            for name, value in vars(file).items()
            if inspect.isfunction(value) and _is_layer(value)
        ]
        try:
            for file, name, function in replaced:
                setattr(file, name, functools.partial(self._run, "", name, function))
            yield
        finally:
            for file, name, function in replaced:
                setattr(file, name, function)


def _is_layer(function: Any) -> bool:
    """True for public functions of the left panel that map arrays to arrays."""
    panel = function.__module__.startswith("numpy_ref.")
    return panel and "tuple[" in str(function.__annotations__.get("return", ""))


def run_flow(name: str) -> FlowRun:
    """Run the loss of "pair" or "pair[variant]" as `parity.compare` does, and note its flow."""
    model, batch, noise = panel(name, "left")
    batch, noise = outputs_of("", batch, "0"), outputs_of("", noise, "1")
    trace = FlowTrace(dict(model.named_modules()))
    with trace.functions_of(model), trace:
        model.loss(batch, noise)
    return FlowRun(model, trace.calls, trace.functions, trace.reads, trace.inside)


def panel(name: str, side: str) -> tuple[Any, Any, Any]:
    """(model, batch, noise) of a registered pair with the draws of a parity check."""
    (pair, config), key = pairs.find(name), Key(0)
    weights, options = key.fold_in("weights"), pairs.right_options(name)
    batch = pair.batch(config, key.fold_in("batch"), FLOAT64, BATCH_SIZE)
    left = pair.left(config, weights, dtype=FLOAT64)
    noise = left.draw_noise(key.fold_in("noise"), BATCH_SIZE)
    model = left if side == "left" else pair.right(config, weights, dtype="float64", **options)
    return model, batch, noise
