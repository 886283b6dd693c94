"""The options of a comparison: names, layouts, exceptions and bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Options:
    """The options of `compare`; the defaults compare everything under equal names and layouts."""

    rename: Mapping[str, str] = field(default_factory=dict)
    """Left name of a parameter, buffer or module -> right name, which may be sliced"""
    layout: Mapping[str, str] = field(default_factory=dict)
    """Pattern of left names -> "i o -> o i", from the left's layout to the right's"""
    ignore: Sequence[str] = ()
    """Patterns of names of rows that are not compared"""
    allow_unused: bool | Sequence[str] = False
    """True, or patterns of parameters that may get no gradient on the right"""
    bound: float | Mapping[str, float] | None = None
    """A bound set by hand, for all tensors or by pattern"""
    infinities: Literal["masked", "equal", "error"] = "masked"
    """Which infinities may be equal on both sides"""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the root method on both sides"""

    def right_name(self, left_name: str) -> str:
        """The right name, without a slice, of a parameter, a buffer or a module path."""
        return left_name

    def left_names(self, right_name: str) -> Iterable[str]:
        """Every left name of a right parameter, buffer or module path; several if it is sliced."""
        return (right_name,)

    def from_right(self, left_name: str, right_arrays: Mapping[str, Any]) -> Any | None:
        """The right panel's array (NumPy or torch) for a left name: sliced, in the left's layout.

        None if the right has no such array.
        """
        return right_arrays.get(left_name)

    def unmatched(self, left_names: Iterable[str], right_names: Iterable[str]) -> list[str]:
        """The right names to which no left name belongs, or only some of whose slices do."""
        left = {self.right_name(name) for name in left_names}
        return [name for name in right_names if name not in left]

    def to_left(self, name: str, array: Any) -> Any:
        """Rearrange an array of the right panel to the left's layout; `name` is a left name."""
        return array

    def to_right(self, name: str, array: Any) -> Any:
        """Rearrange an array of the left panel to the right's layout; `name` is a left name."""
        return array

    def ignored(self, name: str) -> bool:
        """True if rows of this name are not compared."""
        return False

    def may_be_unused(self, name: str) -> bool:
        """True if the right parameter may get no gradient."""
        return bool(self.allow_unused)

    def bound_for(self, name: str) -> float | None:
        """The bound set by hand for this row, or None."""
        return None

    def used(self) -> dict[str, Any]:
        """The options that are not at their default, ready for JSON."""
        return {}
