"""The left panel in 50 digits: `with many_digit_panel():` its functions take object arrays.

Their code is not changed. Four names of each file of numpy_ref are replaced while the block runs:

    np       an integer in an object array, as np.minimum(x, 0) has it, becomes a Number; copysign,
             isfinite, logaddexp and finfo, which NumPy has for floats alone, are added: the limits
             of an object array are those of float64
    math     log, log1p, sqrt, exp and pi have 50 digits
    special  the functions of SciPy that the panel uses, by mpmath
    CLAMP    and every other float of the file is the same number, so that 1 - 2 SQUEEZE is exact

and the series of the continuous Bernoulli has 40 terms of 50 digits instead of ten of 16.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from helpers.many_digits import Number, evaluate, is_many, many
from scipy import special

import numpy_ref
from diptych.arrays import map_arrays
from numpy_ref.nn.module import Buffer, Module, Parameter
from numpy_ref.probability import grey_distributions


def files() -> list[ModuleType]:
    """All modules of the left panel."""
    names = [info.name for info in pkgutil.walk_packages(numpy_ref.__path__, "numpy_ref.")]
    return [importlib.import_module(name) for name in names]


def _numbers(value: Any) -> Any:
    """The value with each element as a Number; masks and integer arrays are kept."""
    if isinstance(value, np.ndarray):
        return many(value) if value.dtype == object else value
    return Number(value)


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of NumPy, with every argument as Numbers if one of them has many digits."""

    def apply(*arguments: Any, out: Any = None) -> Any:
        options = {} if out is None else {"out": out}
        if any(map(is_many, arguments)):
            arguments = tuple(map(_numbers, arguments))
        return function(*arguments, **options)

    return apply


def _to_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of NumPy, which makes an array; an object array gets Numbers, not integers."""

    def apply(*arguments: Any, **options: Any) -> Any:
        array = function(*arguments, **options)
        return many(array) if array.dtype == object else array

    return apply


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Numbers as a function of arrays of them."""
    ufunc = np.frompyfunc(function, function.__code__.co_argcount, 1)
    return lambda *arguments: ufunc(*map(_numbers, arguments))


def _where(condition: Any, a: Any, b: Any) -> Any:
    if is_many(a) or is_many(b):
        a, b = _numbers(a), _numbers(b)
    return np.where(condition, a, b)


def _logaddexp(a: Any, b: Any) -> Any:
    if not (is_many(a) or is_many(b)):
        return np.logaddexp(a, b)
    return _elementwise(lambda x, y: max(x, y) + (-abs(x - y)).exp().log1p())(a, b)


def _isfinite(x: Any) -> Any:
    return np.frompyfunc(Number.isfinite, 1, 1)(x).astype(bool) if _is_array(x) else _finite(x)


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object


def _finite(x: Any) -> Any:
    return x.isfinite() if isinstance(x, Number) else np.isfinite(x)


METHODS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "abs", "maximum", "minimum", "clip")
CREATORS = ("zeros", "ones", "zeros_like", "ones_like", "full_like")
NUMPY = SimpleNamespace(
    **vars(np)
    | {name: _of_numbers(getattr(np, name)) for name in METHODS}
    | {name: _to_numbers(getattr(np, name)) for name in CREATORS}
    | {
        "where": _where,
        "isfinite": _isfinite,
        "logaddexp": _logaddexp,
        "finfo": lambda dtype: np.finfo(np.float64 if np.dtype(dtype).hasobject else dtype),
        "copysign": _elementwise(lambda size, sign: abs(size) if sign >= 0 else -abs(size)),
    }
)
MATH = SimpleNamespace(
    **vars(math)
    | {
        "log": lambda x: Number(x).log(),
        "log1p": lambda x: Number(x).log1p(),
        "sqrt": lambda x: Number(x).sqrt(),
        "exp": lambda x: Number(x).exp(),
        "pi": evaluate(lambda context: +context.pi),
    }
)


def _special(function: Callable[..., Any]) -> Callable[..., Any]:
    ufunc = np.frompyfunc(lambda *x: evaluate(function, *x), function.__code__.co_argcount - 1, 1)
    return lambda *arguments: ufunc(*map(_numbers, arguments))


SPECIAL = SimpleNamespace(
    betaln=_special(lambda m, a, b: m.loggamma(a) + m.loggamma(b) - m.loggamma(a + b)),
    digamma=_special(lambda m, x: m.psi(0, x)),
    ndtr=_special(lambda m, x: m.ncdf(x)),
    erfcx=_special(lambda m, x: m.exp(x * x) * m.erfc(x)),
)
SERIES = [
    evaluate(lambda m, n=n: -m.zeta(2 * n) * (-1) ** n / (2 * m.pi) ** (2 * n))
    for n in range(1, 41)
]
NAMESPACES = {id(np): NUMPY, id(math): MATH, id(special): SPECIAL}


@contextlib.contextmanager
def many_digit_panel() -> Iterator[None]:
    """Within the block, numpy_ref computes object arrays in 50 digits; float arrays as before."""
    originals: list[tuple[ModuleType, str, Any]] = []
    for file in files():
        for name, value in list(vars(file).items()):
            replacement = NAMESPACES.get(id(value))
            if type(value) is float:
                replacement = Number(value)
            if replacement is not None:
                originals.append((file, name, value))
                setattr(file, name, replacement)
    originals.append((grey_distributions, "SERIES", grey_distributions.SERIES))
    grey_distributions.SERIES = SERIES  # type: ignore[assignment]
    try:
        yield
    finally:
        for file, name, value in originals:
            setattr(file, name, value)


def many_digit_arguments(value: Any) -> Any:
    """Each float array and each float in a nested value, in many digits."""
    if isinstance(value, float) and not isinstance(value, np.floating):
        return Number(value)
    if type(value) is tuple:
        return tuple(map(many_digit_arguments, value))
    return map_arrays(lambda a: many(a) if np.asarray(a).dtype.kind == "f" else a, value)


def many_digit_module(module: Module) -> Module:
    """A copy of a module whose parameters, buffers and floats have many digits."""
    twin = copy.deepcopy(module)
    for _, part in twin.named_modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Parameter):
                value.data, value.grad = many(value.data), many(np.zeros(value.data.shape))
            elif isinstance(value, Buffer) and value.data.dtype.kind == "f":
                value.data = many(value.data)
            elif type(value) is float:
                setattr(part, name, Number(value))
    return twin
