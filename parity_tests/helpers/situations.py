"""Situations of the parity engine: small pairs, each with the verdict that is right for it.

    @situation("1", agrees=[2.0], differs=[1.0], first="forward")
    def forward_hook_on_the_root(factor):
        ...
        return pair(left, right, batch)

registers two situations of section 1 under the name of the function. The pair that is built with
2.0 is correct, so that a red report is a false alarm; the one with 1.0 really differs, so that a
green report is a false pass. A third verdict, "refused", is an error that consists of one sentence.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import re
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

import diptych
from diptych import parity
from diptych.arrays import leaves, to_numpy
from numpy_ref.nn.module import Buffer, Module, Parameter

Verdict = Literal["agrees", "differs", "refused", "raises"]
ROOT = Path(diptych.__file__).parent.parent
PACKAGES = tuple(str(ROOT / name) for name in ("diptych", "numpy_ref", "torch_impl", "model_specs"))
REGISTRY: dict[str, Situation] = {}
"""Every situation by its title."""


@dataclass
class Comparison:
    """One call of `parity.compare` or of `parity.compare_functions`."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    during: Any = None
    """A context manager that is open during the comparison, for global states."""

    def run(self) -> Any:
        with self.during or contextlib.nullcontext():
            return getattr(parity, self.function)(*self.arguments, **self.options)


def pair(left: Any, right: Any, *batch_and_noise: Any, during: Any = None, **options: Any) -> Any:
    """The comparison of two models. Arguments and options are those of `parity.compare`."""
    return Comparison("compare", (left, right, *batch_and_noise), options, during)


def functions(left: Any, right: Any, **options: Any) -> Any:
    """The comparison of two functions, with the options of `parity.compare_functions`."""
    return Comparison("compare_functions", (left, right), options)


@dataclass(frozen=True)
class Outcome:
    """The verdict of the engine, and its first line."""

    verdict: Verdict
    line: str
    text: str = ""
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Situation:
    """A pair and the verdict that is right for it."""

    title: str
    section: str
    module: str
    build: Callable[[], Comparison]
    verdict: Verdict
    says: str = ""
    """A regular expression that must match in the first line of a report that is not green, or in
    the error message."""
    mentions: str = ""
    """A regular expression that must match in the whole text of a green report."""
    cause: str = ""
    """The name of a row that must be a root cause."""
    or_refused: bool = False
    """True where the issue allows the engine to handle the situation or to refuse it."""

    def __str__(self) -> str:
        return self.title

    @functools.cached_property
    def outcome(self) -> Outcome:
        """Build the pair and compare it."""
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  (situations about global random state need it)
        with warnings.catch_warnings(action="ignore"):
            comparison = self.build()
        before = _batch(comparison)
        try:
            report = comparison.run()
            text = report.full() if hasattr(report, "full") else str(report)
            json.loads(report.to_json())
        except Exception as error:
            return _outcome_of(error)
        line = str(report).splitlines()[0]
        if not all(map(_equal, before, _batch(comparison))):
            return Outcome("raises", "the batch of the caller was changed", text)
        causes = tuple(row.name for row in report.failures if row.origin == "root cause")
        return Outcome("agrees" if report.ok else "differs", line, text, causes)

    @functools.cached_property
    def fault(self) -> str:
        """The kind of a wrong verdict; "" if the verdict is right."""
        outcome = self.outcome
        if outcome.verdict == "raises":
            return "traceback"
        if outcome.verdict == "refused" and (self.or_refused or self.verdict == "refused"):
            return self._wording(self.says if self.verdict == "refused" else "")
        if outcome.verdict != self.verdict:
            return "false pass" if outcome.verdict == "agrees" else "false alarm"
        if self.cause and self.cause not in outcome.causes:
            return "wrong place"
        if self.verdict == "agrees":
            mentioned = re.search(self.mentions, outcome.text)
            return "" if mentioned else "not mentioned"
        return self._wording(self.says)

    def _wording(self, pattern: str) -> str:
        return "" if re.search(pattern, self.outcome.line) else "wrong words"

    def check(self) -> None:
        """Assert that the verdict of the engine is the right one."""
        __tracebackhide__ = True
        wanted = self.says or self.cause or self.mentions
        assert not self.fault, (
            f"{self.fault}: {self.title} takes {self.verdict} {wanted!r}, "
            f"got {self.outcome.verdict}: {self.outcome.line}"
        )


