"""Reports as one HTML page: the tree of modules, coloured by its worst error."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from diptych.parity.measures.rows import ROOT_CAUSE, Row
from diptych.parity.reports.outcome import Outcome
from diptych.parity.reports.report_text import details, options_used, status
from diptych.parity.reports.verdict import element_of, format_number, verdict
from diptych.parity.versions import versions

DECADES = (-17.0, 1.0)
"""Logarithms to base 10 of the ends of the error axis: below half an ulp, and ten times the value.

An error of 0 lies at the left end, inf at the right one."""


@dataclass
class ModuleNode:
    """A module of the tree: its own rows, and the modules inside it."""

    path: str
    source: tuple[str, str]
    rows: list[Row] = field(default_factory=list)
    children: dict[str, ModuleNode] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    def all_rows(self) -> Iterator[Row]:
        yield from self.rows
        for child in self.children.values():
            yield from child.all_rows()

    @property
    def worst(self) -> Row | None:
        """The row with the largest error relative to its bound, also from the modules inside."""
        return max(self.all_rows(), key=lambda row: row.excess, default=None)

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.all_rows() if not row.ok]

    @property
    def has_root_cause(self) -> bool:
        return any(row.origin == ROOT_CAUSE for row in self.failures)


def to_html(outcome: Outcome) -> str:
    """The page. It holds its style, has no script, and requests nothing."""
    return _template().render(
        outcome=outcome,
        verdict=verdict(outcome),
        root=module_tree(outcome),
        is_open=functools.partial(_is_open, outcome),
        options=options_used(outcome),
        versions=versions(),
    )


def module_tree(outcome: Outcome) -> ModuleNode:
    """All rows by module, each module inside the one that its path names."""
    root = ModuleNode("", outcome.sources.get("", ("", "")))
    for row in outcome.rows:
        node, path = root, ""
        for name in filter(None, outcome.module_of(row).split(".")):
            path = f"{path}.{name}".lstrip(".")
            source = outcome.sources.get(path, ("", ""))
            node = node.children.setdefault(name, ModuleNode(path, source))
        node.rows.append(row)
    return root


def position(error: float) -> float:
    """The place of an error on the logarithmic axis, in per cent."""
    if error == 0 or math.isnan(error):
        return 0.0
    low, high = DECADES
    place = (math.log10(error) - low) / (high - low) if math.isfinite(error) else 1.0
    return round(100 * min(1.0, max(0.0, place)), 1)


def severity(row: Row | None) -> int:
    """The colour of an error: 0 equal, 1 within the bound, 2 to 4 ever farther beyond it."""
    if row is None or row.error == 0:
        return 0
    if row.ok:
        return 1
    return 2 if row.error < 1e-6 else 3 if row.error < 1e-2 else 4


def _is_open(outcome: Outcome, node: ModuleNode) -> bool:
    """True for the root, and for modules on the way to a root cause, or else to any failing row."""
    return not node.path or bool(node.has_root_cause if outcome.root_causes else node.failures)


@functools.cache
def _template() -> Template:
    loader = PackageLoader("diptych.parity.reports", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        position=position,
        severity=severity,
        status=status,
        element_of=element_of,
        details=details,
        format_number=format_number,
    )
    return environment.get_template("report.html.j2")
