"""A registry of pairs for pytest: each pair is one test for each dtype and input.

    @parity.pair("gated", inputs=[x, parity.case(x, bound=1e-9)], dtypes=("float64", "float32"))
    def gated(dtype):
        return Gated(dtype=dtype), TorchGated().to(getattr(torch, dtype))

pytest collects `gated[gated-float64-0]` to `gated[gated-float32-1]`. The idea is that of torch's
OpInfo: what is tested stands in one place, and how it is tested in another.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One input of a pair: its batch, its noise, and options of `compare` for it alone."""

    batch: Any
    noise: Any = None
    options: dict[str, Any] = field(default_factory=dict)


def case(batch: Any, noise: Any = None, **options: Any) -> Case:
    """An input with noise, or with options of `compare`, for `pair(inputs=[...])`."""
    return Case(batch, noise, options)


def pair(
    name: str, inputs: Sequence[Any], dtypes: Sequence[str] = ("float64",), **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function that builds a pair into tests: one for each dtype and input.

    The function takes a dtype such as "float64" and returns (left, right) in it, with the same
    weights. Its further arguments are pytest fixtures. An input is

    * a batch: an array, or a tuple of arguments;
    * `case(batch, noise, **options)`;
    * a function without arguments that returns one of these, called when the test runs.

    Floating-point arrays of the input are cast to the dtype. `options` are those of `compare`, for
    every input. The decorated function may still be called: gated("float64") returns the pair.

    Raises: ValueError for an empty `inputs` or `dtypes`, on decoration; and in the test, if the
    function does not return two models.
    """
    for argument, values in (("inputs", inputs), ("dtypes", dtypes)):
        if isinstance(values, str) or not len(values):
            raise ValueError(f"{argument}: got {values!r}, takes a list of at least one")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        import pytest  # noqa: PLC0415  (only tests need it)

        @functools.wraps(function)
        def test(dtype: str, parity_case: tuple[int, Any] | None = None, **fixtures: Any) -> Any:
            __tracebackhide__ = True
            models = function(dtype, **fixtures)
            if parity_case is None:
                return models
            index, source = parity_case
            _check(f"{name}-{dtype}-{index}", models, _resolve(source), dtype, options)
            return None

        first, *fixtures = inspect.signature(function).parameters.values()
        case_parameter = inspect.Parameter("parity_case", first.kind)
        dtype_parameter = inspect.Parameter("dtype", first.kind)
        signature = inspect.Signature([dtype_parameter, case_parameter, *fixtures])
        test.__dict__["__signature__"] = signature
        test.__dict__["__test__"] = True  # the plugin collects it, whatever its name
        test.__dict__["diptych_pair"] = name
        arguments = [
            pytest.param(dtype, (index, source), id=f"{name}-{dtype}-{index}")
            for dtype in dtypes
            for index, source in enumerate(inputs)
        ]
        return pytest.mark.parametrize(("dtype", "parity_case"), arguments)(test)

    return decorate


def _check(name: str, models: Any, source: Case, dtype: str, options: dict[str, Any]) -> None:
    """Compare the two models on one input."""
    __tracebackhide__ = True
    import numpy as np  # noqa: PLC0415

    from diptych.arrays import cast, map_arrays, to_numpy  # noqa: PLC0415
    from diptych.parity.plugin import assert_parity  # noqa: PLC0415

    if not isinstance(models, tuple) or len(models) != 2:
        raise ValueError(f"{name}: got {models!r} from its function, takes (left, right)")

    def to_dtype(value: Any) -> Any:
        return map_arrays(lambda array: cast(to_numpy(array), np.dtype(dtype)), value)

    merged = {"name": name} | options | source.options
    assert_parity(*models, to_dtype(source.batch), to_dtype(source.noise), **merged)


def _resolve(source: Any) -> Case:
    """An input as a Case; a function is called."""
    value = source() if callable(source) else source
    return value if isinstance(value, Case) else Case(value)
