"""The options of a comparison: names, layouts, exceptions and bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from diptych.arrays import is_array
from diptych.names import suggestion
from diptych.options import slices
from diptych.options.layouts import Layout
from diptych.options.option_checks import (
    as_bound,
    as_mapping,
    as_patterns,
    check_matched,
    jsonable,
    parsed,
)
from diptych.options.patterns import any_matches, lookup

INFINITIES = ("masked", "equal", "error")
STAR = ".*"


@dataclass(frozen=True)
class Options:
    """The options of `compare`; the defaults compare everything under equal names and layouts.

    All names are the left's. A pattern is a name, or is matched as in the shell: "*", "?", "[a-z]";
    a number in brackets is an index. Where several patterns match, the name itself wins, then the
    first pattern.

    Raises: ValueError that names the option, what it got and what it takes.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    """Left name of a parameter, buffer or module -> right name, which may be sliced. The name of a
    module renames everything below it; the longest name wins. "q.*" -> "c_attn.*[..., 0:8]" renames
    all parameters below a module, but not the module."""
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
    _rename: Mapping[str, slices.SlicedName] = field(init=False, repr=False, compare=False)
    _layout: Mapping[str, Layout] = field(init=False, repr=False, compare=False)
    _names: dict[str, dict[str, None]] = field(init=False, repr=False, compare=False)
    """The names that were looked up, by option"""

    def __post_init__(self) -> None:
        rename = as_mapping("rename", self.rename, "left names to right names")
        _check_stars(rename)
        layout = as_mapping("layout", self.layout, 'patterns of left names to "i o -> o i"')
        checked: dict[str, Any] = {
            "rename": rename,
            "layout": layout,
            "ignore": as_patterns("ignore", self.ignore),
            "bound": as_bound(self.bound),
            "kwargs": as_mapping("kwargs", self.kwargs, "names of arguments to values"),
            "_rename": {key: parsed("rename", key, rename[key], slices.parse) for key in rename},
            "_names": {"layout": {}, "ignore": {}, "bound": {}},
            "_layout": {key: parsed("layout", key, layout[key], Layout) for key in layout},
        }
        if not isinstance(self.allow_unused, bool):
            checked["allow_unused"] = as_patterns("allow_unused", self.allow_unused, "a bool or ")
        if self.infinities not in INFINITIES:
            names = ", ".join(map(repr, INFINITIES))
            raise ValueError(f"infinities: got {self.infinities!r}, takes one of {names}")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def right_name(self, left_name: str) -> str:
        """The right name, without a slice, of a parameter, a buffer or a module path."""
        return self._target(left_name).name

    def left_names(self, right_name: str) -> Iterable[str]:
        """Every left name of a right parameter, buffer or module path; several if it is sliced."""
        rests = {key: _below(target.name, right_name) for key, target in self._rename.items()}
        renamed = [_replaced(key, rest) for key, rest in rests.items() if rest is not None]
        names = [name for name in dict.fromkeys(renamed) if self.right_name(name) == right_name]
        if not names and self.right_name(right_name) == right_name:
            names = [right_name]
        return tuple(names)

    def is_sliced(self, left_name: str) -> bool:
        """True if a left name stands for a slice of a right one."""
        return self._target(left_name).slices is not None

    def from_right(self, left_name: str, right_arrays: Mapping[str, Any]) -> Any | None:
        """The right panel's array (NumPy or torch) for a left name: sliced, in the left's layout.

        None if the right has no such array.
        """
        part = self.part_of_right(left_name, right_arrays)
        return None if part is None else self.to_left(left_name, part)

    def part_of_right(self, left_name: str, right_arrays: Mapping[str, Any]) -> Any | None:
        """The right panel's array for a left name, sliced, in the right's layout: a view."""
        target = self._target(left_name)
        array = right_arrays.get(target.name)
        if array is None:
            return None
        try:
            return target.part_of(array)
        except ValueError as error:
            raise ValueError(f"rename: {left_name!r} -> {target.name!r}: {error}") from None

    def unmatched(
        self, left_names: Iterable[str], right_names: Iterable[str] | Mapping[str, Any]
    ) -> list[str]:
        """The right names to which no left name belongs, or only some of whose slices do.

        If `right_names` is a mapping to arrays, the slices must also cover each array.
        """
        left = set(left_names)
        result = []
        for name in right_names:
            owners = self.left_names(name)
            targets = [self._target(owner) for owner in owners if owner in left]
            whole = any(target.slices is None for target in targets)
            complete = whole or (bool(targets) and left.issuperset(owners))
            if complete and not whole and isinstance(right_names, Mapping):
                complete = _cover(targets, right_names[name])
            if not complete:
                result.append(name)
        return result

    def to_left(self, name: str, array: Any) -> Any:
        """Rearrange an array of the right panel to the left's layout; `name` is a left name."""
        return self._rearrange(name, array, "right", Layout.to_left)

    def to_right(self, name: str, array: Any) -> Any:
        """Rearrange an array of the left panel to the right's layout; `name` is a left name."""
        return self._rearrange(name, array, "left", Layout.to_right)

    def ignored(self, name: str) -> bool:
        """True if rows of this name are not compared."""
        self._names["ignore"][name] = None
        return any_matches(self.ignore, name)

    def may_be_unused(self, name: str) -> bool:
        """True if the right parameter of this left name may get no gradient."""
        if isinstance(self.allow_unused, bool):
            return self.allow_unused
        return any_matches(self.allow_unused, name)

    def bound_for(self, name: str) -> float | None:
        """The bound set by hand for this row, or None."""
        self._names["bound"][name] = None
        return lookup(self.bound, name) if isinstance(self.bound, Mapping) else self.bound

    def check(self, left_names: Iterable[str], right_names: Iterable[str]) -> None:
        """Check `rename` and `allow_unused` against the names of parameters, buffers and modules.

        Raises: ValueError for a name that the model does not have, with the most similar ones.
        """
        left, right = _with_prefixes(left_names), _with_prefixes(right_names)
        takes = "takes a parameter, buffer or module of the"
        for key, target in self._rename.items():
            if _without_star(key) not in left:
                hint = suggestion(key, left, 3)
                raise ValueError(f"rename: got {key!r}, {takes} left model{hint}")
            if _without_star(target.name) not in right:
                hint = suggestion(target.name, right, 3)
                raise ValueError(
                    f"rename: {key!r} -> got {target.name!r}, {takes} right model{hint}"
                )
            is_module = any(_below(target.name, name) for name in right)
            if target.slices is not None and is_module and not key.endswith(STAR):
                raise ValueError(
                    f"rename: {key!r} -> got a slice of the module {target.name!r}, takes "
                    f"slices of parameters and buffers, of all with {target.name + STAR!r}"
                )
        if not isinstance(self.allow_unused, bool):
            check_matched("allow_unused", self.allow_unused, left | right)

    def check_patterns(self, names: Iterable[str] = ()) -> None:
        """Check that each pattern of `layout`, `ignore` and `bound` matches a name, after a run.

        The names are those that were looked up in these options so far, and `names`.
        Raises: ValueError for a pattern that matches none, with the most similar names.
        """
        bound = self.bound if isinstance(self.bound, Mapping) else ()
        for option, patterns in (
            ("layout", self.layout),
            ("ignore", self.ignore),
            ("bound", bound),
        ):
            check_matched(option, patterns, [*self._names[option], *names])

    def used(self) -> dict[str, Any]:
        """The options that are not at their default, ready for JSON."""
        default = Options()
        names = ("rename", "layout", "ignore", "allow_unused", "bound", "infinities", "kwargs")
        return {
            name: jsonable(getattr(self, name))
            for name in names
            if getattr(self, name) != getattr(default, name)
        }

    def _target(self, left_name: str) -> slices.SlicedName:
        """The right name and slice of a left name; the longest prefix in `rename` decides."""
        for length in range(left_name.count(".") + 1, -1, -1):
            prefix = ".".join(left_name.split(".")[:length])
            for key in (prefix, prefix + STAR) if prefix else (prefix,):
                rest = _below(key, left_name)
                if key in self._rename and left_name and rest is not None:
                    target = self._rename[key]
                    return target._replace(name=_replaced(target.name, rest))
        return slices.SlicedName(left_name)

    def _rearrange(
        self, name: str, array: Any, side: str, direction: Callable[[Layout, Any], Any]
    ) -> Any:
        self._names["layout"][name] = None
        layout = lookup(self._layout, name)
        if layout is None or array is None:
            return array
        try:
            return direction(layout, array if is_array(array) else np.asarray(array))
        except ValueError as error:
            raise ValueError(f"layout: {name!r} on the {side}: {error}") from None


