"""Which definition of a page the rows of a report belong to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from diptych.parity.measures.rows import Row
from diptych.parity.reports.report import Report

KINDS = {
    "output": "value",
    "value": "value",
    "buffer": "value",
    "noise": "value",
    "parameter": "parameter",
    "output gradient": "gradient",
    "input gradient": "gradient",
    "parameter gradient": "gradient",
}
DRAWN = ("parameter", "noise")


class PlacedRow(NamedTuple):
    """A row of a report, and the definition that computes it: ("nn/layers", "Linear.forward")."""

    stem: str
    definition: str
    row: Row


def placed_rows(report: Report, model: Any) -> list[PlacedRow]:
    """The rows of a report whose definition is known; `model` is the left panel."""
    modules = dict(model.named_modules())
    placed = []
    for row in report.rows:
        definition = _definition(report, row, modules)
        if definition is not None:
            placed.append(PlacedRow(*definition, row))
    return placed


def kind(row: Row) -> str:
    """The kind of a row on a page: value, gradient, mask or parameter."""
    return "mask" if row.exact and row.kind in ("output", "noise") else KINDS[row.kind]


def _definition(report: Report, row: Row, modules: Mapping[str, Any]) -> tuple[str, str] | None:
    path = report.module_of(row)
    if row.kind == "noise":
        return _find(type(modules[""]), "draw_noise")
    if row.kind == "value":
        return _find(type(modules[""]), re.split(r"\W", row.name.removeprefix("eval: "))[0])
    if path not in modules:
        return None
    if row.kind in ("parameter", "parameter gradient", "buffer"):
        return _find(type(modules[path]), "__init__" if row.kind == "parameter" else "forward")
    rest = row.name[len(path) :].lstrip(".") if path else row.name
    method = re.match(r"\w*", rest)
    name = method.group() if method is not None else ""
    cls = type(modules[path])
    if not name or not inspect.isfunction(getattr(cls, name, None)):
        name = "forward"
    return _find(cls, name)


def _find(cls: type, method: str) -> tuple[str, str] | None:
    """File and qualified name of a method, of the class that defines it."""
    function = inspect.unwrap(getattr(cls, method, None) or (lambda: None))
    module = getattr(function, "__module__", "") or ""
    if not module.startswith("numpy_ref."):
        return None
    return module.removeprefix("numpy_ref.").replace(".", "/"), function.__qualname__
