"""Choose the calls of a run to draw as boxes, and find the arrows between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diptych.parity.running.trace import Call
from diptych.site.pictures.dataflow.graph import (
    Arrow,
    Box,
    FlowGraph,
    Row,
    folded,
    merge,
    numbered,
    that_reach_an_output,
    within,
)
from diptych.site.pictures.dataflow.provenance import Origin, Origins
from diptych.site.pictures.dataflow.tracing import FlowRun

Shape = tuple[int, ...]
MOST_BOXES = 36
"""A level of calls is opened if the drawing has no more boxes than that afterwards."""


def flow_graph(run: FlowRun) -> FlowGraph:
    """The graph of a run: calls are opened level by level while the drawing stays small."""
    return _Builder(run).graph()


class _Builder:
    def __init__(self, run: FlowRun) -> None:
        self.run, self.calls = run, run.calls
        self.root = run.calls[run.root]
        self.children: dict[str, list[Call]] = {}
        for call in run.calls.values():
            if call.parent is not None:
                self.children.setdefault(call.parent.name, []).append(call)
        self.opened = self._open()
        self.visible = [
            call
            for call in run.calls.values()
            if call.name not in self.opened and self._is_in(call)
        ]

    def graph(self) -> FlowGraph:
        boxes, arrows = {c.name: self._box(c) for c in self.visible}, self._arrows()
        for box in self._ends(arrows):
            boxes[box.name] = box
        boxes, arrows = that_reach_an_output(boxes, arrows)
        between_calls = numbered(boxes, arrows)
        for name in list(boxes):
            merge(name, boxes, arrows, self._kept_shape)
        frames = self._frames(boxes)
        for box in boxes.values():
            prefix = frames[box.frame][0].path if box.frame else ""
            box.rows = list(folded([within(row, prefix) for row in box.rows]))
        return FlowGraph(boxes, arrows, frames, between_calls)

    # which calls are boxes

    def _open(self) -> set[str]:
        """The calls that are drawn as what they call: level by level, from the root on."""
        opened, level = {self.root.name}, self.children[self.root.name]
        while True:
            inner = [call for call in level if self._can_open(call)]
            children = [child for call in inner for child in self.children[call.name]]
            count = len(self._boxes_of(opened | {call.name for call in inner}))
            if not inner or count > MOST_BOXES:
                return opened
            opened |= {call.name for call in inner}
            level = children

    def _can_open(self, call: Call) -> bool:
        """True for a call whose insides tell its outputs.

        They do not where an output is computed from arguments and from inner calls by arithmetic
        of the call itself, as in x + branch(x); where there is a single function inside, which says
        no more than the call; and where one layer is called at every step.
        """
        inside = self.children.get(call.name, [])
        inside = [child for child in inside if child.outputs and self.run.reads[child.name]]
        if len(inside) == 1 and not inside[0].module:
            return False
        repeated = len(inside) > 3 and len({child.unit for child in inside}) == 1
        return bool(inside) and not repeated and not self._mixes(call)

    def _mixes(self, call: Call) -> bool:
        """True if an output is computed from an argument and from an inner call, side by side."""
        inner = {child.name for child in self.children[call.name]}
        for origins in self.run.inside[call.name].values():
            within = {source in inner for source, _ in origins}
            if len(within) == 2:
                return True
        return False

    def _boxes_of(self, opened: set[str]) -> list[Call]:
        calls = self.calls.values()
        return [c for c in calls if c.name not in opened and self._is_in(c, opened)]

    def _is_in(self, call: Call, opened: set[str] | None = None) -> bool:
        """True if all calls around this one are opened."""
        opened = self.opened if opened is None else opened
        return call.parent is not None and (
            call.parent.name in opened
            and (call.parent is self.root or self._is_in(call.parent, opened))
        )

    # boxes and arrows

    def _box(self, call: Call) -> Box:
        parent = call.parent
        frame = "" if parent is None or parent is self.root else parent.name
        return Box(call.name, "call", [self._row(call)], frame)

    def _row(self, call: Call) -> Row:
        function = self.run.functions[call.name]
        if not call.module:  # a method of the model, or a function
            return Row(call.method, "", function)
        cls = type(function.__self__).__name__
        return Row(
            cls if call.method == "forward" else f"{cls}.{call.method}", call.module, function
        )

    def _arrows(self) -> list[Arrow]:
        arrows: dict[tuple[str, str], Arrow] = {}
        for call in self.visible:
            for leaf, origins in self.run.reads[call.name].items():
                self._add(arrows, call.name, call, leaf, self._visible(origins))
        for leaf, origins in self.run.inside[self.root.name].items():
            self._add(arrows, f"output{leaf}", None, leaf, self._visible(origins))
        return list(arrows.values())

    def _add(
        self, arrows: dict[Any, Arrow], target: str, call: Call | None, leaf: str, origins: Origins
    ) -> None:
        for source, output in sorted(origins):
            name = source or f"input {output} of {target}"
            shape = self._shape(source, output)
            label = _shape_text(shape)
            read = call.inputs[leaf].shape if call is not None else shape
            if read != shape and len(origins) == 1:
                label = f"{label} → {_shape_text(read)}"
            title = output.removeprefix(".") if output.startswith(".") and source else ""
            if not title and call is not None and source and len(self.run.reads[call.name]) > 1:
                title = _argument(call, leaf)
            arrow = arrows.setdefault((name, target), Arrow(name, target))
            if (title, label) not in arrow.arrays:
                arrow.arrays.append((title, label))

    def _visible(self, origins: Origins) -> Origins:
        """The origins with those inside of opened calls in place of the opened calls."""
        result: set[Origin] = set()
        for call, leaf in origins:
            inner = self.run.inside[call][leaf] if call in self.opened else None
            result |= {(call, leaf)} if inner is None else self._visible(inner)
        return frozenset(result)

    def _shape(self, call: str, leaf: str) -> Shape:
        return self.calls[call].outputs[leaf].shape if call else self.root.inputs[leaf].shape

    def _ends(self, arrows: list[Arrow]) -> Iterator[Box]:
        """The boxes of inputs, one for each call that reads it, and of the loss terms."""
        for arrow in arrows:
            if arrow.source.startswith("input "):
                leaf = arrow.source.split()[1]
                target = self.calls.get(arrow.target)
                frame = "" if target is None or target.parent is self.root else target.parent.name  # type: ignore[union-attr]
                yield Box(arrow.source, "input", [Row(_argument(self.root, leaf), "")], frame)
            if arrow.target.startswith("output"):
                yield Box(arrow.target, "output", [Row(arrow.target[7:], "")])

    def _kept_shape(self, source: Box, target: Box) -> bool:
        """True if the last call of one box and the only call of the other return equal shapes."""
        shapes = []
        for name in (source.name.split(" | ")[-1], target.name):
            outputs = list(self.calls[name].outputs.values())
            if len(outputs) != 1:
                return False
            shapes.append(outputs[0].shape)
        return shapes[0] == shapes[1]

    def _frames(self, boxes: dict[str, Box]) -> dict[str, tuple[Row, str]]:
        """The calls that frame two boxes or more; a box in any other frame goes a frame up."""
        counts: dict[str, int] = {}
        for box in boxes.values():
            if box.kind == "call":
                for name in self._around(box.frame):
                    counts[name] = counts.get(name, 0) + 1
        frames = {name for name, count in counts.items() if count > 1}
        # of frames around the same boxes the innermost says least: the outermost stays
        frames = {n for n in frames if not self._same_boxes(n, counts, frames)}
        for box in boxes.values():
            box.frame = next((n for n in self._around(box.frame) if n in frames), "")
        return {
            name: (
                self._row(self.calls[name]),
                next((n for n in self._around(name)[1:] if n in frames), ""),
            )
            for name in self.calls
            if name in frames
        }

    def _same_boxes(self, name: str, counts: dict[str, int], frames: set[str]) -> bool:
        outer = [n for n in self._around(name)[1:] if n in frames]
        return bool(outer) and counts[outer[0]] == counts[name]

    def _around(self, name: str) -> list[str]:
        """This call and the calls around it up to the root, which is left out."""
        names = []
        while name and name != self.root.name:
            names.append(name)
            parent = self.calls[name].parent
            name = parent.name if parent is not None else ""
        return names


def _argument(call: Call, leaf: str) -> str:
    """The name of an input in the call's own words: "noise.eps" for "1.eps"."""
    digits = len(leaf) - len(leaf.lstrip("0123456789"))
    position = int(leaf[:digits])
    names = call.argument_names or ("input",)
    return names[min(position, len(names) - 1)] + leaf[digits:]


def _shape_text(shape: Shape) -> str:
    return " × ".join(map(str, shape)) if shape else "scalar"
