"""Checks of config fields. Each error names the field, the value it got and the values it takes."""

from __future__ import annotations

import math
from collections.abc import Collection

LARGEST = 2**31 - 1
"""Largest int that a field takes; no computer has the memory for a dimension near it."""
LARGEST_LOGVAR = 80.0
"""Bound of a log variance in a config: e^80 and e^-80 are normal numbers of float32."""


def check_positive_int(name: str, value: object) -> None:
    """Raise ValueError unless `value` is an int of at least 1 (bool excluded)."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: got {value!r}, takes an int >= 1")
    if value > LARGEST:
        raise ValueError(f"{name}: got {value!r}, takes an int <= {LARGEST}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, takes one of {', '.join(map(repr, choices))}")


def check_real(name: str, value: object, *, above: float, inclusive: bool = False) -> None:
    """Raise ValueError unless `value` is a finite real number > `above` (or >= it)."""
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (real and (value > above or (inclusive and value == above))):  # type: ignore[operator]
        sign = ">=" if inclusive else ">"
        raise ValueError(f"{name}: got {value!r}, takes a finite number {sign} {above:g}")


def check_min_logvar(name: str, value: object) -> None:
    """Raise ValueError unless `value` is None or a log variance that does not overflow."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (real and abs(value) <= LARGEST_LOGVAR):  # type: ignore[arg-type]
        limit = f"{LARGEST_LOGVAR:g}"
        raise ValueError(f"{name}: got {value!r}, takes None or a number in [-{limit}, {limit}]")


def check_rate(name: str, rate: object) -> None:
    """Raise ValueError unless `rate` is a number in [0, 1)."""
    real = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not real or not 0 <= rate < 1:  # type: ignore[operator]  # false for NaN
        raise ValueError(f"{name}: got {rate!r}, takes a number in [0, 1)")


def exact(value: float) -> str:
    """The number in a message: "1" for 1.0, but "1.0000001192092896" for the float32 above 1."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