def _below(prefix: str, name: str) -> str | None:
    """The part of a dotted name behind a prefix of it: "" for the name itself, None if none.

    With a star behind the prefix, the name itself does not count.
    """
    if prefix.endswith(STAR):
        return _below(_without_star(prefix), name) or None
    if prefix in (name, ""):
        return "" if prefix == name else name
    return name[len(prefix) + 1 :] if name.startswith(f"{prefix}.") else None


def _check_stars(rename: Mapping[str, str]) -> None:
    """Raise ValueError unless both names of a pair end in a star, or none has one."""
    for key, target in rename.items():
        name = str(target).partition("[")[0]
        elsewhere = "*" in _without_star(key) + _without_star(name)
        if elsewhere or key.endswith(STAR) != name.endswith(STAR):
            raise ValueError(
                f"rename: {key!r} -> got {target!r}, takes a star at the end of both names, "
                'as in "q.*" -> "query.*"'
            )


def _replaced(prefix: str, rest: str) -> str:
    """The name that stands below a prefix, with or without a star."""
    path = _without_star(prefix)
    return f"{path}.{rest}" if path and rest else path or rest


def _without_star(prefix: str) -> str:
    return prefix.removesuffix(STAR)


def _with_prefixes(names: Iterable[str]) -> dict[str, None]:
    """The names and every path above them, with "" for the root."""
    parts = [name.split(".") for name in names]
    paths = [".".join(p[:length]) for p in parts for length in range(1, len(p) + 1)]
    return dict.fromkeys([*paths, ""])


def _cover(targets: Sequence[slices.SlicedName], array: Any) -> bool:
    """True if the slices together are all of the array."""
    covered = np.zeros(tuple(array.shape), bool)
    for target in targets:
        target.part_of(covered)[...] = True
    return bool(covered.all())
