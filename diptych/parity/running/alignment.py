"""Which modules and methods of the two sides belong together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diptych.options.options import Options
from diptych.parity.running.sides import Side
from diptych.parity.running.trace import Arrays, Call, Methods

Node = tuple[str, str]
"""("left" or "right", module path)"""


class Alignment:
    """Matches modules by path, after the renaming of `options`, and methods by name.

    A module may stand under several paths, on one side or on both. All paths that are one module on
    either side get one name, the first of them on the left; so a shared activation is compared with
    separate ones.
    """

    def __init__(self, left: Side, right: Side, options: Options) -> None:
        self._groups: dict[Node, list[Node]] = {}
        for side in (left, right):
            for path in side.modules:
                self._groups[side.label, path] = [(side.label, path)]
        self._order = {node: i for i, node in enumerate(self._groups)}
        for side in (left, right):
            for path, other in _same(side.modules):
                self._join((side.label, path), (side.label, other))
        matches = {path: options.right_name(path) if path else "" for path in left.modules}
        matches = {path: other for path, other in matches.items() if other in right.modules}
        for path, other in matches.items():
            self._join((left.label, path), (right.label, other))

        self.left_names = {path: self._name(left.label, path) for path in left.modules}
        self.right_names = {path: self._name(right.label, path) for path in right.modules}
        self.left_methods: Methods = set()
        self.right_methods: Methods = set()
        for path, other in matches.items():
            for method in left.defines(path) & right.defines(other):
                self.left_methods.add((path, method))
                self.right_methods.add((other, method))
        self.right_modules: dict[str, Any] = {}
        """Right modules by the name that both sides have in the calls"""
        for path, name in self.right_names.items():
            self.right_modules.setdefault(name, right.modules[path])
        self.unmatched = [
            f"module {path} of the {side.label}"
            for side, paths in ((left, matches), (right, set(matches.values())))
            for path in side.modules
            if path not in paths and not self._is_matched(side.label, path)
        ]

    def _join(self, one: Node, two: Node) -> None:
        if self._groups[one] is not self._groups[two]:
            merged = sorted(self._groups[one] + self._groups[two], key=self._order.__getitem__)
            for node in merged:
                self._groups[node] = merged

    def _is_matched(self, label: str, path: str) -> bool:
        return len({side for side, _ in self._groups[label, path]}) == 2

    def _name(self, label: str, path: str) -> str:
        """The first path of a group, of the left if it has one there."""
        return self._groups[label, path][0][1]


def _same(modules: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(first path, other path) of every module that stands under several paths."""
    first: dict[int, str] = {}
    for path, module in modules.items():
        if id(module) in first:
            yield first[id(module)], path
        first.setdefault(id(module), path)


def match_leaves(left: Arrays, right: Arrays) -> dict[str, str]:
    """Left name -> right name of each output: by name, or by position if no name is common."""
    common = [name for name in left if name in right]
    if common or not left or not right:
        return {name: name for name in common}
    return dict(zip(left, right, strict=False))


def layout_name(call: Call, kind: str, leaf: str) -> str:
    """The name of a call's input or output under which a layout may stand in the options.

    "conv1" is an output and "conv1(x)" an input; the root's are "output" and "input", with
    "[1]" or ".mu" behind.
    """
    if call.parent is None and kind != "input gradient":
        return f"output{leaf}"
    if call.parent is None:
        digits = len(leaf) - len(leaf.lstrip("0123456789"))
        position = f"[{leaf[:digits]}]" if len(call.arguments) > 1 else ""
        return f"input{position}{leaf[digits:]}"
    unit = Call(call.unit, call.module, call.method, call.parent)
    unit.argument_names = call.argument_names
    return unit.title(kind, leaf)
