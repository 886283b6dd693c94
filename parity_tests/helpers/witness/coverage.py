"""Every function of the left panel that returns `(y, vjp)`, found in its code."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from helpers.witness.panel import files
from helpers.witness.runs import Case, nonzero, run_left


def functions_with_vjp() -> dict[str, FunctionType]:
    """Functions and methods of numpy_ref that return a vjp or a `backward`, by qualified name.

    A function counts if its annotation says so, or if it returns a tuple that ends in a lambda, in
    a function that it defines, or in a name or a call that contains "vjp" or "backward".
    """
    result = {}
    for file in files():
        for function in _functions(file):
            annotation = str(function.__annotations__.get("return", ""))
            if "Vjp" in annotation or "Callable[[], None]" in annotation or _returns_vjp(function):
                result[f"{file.__name__}.{function.__qualname__}".removeprefix("numpy_ref.")] = (
                    function
                )
    return result


def _functions(file: Any) -> Iterator[FunctionType]:
    """The functions of a file, and the methods of its classes."""
    for value in vars(file).values():
        if getattr(value, "__module__", "") != file.__name__:
            continue
        if isinstance(value, type):
            yield from (v for v in vars(value).values() if isinstance(v, FunctionType))
        elif isinstance(value, FunctionType):
            yield value


def _returns_vjp(function: FunctionType) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # made by a dataclass or a NamedTuple
        return False
    return any(
        isinstance(node, ast.Return)
        and isinstance(node.value, ast.Tuple)
        and (isinstance(node.value.elts[-1], ast.Lambda) or _is_named_vjp(node.value.elts[-1]))
        for node in ast.walk(tree)
    )


def _is_named_vjp(node: ast.expr) -> bool:
    return any(word in ast.unparse(node) for word in ("vjp", "backward"))


def vjp_codes(function: FunctionType) -> list[CodeType]:
    """The code of each lambda and function that `function` defines to be its vjp."""
    nested = [c for c in function.__code__.co_consts if isinstance(c, CodeType)]
    return [c for c in nested if c.co_name in ("<lambda>", "vjp", "backward")]


def executed_codes(case: Case) -> set[CodeType]:
    """The code that the case runs in float64, which is the code that it runs in 50 digits."""
    codes: set[CodeType] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    module = case.left_module
    shapes = [y.shape for y in run_left(case.left, module, case.arguments).outputs]
    cotangents = [nonzero(np.random.default_rng(0), shape) for shape in shapes]
    sys.setprofile(note)
    try:
        run_left(case.left, module, case.arguments, cotangents)
    finally:
        sys.setprofile(None)
    return codes
