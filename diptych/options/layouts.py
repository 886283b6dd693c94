"""Layouts of arrays in einops notation, applied in both directions."""

from __future__ import annotations

import re
from typing import Any

from einops import EinopsError, rearrange

TAKES = (
    'takes the left\'s and the right\'s axes, such as "i o -> o i", "io->oi" or, '
    'with sizes for grouped axes, "(h d) i -> h d i, h=4"'
)
_TOKEN = re.compile(r"\.\.\.|[()]|[^\W\d]\w*|1|\s+")
_SHORT_TOKEN = re.compile(r"\.\.\.|[()]|[^\W\d]|1")


class Layout:
    """A one-to-one rearrangement of axes: `to_right(array)`, and `to_left(array)` for its inverse.

        "i o -> o i"                 a transpose; "io->oi" without blanks is the same
        "n h w c -> n c h w"         channels last on the left, first on the right
        "(h d) i -> h d i, h=4"      an axis that the right splits; one size of each group is free
        "i o -> i o 1 1"             axes of size 1
        "... i o -> ... o i"         any number of axes

    Works on NumPy arrays and on torch tensors, through which gradients flow.
    Raises: ValueError for a text of another form, or in which an axis is lost or repeated.
    Source: einops.rearrange (Rogozhnikov, 2022).

    >>> import numpy as np
    >>> layout = Layout("(h d) i -> i h d, h=4")
    >>> right = layout.to_right(np.zeros((12, 5)))
    >>> right.shape, layout.to_left(right).shape
    ((5, 4, 3), (12, 5))
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or text.count("->") != 1:
            raise ValueError(f"got {text!r}, {TAKES}")
        axes, *sizes = text.split(",")
        sides = axes.split("->")
        if len(sides) != 2:
            raise ValueError(f"got {text!r}, {TAKES}")
        short = not any(re.search(r"\s", side.strip()) for side in sides)
        left, right = (_tokens(text, side, short) for side in sides)
        names = _check_names(text, left, right)
        self.sizes = dict(_size(text, size, names) for size in sizes)
        for tokens in (left, right):
            _check_groups(text, tokens, self.sizes)
        self.left, self.right = _text(left), _text(right)

    def to_right(self, array: Any) -> Any:
        """Rearrange from the left's layout to the right's."""
        return self._rearrange(array, self.left, self.right)

    def to_left(self, array: Any) -> Any:
        """Rearrange from the right's layout to the left's."""
        return self._rearrange(array, self.right, self.left)

    def _rearrange(self, array: Any, source: str, target: str) -> Any:
        try:
            return rearrange(array, f"{source} -> {target}", **self.sizes)
        except EinopsError:
            sizes = "".join(f", {name}={size}" for name, size in self.sizes.items())
            shape = tuple(array.shape)
            raise ValueError(f'got shape {shape}, takes the axes "{source}"{sizes}') from None


def _text(tokens: list[str]) -> str:
    return " ".join(tokens).replace("( ", "(").replace(" )", ")")


def _tokens(text: str, side: str, short: bool) -> list[str]:
    """The axes, parentheses and ellipses of one side; with `short` each letter is an axis."""
    pattern = _SHORT_TOKEN if short else _TOKEN
    tokens = pattern.findall(side.strip())
    if "".join(tokens) != side.strip():
        raise ValueError(f"got {text!r}: {side.strip()!r} is not a list of axes; {TAKES}")
    return [token for token in tokens if token.strip()]


def _check_names(text: str, left: list[str], right: list[str]) -> set[str]:
    """The names of the axes; each must be on both sides, once."""
    axes: list[list[str]] = [
        [t for t in side if t not in ("(", ")", "1")] for side in (left, right)
    ]
    repeated = sorted({axis for side in axes for axis in side if side.count(axis) > 1})
    if repeated:
        raise ValueError(f"got {text!r}: {', '.join(repeated)} is twice on one side; {TAKES}")
    missing = sorted(set(axes[0]) ^ set(axes[1]))
    if missing:
        raise ValueError(f"got {text!r}: {', '.join(missing)} is on one side only; {TAKES}")
    unfit = [axis for axis in axes[0] if axis != "..." and axis.strip("_") != axis]
    if unfit:
        raise ValueError(f"got {text!r}: {unfit[0]} begins or ends with an underscore; {TAKES}")
    return set(axes[0]) - {"..."}


def _size(text: str, size: str, names: set[str]) -> tuple[str, int]:
    """Parse "h=4"."""
    match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+)\s*", size)
    if match is None or match[1] not in names or int(match[2]) == 0:
        raise ValueError(f"got {text!r}: {size.strip()!r} is not the size of an axis; {TAKES}")
    return match[1], int(match[2])


def _check_groups(text: str, tokens: list[str], sizes: dict[str, int]) -> None:
    """Parentheses are closed and not nested, and leave at most one axis without a size."""
    group: list[str] | None = None
    for token in [*tokens, "end"]:
        if token == "(" and group is None:
            group = []
        elif token == ")" and group is not None:
            free = [axis for axis in group if axis not in sizes and axis != "1"]
            if len(free) > 1:
                raise ValueError(
                    f"got {text!r}: ({' '.join(group)}) needs the size of "
                    f"{' or '.join(free)}, as in {text + f', {free[0]}=4'!r}"
                )
            group = None
        elif token in ("(", ")", "...", "end") and (group is not None or token in ("(", ")")):
            raise ValueError(f"got {text!r}: parentheses do not group axes; {TAKES}")
        elif group is not None:
            group.append(token)
