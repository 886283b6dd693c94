"""The graph that is drawn: boxes, arrows and frames, and how it is made smaller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One call in a box: its class or function, the path of its module, and its source."""

    label: str
    path: str
    function: Any = None
    count: int = 1


@dataclass
class Box:
    """An input, an output, or calls in a chain that keep the shape of their array."""

    name: str
    kind: Literal["input", "call", "output"]
    rows: list[Row]
    frame: str = ""
    """name of the call that made these calls; "" if it is the root"""


@dataclass
class Arrow:
    """The arrays that one box hands to another: (name, shape) of each."""

    source: str
    target: str
    arrays: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class FlowGraph:
    """The boxes and arrows of a drawing, and the calls that frame several boxes."""

    boxes: dict[str, Box]
    arrows: list[Arrow]
    frames: dict[str, tuple[Row, str]]
    """name of a frame -> its row and the frame around it"""

    between_calls: frozenset[tuple[int, int]]
    """the arrows between single calls, by the numbers of the calls"""

    def looks_like(self, other: FlowGraph) -> bool:
        """True if calls or boxes are connected alike, whatever their sizes and names are."""
        return self.between_calls == other.between_calls or self._between() == other._between()

    def _between(self) -> frozenset[tuple[int, int]]:
        return numbered(self.boxes, self.arrows)


def numbered(boxes: dict[str, Box], arrows: list[Arrow]) -> frozenset[tuple[int, int]]:
    numbers = {name: i for i, name in enumerate(boxes)}
    return frozenset((numbers[arrow.source], numbers[arrow.target]) for arrow in arrows)


def merge(name: str, boxes: dict[str, Box], arrows: list[Arrow], kept_shape: Any) -> None:
    """Put a box under the only box that it reads, if that is read by no other, in one frame."""
    before = [arrow for arrow in arrows if arrow.target == name]
    if name not in boxes or len(before) != 1 or len(before[0].arrays) != 1:
        return
    source, target = boxes[before[0].source], boxes[name]
    readers = [arrow for arrow in arrows if arrow.source == source.name]
    are_calls = source.kind == target.kind == "call" and source.frame == target.frame
    if not are_calls or len(readers) != 1 or not kept_shape(source, target):
        return
    merged = Box(f"{source.name} | {name}", "call", source.rows + target.rows, source.frame)
    arrows.remove(before[0])
    for arrow in arrows:
        if arrow.target == source.name:
            arrow.target = merged.name
        if arrow.source == name:
            arrow.source = merged.name
    order = {(merged.name if n == name else n): b for n, b in boxes.items() if n != source.name}
    boxes.clear()
    boxes.update(order)
    boxes[merged.name] = merged


def within(row: Row, prefix: str) -> Row:
    """The row with its path below that of its frame: ".0" for "encoder.blocks.0"."""
    inside = prefix and f"{row.path}.".startswith(f"{prefix}.")
    return replace(row, path=row.path[len(prefix) :]) if inside else row


def folded(rows: list[Row]) -> Iterator[Row]:
    """Rows of one class after the other as one row with a count."""
    last: Row | None = None
    for row in rows:
        if last is not None and row.label == last.label and row.function and row.path:
            stem = last.path.split(" … ")[0]
            end = row.path if row.path != stem else ""  # a layer that is used again
            last = Row(row.label, f"{stem} … {end}", last.function, last.count + 1)
            continue
        if last is not None:
            yield last
        last = row
    if last is not None:
        yield last


def that_reach_an_output(
    boxes: dict[str, Box], arrows: list[Arrow]
) -> tuple[dict[str, Box], list[Arrow]]:
    """The boxes on which a loss term depends, and the arrows between them."""
    names = {name for name, box in boxes.items() if box.kind == "output"}
    while more := {a.source for a in arrows if a.target in names} - names:
        names |= more
    boxes = {name: box for name, box in boxes.items() if name in names}
    return boxes, [arrow for arrow in arrows if arrow.target in names]
