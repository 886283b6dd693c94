"""The verdict of a page in one dtype, from the measurements that the page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DTYPES = ("float64", "float32")
ERROR, BOUND = {"float64": 3, "float32": 5}, {"float64": 4, "float32": 6}
"""The place of a dtype's error and of its bound in a row of the measurements."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a parity check, over all variants of a page."""

    ok: bool
    tensors: int
    variants: int
    error: float
    """the largest error relative to its bound"""
    tensor: str
    variant: str
    """the variant that has the largest error"""
    level: float
    """where the error stands on a logarithmic scale of four decades up to its bound, 0 to 1"""
    failures: tuple[tuple[str, str], ...] = ()
    """for each variant that diverges, the verdict and the command that reproduces it"""

    @property
    def text(self) -> str:
        """The error in two digits, such as 6.5e−16."""
        return scientific(self.error)


def verdicts(measured: Mapping[str, Any] | None, stem: str) -> dict[str, Verdict]:
    """The verdict of a page for each dtype in which it was measured.

    The page of a model answers for every tensor of its pair; the page of a building block for the
    rows that stand on it.
    """
    if not measured:
        return {}
    result = {}
    for dtype in DTYPES:
        rows = [(v, row) for v, row in _rows(measured) if row[ERROR[dtype]] is not None]
        if rows:
            result[dtype] = _verdict(measured, stem, dtype, rows)
    return result


def _rows(measured: Mapping[str, Any]) -> list[tuple[str, Sequence[Any]]]:
    """The rows of a page, each with its variant."""
    groups = ((v, rows) for v, places in measured["rows"].items() for rows in places.values())
    return [(variant, row) for variant, rows in groups for row in rows]


def _verdict(
    measured: Mapping[str, Any], stem: str, dtype: str, rows: list[tuple[str, Sequence[Any]]]
) -> Verdict:
    def excess(row: Sequence[Any]) -> float:
        error, bound = float(row[ERROR[dtype]]), float(row[BOUND[dtype]])
        if not error:
            return 0.0
        return error / bound if bound else math.inf  # the bound of a mask is 0

    def size(number: float) -> float:
        return math.inf if math.isnan(number) else number

    variant, worst = max(rows, key=lambda item: size(excess(item[1])))
    error, name, tensors = float(worst[ERROR[dtype]]), worst[0], len(rows)
    checks = {v: c[dtype] for v, c in measured["verdicts"].items() if dtype in c}
    own = {v: c for v, c in checks.items() if v.partition("[")[0] == stem}
    if own:
        ok, tensors = all(c[0] == "agrees" for c in own.values()), sum(c[1] for c in own.values())
        variant = max(own, key=lambda v: size(float(own[v][2])))
        error, name = float(own[variant][2]), own[variant][3]
    else:
        ok = all(excess(row) <= 1 for _, row in rows)
    broken = {v: c for v, c in (own or checks).items() if c[0] != "agrees"}
    failures = tuple((str(c[3]), str(c[4])) for c in broken.values()) if not ok else ()
    level, variants = _level(error, float(worst[BOUND[dtype]])), len(own or measured["rows"])
    return Verdict(ok, tensors, variants, error, name, variant, level, failures)


def _level(error: float, bound: float) -> float:
    if not error:
        return 0.0
    if not bound:
        return 1.0
    return min(1.0, max(0.0, 1 + math.log10(error / bound) / 4)) if math.isfinite(error) else 1.0


def scientific(number: float) -> str:
    """A number in two digits, as the pages write it: 6.5e−16, 9.0e−6, 0."""
    if not math.isfinite(number):
        return str(number)
    digits, _, exponent = f"{number:.1e}".partition("e")
    return f"{digits}e{int(exponent):+d}".replace("-", "−") if number else "0"
