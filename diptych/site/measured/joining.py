"""Join the values of both panels: each value of the left with the one of the right that is equal
in meaning, if there is one."""

from __future__ import annotations

import ast
import contextlib
import functools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

import numpy as np

from diptych.arrays import leaves, to_numpy
from diptych.parity.running.alignment import match_leaves
from diptych.site.measured.gradient_twins import GradientTwins
from diptych.site.measured.line_trace import Execution, Frame, Value
from diptych.site.measured.panel_files import allocates, filled_names, uses
from diptych.site.measured.places import Place, Places
from diptych.site.measured.traced_run import BACKWARD, LOSS, TracedRun
from diptych.site.measured.twins import Twins
from diptych.site.sources.page import SideName


@dataclass(frozen=True)
class JoinedValue:
    """A value of the left panel at its statement, and its twin on the right."""

    place: Place
    stem: str
    name: str
    kind: str
    """value | gradient | mask"""
    phase: str
    chain: tuple[Frame, ...]
    """the call of the function, the one that made it, and so on"""
    source: int
    """the id of the array: a value that is handed on keeps it"""
    key: str
    """the same in every run of the left panel"""
    line: int
    array: np.ndarray
    twin: np.ndarray | None
    argument: str = ""
    """the argument that a return statement hands on unchanged"""


def join(run: TracedRun, places: Places, *, with_lone_values: bool = True) -> list[JoinedValue]:
    """All values of the left panel in the order of computation, with their twins.

    Without `with_lone_values`, a value that has no twin is an array of zeros.
    """
    frames = run.trace.frames
    twins = Twins()
    pairs = match_frames(frames)
    _join_module_calls(run, frames, twins)
    for left, right in pairs.items():
        _join_results(left, right, twins)
        _join_names(left, right, places, twins)
    if run.graph is not None:
        GradientTwins(run, pairs, twins).join()
    result = []
    for key, frame, execution, value in left_values(frames):
        place = places.of(frame.stem, "left", execution.site.line)
        if place is None:
            continue
        twin = used_part(frame, value, twins.of(frame, execution, value))
        array = value.array
        if twin is None and not with_lone_values:  # its shape alone, which takes no memory
            array = np.broadcast_to(np.zeros((), array.dtype), array.shape)
        result.append(
            JoinedValue(
                place,
                frame.stem,
                value.name,
                _kind(frame, value),
                frame.phase,
                frame.chain,
                id(value.source),
                key,
                execution.site.line,
                array,
                twin,
                _argument(frame, value),
            )
        )
    return result


def _argument(frame: Frame, value: Value) -> str:
    """The name of the argument that a returned value is; "" for a value that was computed."""
    if not value.name.startswith("return"):
        return ""
    return next((name for name, item in frame.inputs if item is value.source), "")


def left_values(frames: list[Frame]) -> Iterator[tuple[str, Frame, Execution, Value]]:
    """(key, call, execution, value) in the order of computation.

    Keys are equal in every run of the left panel that takes the same branches.
    """
    counts: Counter[str] = Counter()
    numbers: dict[Frame, int] = {}
    for frame in frames:
        if frame.side == "left":
            numbers[frame] = counts[frame.phase]
            counts[frame.phase] += 1
    executions = [(e, n, f) for f in numbers for n, e in enumerate(f.executions)]
    for execution, n, frame in sorted(executions, key=lambda item: item[0].order):
        for value in execution.values:
            yield f"{frame.phase}|{numbers[frame]}|{n}|{value.name}", frame, execution, value


def used_part(frame: Frame, value: Value, twin: np.ndarray | None) -> np.ndarray | None:
    """The twin, with the left's own elements in those that the function does not use.

    np.where(condition, a, b) computes both branches everywhere; where a branch is not taken its
    value has no meaning, and the panels may differ in it.
    """
    if twin is None or twin.dtype.kind != "f":
        return twin
    for condition, is_taken in branches(frame.function.node, value.name):
        with contextlib.suppress(Exception):
            taken = eval(condition, {"np": np}, dict(frame.variables))
            return np.where(np.broadcast_to(taken == is_taken, twin.shape), twin, value.array)
    return twin


