"""Numbers of 50 decimal digits that stand in NumPy's object arrays.

NumPy computes with the elements of an object array by their operators, and np.exp(array) calls the
method `exp` of each. So a function that is written for float64 arrays runs on `many(array)` too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import libmp

DIGITS = 50
CONTEXT = mpmath.MPContext()  # of our own: mpmath.mp belongs to the user
CONTEXT.dps = DIGITS
PRECISION, ROUNDING = CONTEXT.prec, "n"  # in bits; to nearest
GUARDED = mpmath.MPContext()
"""A context of twice the digits, for functions that subtract nearly equal terms."""
GUARDED.dps = 2 * DIGITS


class Number:
    """A real number of 50 decimal digits. Floats and integers are converted without rounding.

    >>> Number(2).sqrt()
    1.4142135623730950488016887242096980785696718753769
    >>> np.exp(many(np.zeros(2))) + 1
    array([2.0, 2.0], dtype=object)
    """

    __slots__ = ("value",)  # mpmath's tuple (sign, mantissa, exponent, bits), which is fastest

    def __new__(cls, value: Any) -> Number:
        return value if type(value) is Number else _new(_parts(value))

    def __deepcopy__(self, memo: Any) -> Number:
        return self

    def __repr__(self) -> str:
        return libmp.to_str(self.value, DIGITS)

    def __float__(self) -> float:
        return libmp.to_float(self.value, rnd=ROUNDING)

    def __int__(self) -> int:
        return int(libmp.to_int(self.value))

    def __bool__(self) -> bool:
        return self.value != libmp.fzero

    def __hash__(self) -> int:
        return libmp.mpf_hash(self.value)

    def __neg__(self) -> Number:
        return _new(libmp.mpf_neg(self.value))

    def __abs__(self) -> Number:
        return _new(libmp.mpf_abs(self.value))

    def __pow__(self, exponent: int) -> Number:
        return _new(libmp.mpf_pow_int(self.value, int(exponent), PRECISION, ROUNDING))

    def exp(self) -> Number:
        return _new(libmp.mpf_exp(self.value, PRECISION, ROUNDING))

    def log(self) -> Number:
        return _new(libmp.mpf_log(self.value, PRECISION, ROUNDING))

    def sqrt(self) -> Number:
        return _new(libmp.mpf_sqrt(self.value, PRECISION, ROUNDING))

    def tanh(self) -> Number:
        return _new(libmp.mpf_tanh(self.value, PRECISION, ROUNDING))

    def expm1(self) -> Number:
        return _new(CONTEXT.expm1(self.mpf())._mpf_)

    def log1p(self) -> Number:
        return _new(CONTEXT.log1p(self.mpf())._mpf_)

    def rint(self) -> Number:
        return _new(libmp.mpf_nint(self.value))

    def isfinite(self) -> bool:
        return self.value not in (libmp.finf, libmp.fninf, libmp.fnan)

    def mpf(self, context: Any = CONTEXT) -> Any:
        """The same number as an mpf of `context`."""
        return context.make_mpf(self.value)

    __add__: Any
    __sub__: Any
    __mul__: Any
    __truediv__: Any
    __radd__: Any
    __rsub__: Any
    __rmul__: Any
    __rtruediv__: Any
    __lt__: Any
    __le__: Any
    __gt__: Any
    __ge__: Any


def _new(parts: Any) -> Number:
    number = object.__new__(Number)
    number.value = parts
    return number


def _parts(value: Any) -> Any:
    if type(value) is Number:
        return value.value
    if isinstance(value, float | np.floating):
        return libmp.from_float(float(value))
    if isinstance(value, int | np.integer | np.bool_):
        return libmp.from_int(int(value))
    if hasattr(value, "_mpf_"):
        return libmp.mpf_pos(value._mpf_, PRECISION, ROUNDING)
    raise TypeError(f"value: got {type(value).__name__}, takes a real number")


def _operators(name: str, operation: Callable[..., Any]) -> None:
    """Define Number.__name__ and Number.__rname__. An array is left to NumPy."""

    def forward(self: Number, other: Any) -> Number:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return _new(operation(self.value, _parts(other), PRECISION, ROUNDING))

    def reflected(self: Number, other: Any) -> Number:
        return _new(operation(_parts(other), self.value, PRECISION, ROUNDING))

    setattr(Number, f"__{name}__", forward)
    setattr(Number, f"__r{name}__", reflected)


def _comparison(name: str, operation: Callable[..., bool]) -> None:
    def method(self: Number, other: Any) -> bool:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return operation(self.value, _parts(other))

    setattr(Number, f"__{name}__", method)


for _name, _operation in (
    ("add", libmp.mpf_add),
    ("sub", libmp.mpf_sub),
    ("mul", libmp.mpf_mul),
    ("truediv", libmp.mpf_div),
):
    _operators(_name, _operation)
for _name in ("lt", "le", "gt", "ge", "eq"):
    _comparison(_name, getattr(libmp, f"mpf_{_name}"))


def many(array: Any) -> np.ndarray:
    """The array with each element as a Number.

    >>> many(np.array([0.5, 2.0]))
    array([0.5, 2.0], dtype=object)
    """
    array = np.asarray(array)
    result = np.empty(array.size, object)
    result[:] = [Number(value) for value in array.ravel().tolist()]
    return result.reshape(array.shape)


def is_many(value: Any) -> bool:
    """True for a Number and for an object array."""
    return isinstance(value, Number) or getattr(value, "dtype", None) == np.dtype(object)


def evaluate(function: Callable[..., Any], *arguments: Any) -> Number:
    """function(context, *mpfs) in 100 digits, so that the difference of two terms still has 50."""
    return _new(_parts(function(GUARDED, *(GUARDED.make_mpf(_parts(a)) for a in arguments))))
