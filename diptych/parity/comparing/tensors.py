"""List every tensor that two runs have in common, in the left's order of computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from diptych.options.options import Options
from diptych.parity.comparing.items import Item
from diptych.parity.comparing.roundings import roundings
from diptych.parity.comparing.states import tie_problems
from diptych.parity.running.alignment import Alignment, layout_name, match_leaves
from diptych.parity.running.run import Run
from diptych.parity.running.sides import Side
from diptych.parity.running.trace import Arrays, Call, Phase

FROZEN = "frozen on the right (requires_grad=False)"
UNUSED = "unused: no gradient reached it on the right"


class Tensors:
    """The tensors of two runs. `notes` collects what cannot be compared, each with its reason."""

    def __init__(
        self,
        side: Side,
        states: tuple[Run, Run],
        alignment: Alignment,
        options: Options,
        left: Run,
        right: Run,
    ) -> None:
        self.options, self.alignment = options, alignment
        self.left, self.right = left, right
        self.left_state, self.right_state = states
        self.modules, self.accumulation = side.modules, side.accumulation
        self._is_recorded = not side.can_run
        self.notes: list[str] = []
        optional = side.gradients_are_optional or not right.differentiated
        self.gradients = left.differentiated or not optional
        if not self.gradients:
            self.notes.append(f"gradients ({side.without_gradients})")
        self._tie_problems = dict(tie_problems(self.left_state, self.right_state, options))
        self._without_gradient: dict[str, list[str]] = {}

    def items(self) -> Iterator[Item]:
        """Every tensor besides the first parameters."""
        parameters = self._by_last_call("vjp", self._parameters())
        buffers = self._by_last_call("forward", self.left.buffers)
        total = 0  # roundings up to here
        for phase, call in self.left.events:
            if phase != "cotangent":
                total += roundings(call, self.modules.get(call.module), phase)
            # the cotangent of the root method is drawn, not computed
            if phase != "cotangent" or call.parent is not None:
                yield from self._items_of(call, *_ARRAYS[phase], total)
            if phase == "forward":
                for name in buffers.pop(call.name, []):
                    yield from self._buffer(name, call, total)
            if phase == "vjp":
                for name in parameters.pop(call.name, []):
                    yield from self._gradient(name, call, total)
        for name in (name for names in buffers.values() for name in names):
            yield from self._buffer(name, None, total)
        for name in (name for names in parameters.values() for name in names):
            yield from self._gradient(name, None, total)
        yield from self._gradients_of_the_right_alone(total)
        yield from self._changed_parameters(total)
        if self.left.whole and self.right.whole:
            yield from self._calls_of_the_right_alone(total)
        for reason, titles in self._without_gradient.items():
            self.notes.append(f"gradients of {', '.join(titles)} ({reason})")

    def _gradients_of_the_right_alone(self, total: int) -> Iterator[Item]:
        """Gradients of calls through which no gradient of the left went."""
        reached = {(phase, call) for phase, call in self.left.events}
        for call in self.left.calls.values():
            if ("cotangent", call) not in reached and not call.is_root:
                yield from self._items_of(call, *_ARRAYS["cotangent"], total)
            if ("vjp", call) not in reached:
                yield from self._items_of(call, *_ARRAYS["vjp"], total)

    def _calls_of_the_right_alone(self, total: int) -> Iterator[Item]:
        """Calls that only the right model made: of a method that the left called less often."""
        methods = {(call.module, call.method) for call in self.left.calls.values()}
        silent: list[str] = []
        for name, call in self.right.calls.items():
            if name in self.left.calls or not call.outputs:
                continue
            if (call.module, call.method) in methods or call.method in ("forward", "tap"):
                array = next(iter(call.outputs.values()))
                yield Item(name, "output", None, "", None, array, lambda _: None, total)
            elif name not in self.left.helpers:
                silent.append(name)
        if silent:
            self.notes.append(f"{', '.join(silent)} (called on the right only)")

    def _changed_parameters(self, total: int) -> Iterator[Item]:
        """Parameters that a run has changed: their values after it."""
        for name, array in self.left_state.state.items():
            right_name = self.options.right_name(name)
            if name not in self.left.changed and right_name not in self.right.changed:
                continue
            left = self.left.changed.get(name, array)
            after = self.right_state.state | self.right.changed
            right = self.options.from_right(name, after)
            yield Item(name, "buffer", None, name, left, right, lambda run: None, total)

    def _items_of(
        self, call: Call, kind: str, arrays_of: Callable[[Call], Arrays], total: int
    ) -> Iterator[Item]:
        """The arrays of one kind in one call."""
        twin = self.right.calls.get(call.name)
        if not call.is_root and not (self.left.whole and self.right.whole):
            return
        matches = self._matches(call, twin, kind)
        rights = {} if twin is None else arrays_of(twin)
        if kind != "output" and twin is not None and not self._has_gradients(call, twin, kind):
            return
        lefts = arrays_of(call)
        known = set(matches.values())
        names = [*lefts, *(matches_back(matches, n) for n in rights if n not in known)]
        for leaf in dict.fromkeys([*names, *(n for n, m in matches.items() if m in rights)]):
            left, right = lefts.get(leaf), rights.get(matches.get(leaf, leaf))
            if kind != "output" and twin is not None:
                is_input = kind == "input gradient"
                is_constant = is_input and leaf not in twin.variables
                if is_constant or _is_zero(left, right):
                    continue
                if self._is_recorded and is_input and leaf not in call.variables:
                    self._note(call.title(kind, leaf), "it required no gradient in the recording")
                    continue
                reasons = (
                    (call.without_gradient.get(leaf), left),
                    (twin.without_gradient.get(matches.get(leaf, leaf)), right),
                )
                reason = next((r for r, g in reasons if r and (g is None or is_input)), None)
                if reason:
                    self._note(call.title(kind, leaf), reason)
                    continue
            title = call.title(kind, leaf)
            if right is not None:
                right = np.asarray(self.options.to_left(layout_name(call, kind, leaf), right))
            yield Item(
                title,
                kind,
                call,
                leaf,
                left,
                right,
                lambda run, leaf=leaf: _array_of(run, call.name, arrays_of, leaf),  # type: ignore[misc]
                total,
                dtypes=tuple(
                    c.dtypes[n]
                    for c, n in ((call, leaf), (twin, matches.get(leaf, leaf)))
                    if kind == "output" and c is not None and n in c.dtypes
                ),
            )

    def _has_gradients(self, call: Call, twin: Call, kind: str) -> bool:
        """False, with a note, if one side records no gradients for this call."""
        if not self.gradients:
            return False
        if not call.differentiable and call.method != "tap":
            self._note(call.name, "the left has no vjp")
        elif call.differentiated_inside and not call.output_grads:
            self._note(call.name, "the left calls its vjp inside a forward")
            return False
        elif not twin.differentiable and (call.output_grads or call.input_grads):
            self._note(call.name, "it requires no gradient on the right")
        if call.method == "tap" and not call.output_grads:
            if twin.output_grads:
                self._note(call.name, "the left has none")
            return False
        return call.differentiable and twin.differentiable

    def _note(self, title: str, reason: str) -> None:
        titles = self._without_gradient.setdefault(reason, [])
        if title not in titles:
            titles.append(title)

    def _matches(self, call: Call, twin: Call | None, kind: str) -> dict[str, str]:
        """Left name -> right name of the outputs or inputs of a call."""
        if twin is None:
            return {}
        if kind == "input gradient":
            return {name: name for name in call.inputs}
        return match_leaves(call.outputs, twin.outputs)

    def _parameters(self) -> list[str]:
        """The left's parameters, of tied ones the first name."""
        later = {name for group in self.left_state.ties for name in self._in_order(group)[1:]}
        return [n for n in self._in_order(self.left_state.parameters) if n not in later]

    def _in_order(self, names: Iterable[str]) -> list[str]:
        members = set(names)
        return [name for name in self.left_state.state if name in members]

    def _gradient(self, name: str, call: Call | None, total: int) -> Iterator[Item]:
        """The gradient of one parameter."""
        if not self.gradients:
            return
        left = self.left.gradients.get(name)
        right = self.options.from_right(name, self.right.gradients)
        problem = self._tie_problems.get(name, "")
        if right is None and left is None:
            self._note(name, "unused on both sides")
            return
        if right is None:
            right_name = self.options.right_name(name)
            known = right_name in self.right_state.state
            reason = FROZEN if right_name in self.right_state.frozen else UNUSED
            # an unfrozen parameter of which the left has a gradient was detached by mistake
            harmless = reason == FROZEN or left is None or not left.any()
            if known and harmless and self.options.may_be_unused(name):
                self._note(name, reason.partition(":")[0])
                return
            problem = problem or (reason if known else "")
        times = self.accumulation.get(name)
        if times is not None:
            problem = _accumulation_problem(times)
        yield Item(
            name,
            "parameter gradient",
            call,
            name,
            left,
            None if right is None else np.asarray(right),
            lambda run: run.gradients.get(name),
            total,
            problem=problem,
        )

    def _buffer(self, name: str, call: Call | None, total: int) -> Iterator[Item]:
        """The value of one buffer after the run; its initial value is among the parameters."""
        right = self.options.from_right(name, self.right.buffers)
        left = self.left.buffers[name]
        if right is None and left.dtype.kind in "iub":
            return
        yield Item(
            name, "buffer", call, name, left, right, lambda run: run.buffers.get(name), total
        )

    def _by_last_call(self, phase: Phase, named: Iterable[str]) -> dict[str, list[str]]:
        """Group names by the last call of their module in a phase.

        That call is the last to update a buffer, or the one whose vjp is the last to add to a
        gradient, so the value is final after it.
        """
        last = {call.module: call.name for event, call in self.left.events if event == phase}
        groups: dict[str, list[str]] = {}
        for name in named:
            owner = self.alignment.left_names.get(name.rpartition(".")[0], "")
            groups.setdefault(last.get(owner, ""), []).append(name)
        return groups


def matches_back(matches: dict[str, str], right_name: str) -> str:
    """The left name of a right one, or the right name itself if nothing on the left matches."""
    return next((left for left, right in matches.items() if right == right_name), right_name)


def _array_of(
    run: Run, name: str, arrays_of: Callable[[Call], Arrays], leaf: str
) -> np.ndarray | None:
    call = run.calls.get(name)
    return None if call is None else arrays_of(call).get(leaf)


def _accumulation_problem(times: float) -> str:
    if abs(times - 1) < 1e-6:
        return "overwritten on the left: a second backward pass does not double it"
    if not np.isfinite(times):
        return "not finite after a second backward pass on the left"
    return f"added {times:.3g} times on the left in two backward passes, takes 2"


def _is_zero(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    """True for a gradient that one side does not have and that is exactly 0 on the other."""
    one = right if left is None else left
    return (left is None) != (right is None) and one is not None and not one.any()


_ARRAYS: dict[str, tuple[str, Callable[[Call], Arrays]]] = {
    "forward": ("output", lambda call: call.outputs),
    "cotangent": ("output gradient", lambda call: call.output_grads),
    "vjp": ("input gradient", lambda call: call.input_grads),
}
