"""Record the arrays that each statement of both panels assigns, as the interpreter runs them."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from diptych.arrays import leaves, to_numpy
from diptych.site.measured.panel_files import FunctionSites, PanelFile, Site
from diptych.site.sources.page import SideName

MOST_FRAMES = 120
"""Calls of one function in one phase that are recorded; sampling pixel by pixel makes more."""


class Value(NamedTuple):
    """An array that a statement assigned or returned, as it was then."""

    name: str
    """"h", "last.h", "return.total", or "a[t]" """
    key: str
    """the name under which both panels join"""
    source: Any
    """the array or tensor itself"""
    array: np.ndarray
    """its copy in NumPy"""
    edge: Any = None
    """where the gradient of a tensor flows in torch's graph"""


class Execution(NamedTuple):
    """One execution of a statement, with its values; `order` counts all executions."""

    site: Site
    values: tuple[Value, ...]
    order: int


@dataclass(eq=False)
class Frame:
    """One call of a function of a panel."""

    side: SideName
    stem: str
    function: FunctionSites
    phase: str
    parent: Frame | None
    owner: Any
    """the object whose method it is"""
    inputs: tuple[tuple[str, Any], ...]
    """positional arguments without the owner: (name, value)"""
    edges: dict[int, Any]
    """where the gradients of the inputs flow in torch's graph, by the id of the tensor"""
    first: int
    """number of autograd nodes of the thread when it began, and when it ended"""
    last: int = -1
    path: str = ""
    """path of the module whose method it is; of a function, that of its caller"""
    is_method: bool = False
    """True for a method of a module"""
    executions: list[Execution] = field(default_factory=list)
    result: Any = None
    code: CodeType | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    """local variables at its end"""
    finished: bool = False

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Frames of one key on both sides correspond, in order."""
        return self.phase, self.stem, self.function.definition, self.path

    @property
    def chain(self) -> tuple[Frame, ...]:
        """This call, the one that made it, and so on."""
        return (self, *(self.parent.chain if self.parent is not None else ()))


class LineTrace:
    """Context in which every statement of the panels is recorded; it changes no result.

    `files` are the panel files by path. `name_modules` gives frames of methods the path of their
    module. `phase` is the name of what runs; the caller sets it.
    """

    def __init__(self, files: Mapping[str, PanelFile]) -> None:
        self.files = files
        self.frames: list[Frame] = []
        self.phase = ""
        self.order = 0
        self._open: list[Frame] = []
        self._counts: Counter[tuple[str, int]] = Counter()
        self._previous: Any = None

    def __enter__(self) -> Self:
        self._previous = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)
        self._open.clear()

    def name_modules(self, *models: Any) -> None:
        """Name the frames of methods by the path of their module within its model."""
        paths = {id(module): path for model in models for path, module in model.named_modules()}
        for frame in self.frames:
            frame.is_method = id(frame.owner) in paths
            caller = frame.parent.path if frame.parent is not None else ""
            frame.path = paths.get(id(frame.owner), caller)

    def close(self) -> None:
        """Free the arrays: frames and vjps refer to each other in circles."""
        for frame in self.frames:
            vars(frame).clear()
        self.frames.clear()

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        file = self.files.get(code.co_filename)
        if event != "call" or file is None:
            return None
        function = file.functions.get((code.co_firstlineno, code.co_name))
        if function is None:
            return None
        count = (f"{self.phase} {code.co_filename} {code.co_name}", code.co_firstlineno)
        self._counts[count] += 1
        if self._counts[count] > MOST_FRAMES:
            return None
        parent = self._open[-1] if self._open else None
        owner, inputs = _arguments(frame)
        edges = {id(t): e for _, t in leaves(inputs) if (e := gradient_edge(t)) is not None}
        record = Frame(
            file.side, file.stem, function, self.phase, parent, owner, inputs, edges, _nodes()
        )
        self.frames.append(record)
        self._open.append(record)
        return functools.partial(self._local, record, [None])

    def _local(
        self, record: Frame, pending: list[Site | None], frame: FrameType, event: str, arg: Any
    ) -> Any:
        if event == "line":
            site = record.function.sites.get(frame.f_lineno)
            if site is not pending[0]:
                self._finish(record, pending[0], frame)
                pending[0] = site
        elif event == "return":
            self._finish(record, pending[0], frame)
            if record in self._open:
                del self._open[self._open.index(record) :]
            record.last, record.result, record.code = _nodes(), arg, frame.f_code
            record.variables, record.finished = dict(frame.f_locals), arg is not None
            site = pending[0]
            if site is not None and site.returned is not None and arg is not None:
                named = leaves(_without_vjp(arg), "return")
                self._record(record, site, [_value(n, n, a) for n, a in named])
        return functools.partial(self._local, record, pending)

    def _finish(self, record: Frame, site: Site | None, frame: FrameType) -> None:
        """Record what a statement assigned, after it."""
        if site is None or not site.targets:
            return
        variables, values = frame.f_locals, []
        for target in site.targets:
            if target.is_simple:
                value = variables.get(target.name)
            else:
                value = _evaluate(target.node, frame)
            for name, array in leaves(value, target.name):
                key = target.key + name.removeprefix(target.name)
                values.append(_value(name, key, array))
        self._record(record, site, values)

    def _record(self, record: Frame, site: Site, values: list[Value]) -> None:
        self.order += 1
        record.executions.append(Execution(site, tuple(values), self.order))


def _value(name: str, key: str, source: Any) -> Value:
    return Value(name, key, source, to_numpy(source), gradient_edge(source))


def gradient_edge(tensor: Any) -> Any:
    """Where the gradient of a tensor flows in torch's graph; None if it has none."""
    if not isinstance(tensor, torch.Tensor) or not tensor.requires_grad:
        return None
    if not torch.is_grad_enabled():
        return None
    return torch.autograd.graph.get_gradient_edge(tensor)


def _arguments(frame: FrameType) -> tuple[Any, tuple[tuple[str, Any], ...]]:
    """The owner of a method, and (name, value) of the other positional arguments.

    `out`, the array that a result is written to, is no input.
    """
    code, variables = frame.f_code, frame.f_locals
    names = code.co_varnames
    inputs = [(n, variables[n]) for n in names[: code.co_argcount] if n in variables and n != "out"]
    owner = inputs.pop(0)[1] if inputs and inputs[0][0] == "self" else None
    if code.co_flags & inspect.CO_VARARGS:
        rest = names[code.co_argcount + code.co_kwonlyargcount]
        inputs += [(f"{rest}[{i}]", value) for i, value in enumerate(variables[rest])]
    return owner, tuple(inputs)


def _evaluate(node: Any, frame: FrameType) -> Any:
    """The value of an attribute or element; None if it cannot be read."""
    try:
        return eval(_compiled(node), frame.f_globals, frame.f_locals)
    except Exception:
        return None


@functools.cache
def _compiled(node: Any) -> Any:
    return compile(ast.unparse(node), "<target>", "eval")


def _without_vjp(result: Any) -> Any:
    """The value of (value, vjp), or the result itself."""
    if isinstance(result, tuple) and len(result) == 2 and callable(result[1]):
        return result[0]
    return result


def _nodes() -> int:
    return torch._C._autograd._get_sequence_nr()
