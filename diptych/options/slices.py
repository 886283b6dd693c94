"""Names with a slice, such as "c_attn.weight[:, 0:8]"."""

from __future__ import annotations

import re
from types import EllipsisType
from typing import Any, NamedTuple

Index = tuple[int | slice | EllipsisType, ...]
_SLICED = re.compile(r"([^\[\]]*)(?:\[([-\d:,.\s]+)\])?")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(\d+))?")


class SlicedName(NamedTuple):
    """The name of an array, and the part of it that is meant; None is all of it."""

    name: str
    slices: Index | None = None

    def part_of(self, array: Any) -> Any:
        """The part of a NumPy array or a torch tensor.

        Raises: ValueError if the slice is empty or leaves the array.
        """
        if self.slices is None:
            return array
        shape = tuple(array.shape)
        items = [item for item in self.slices if item is not Ellipsis]
        fits = len(items) <= len(shape)
        if fits:
            behind = len(self.slices) - 1 - self.slices.index(...) if ... in self.slices else 0
            front = shape[: len(items) - behind]
            sizes = front + shape[len(shape) - behind :] if behind else front
            fits = all(_fits(item, size) for item, size in zip(items, sizes, strict=True))
        if not fits:
            raise ValueError(f"got shape {shape}, takes one with the slice {_text(self.slices)}")
        open_end = () if ... in self.slices else (...,)  # keeps a single element a view
        return array[(*self.slices, *open_end)]


def parse(text: str) -> SlicedName:
    """Parse a name with or without a slice.

    Raises: ValueError for a slice of another form.

    >>> parse("c_attn.weight[:, 0:8]")
    SlicedName(name='c_attn.weight', slices=(slice(None, None, None), slice(0, 8, None)))
    """
    match = _SLICED.fullmatch(text)
    if match is None:
        raise ValueError(f'got {text!r}, takes a name, or a slice such as "c_attn.weight[:, 0:8]"')
    if match[2] is None:
        return SlicedName(match[1])
    items = tuple(_item(text, item.strip()) for item in match[2].split(","))
    if items.count(...) > 1:
        raise ValueError(f'got {text!r}, takes "..." once')
    return SlicedName(match[1], items)


def _item(text: str, item: str) -> int | slice | EllipsisType:
    if item == "...":
        return ...
    if re.fullmatch(r"-?\d+", item):
        return int(item)
    match = _SLICE.fullmatch(item)
    if match is None or match[3] == "0":
        raise ValueError(f'got {text!r}, takes a slice such as "c_attn.weight[:, 0:8]"')
    start, stop, step = (None if part is None else int(part) for part in match.groups())
    return slice(start, stop, step)


def _fits(item: int | slice | EllipsisType, size: int) -> bool:
    """True if an index or both ends of a slice are inside an axis of this size."""
    if isinstance(item, int):
        return -size <= item < size
    assert isinstance(item, slice)
    inside = all(end is None or -size <= end <= size for end in (item.start, item.stop))
    return inside and len(range(*item.indices(size))) > 0


def _text(index: Index) -> str:
    def of(item: Any) -> str:
        if item is Ellipsis:
            return "..."
        if isinstance(item, int):
            return str(item)
        ends = [item.start, item.stop] + ([] if item.step is None else [item.step])
        return ":".join("" if end is None else str(end) for end in ends)

    return f"[{', '.join(map(of, index))}]"