@functools.cache
def branches(function: ast.AST, name: str) -> list[tuple[CodeType, bool]]:
    """(condition, which side of it) of a local variable whose only use is a branch of np.where."""
    result = []
    for node in ast.walk(function):
        is_where = isinstance(node, ast.Call) and ast.unparse(node.func) == "np.where"
        for place, is_taken in ((1, True), (2, False)) if is_where else ():
            argument = node.args[place]  # type: ignore[attr-defined]
            if isinstance(argument, ast.Name) and argument.id == name:
                source = ast.unparse(node.args[0])  # type: ignore[attr-defined]
                result.append((compile(source, "<condition>", "eval"), is_taken))
    return result if uses(function, name) == 1 else []


def _kind(frame: Frame, value: Value) -> str:
    if value.array.dtype.kind == "b":
        return "mask"
    is_gradient = value.name.startswith(("d", "return")) or value.name.endswith("grad")
    return "gradient" if frame.phase == BACKWARD and is_gradient else "value"


def match_frames(frames: list[Frame]) -> dict[Frame, Frame]:
    """Calls of the left -> calls of the right of the same function, if both made equally many."""
    by_key: defaultdict[tuple[str, ...], dict[SideName, list[Frame]]] = defaultdict(
        lambda: {"left": [], "right": []}
    )
    for frame in frames:
        if not frame.function.nested:
            by_key[frame.key][frame.side].append(frame)
    pairs: dict[Frame, Frame] = {}
    for sides in by_key.values():
        if len(sides["left"]) == len(sides["right"]):
            pairs.update(zip(sides["left"], sides["right"], strict=True))
    return pairs


def _join_results(left: Frame, right: Frame, twins: Twins) -> None:
    """Join what two calls of one function return."""
    ours = dict(leaves(value_of(left.result)))
    theirs = dict(leaves(right.result))
    if len(ours) != len(theirs):  # the left returns something else, such as a state without h
        return
    for name, other in match_leaves(ours, theirs).items():
        if name in ours and other in theirs:
            twins.add_object(ours[name], to_numpy(theirs[other]))


def _join_names(left: Frame, right: Frame, places: Places, twins: Twins) -> None:
    """Join what statements of one group assign to one name, the n-th time with the n-th time."""
    ours, theirs = _by_group(left, places), _by_group(right, places)
    for key, values in ours.items():
        others = theirs.get(key, [])
        if len(values) == len(others):
            for (execution, value), (_, other) in zip(values, others, strict=True):
                twins.add_value(left, execution, value, other)


def _by_group(frame: Frame, places: Places) -> dict[tuple[str, str], list[tuple[Execution, Value]]]:
    groups: defaultdict[tuple[str, str], list[tuple[Execution, Value]]] = defaultdict(list)
    filled = filled_names(frame.function.node)
    for execution in frame.executions:
        place = places.of(frame.stem, frame.side, execution.site.line)
        if place is None or allocates(execution.site.node) or execution.site.returned is not None:
            continue
        for value in execution.values:
            if value.name.partition("[")[0] not in filled or value.name.endswith("]"):
                groups[place.group, value.key].append((execution, value))
    return groups


def _join_module_calls(run: TracedRun, frames: list[Frame], twins: Twins) -> None:
    """Join the outputs of modules that torch supplies, by the path of the module."""
    calls = defaultdict(list)
    for call in run.module_calls:
        calls[call.path].append(call)
    ours = defaultdict(list)
    for frame in frames:
        if is_module_call(frame):
            ours[frame.path].append(frame)
    for path, lefts in ours.items():
        if len(lefts) == len(calls[path]):
            for left, call in zip(lefts, calls[path], strict=True):
                twins.module_calls[left] = call
                mine, theirs = dict(leaves(value_of(left.result))), dict(leaves(call.output))
                for name, other in match_leaves(mine, theirs).items():
                    twins.add_object(mine[name], to_numpy(theirs[other]))


def is_module_call(frame: Frame) -> bool:
    """True for the forward of a module of the left panel in the training loss."""
    return (
        frame.side == "left"
        and frame.phase == LOSS
        and frame.is_method
        and frame.function.definition.endswith(".forward")
        and not frame.function.nested
        and not (
            frame.parent is not None
            and frame.parent.owner is frame.owner
            and frame.parent.function.definition.endswith(".forward")
        )
    )


def value_of(result: object) -> object:
    """The value of (value, vjp), or the result itself."""
    if isinstance(result, tuple) and len(result) == 2 and callable(result[1]):
        return result[0]
    return result