def situation(
    section: str,
    *,
    agrees: Iterable[Any] = (),
    differs: Iterable[Any] = (),
    refused: Iterable[Any] = (),
    says: str = "",
    first: str = "",
    cause: str = "",
    mentions: str = "",
    or_refused: bool = False,
) -> Callable[[Callable[..., Comparison]], Callable[..., Comparison]]:
    """Register one situation for each argument in `agrees`, `differs` and `refused`.

    `first` is the name of the tensor that the first line must show where the pair differs.
    `says`, `mentions`, `cause` and `or_refused` are those of Situation; an error must by default
    say what is taken.
    """
    if first:
        says = rf"(^|[\s:]){re.escape(first)}($|[\s:,])"

    def register(function: Callable[..., Comparison]) -> Callable[..., Comparison]:
        arguments_of: dict[Verdict, Iterable[Any]] = {
            "agrees": agrees,
            "differs": differs,
            "refused": refused,
        }
        for verdict, arguments in arguments_of.items():
            for argument in arguments:
                title = f"{function.__name__}[{argument}]"
                if title in REGISTRY:
                    raise ValueError(f"situation {title!r} stands twice")
                REGISTRY[title] = Situation(
                    title,
                    section,
                    function.__module__,
                    functools.partial(function, argument),
                    verdict,
                    says=says or ("takes" if verdict == "refused" else ""),
                    mentions=mentions,
                    cause=cause if verdict == "differs" else "",
                    or_refused=or_refused,
                )
        return function

    return register


def situations_of(module: str) -> list[Situation]:
    """The situations that a module has registered."""
    return [item for item in REGISTRY.values() if item.module == module]


def left(**attributes: Any) -> Module:
    """A NumPy module. Functions become its methods and arrays its parameters."""
    return _module(Module, Parameter, attributes)


def right(**attributes: Any) -> nn.Module:
    """A torch module. Functions become its methods and arrays its parameters."""
    return _module(nn.Module, lambda array: nn.Parameter(torch.from_numpy(array)), attributes)


def _module(base: Any, as_parameter: Callable[[Any], Any], attributes: dict[str, Any]) -> Any:
    methods = {name: value for name, value in attributes.items() if inspect.isfunction(value)}
    instance = type("Left" if base is Module else "Right", (base,), methods)()
    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            setattr(instance, name, as_parameter(value.copy()))
        elif name not in methods:
            setattr(instance, name, value)
    return instance


def with_buffers(module: Any, **arrays: Any) -> Any:
    """Add buffers to a module of either panel."""
    for name, array in arrays.items():
        if isinstance(module, nn.Module):
            module.register_buffer(name, torch.from_numpy(np.array(array)))
        else:
            setattr(module, name, Buffer(np.array(array)))
    return module


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers, the same for the same shape and seed."""
    return np.random.default_rng(seed + sum(shape)).normal(size=shape)


def _outcome_of(error: Exception) -> Outcome:
    """An error is a refusal if this project raises it on purpose, in one sentence."""
    line = f"{type(error).__name__}: {error}"
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    is_sentence = "\n" not in str(error) and 10 < len(str(error)) < 400
    is_ours = innermost.filename.startswith(PACKAGES) and "raise" in (innermost.line or "")
    is_ours = is_ours and isinstance(error, ValueError | TypeError)
    return Outcome("refused" if is_ours and is_sentence else "raises", line)


def _batch(comparison: Comparison) -> list[Any]:
    """Copies of the arrays that the caller passes as batch and noise."""
    values = comparison.arguments[2:], comparison.options.get("inputs", ())
    dense = [
        array
        for _, array in leaves(values)
        if not isinstance(array, torch.Tensor) or (array.layout, array.is_meta) == DENSE
    ]
    return [to_numpy(array) for array in dense]


DENSE = torch.strided, False


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
