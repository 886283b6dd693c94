"""An ablation: the same run, with one field of its config changed at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

from diptych.display import Table
from diptych.pairs import lookup
from model_specs.common.effects import changed


class Ablation(NamedTuple):
    """The results of an ablation; the first run has the unchanged config."""

    field: str
    values: tuple[Any, ...]  # of the field, one for each run
    results: tuple[dict[str, float], ...]  # numbers by name, for each run

    def table(self) -> Table:
        """Make a table with a row for each run and a column for each number."""
        names = list(dict.fromkeys(name for result in self.results for name in result))
        table = Table(self.field, *names)
        for i, (value, result) in enumerate(zip(self.values, self.results, strict=True)):
            cells = (f"{result[name]:.4g}" if name in result else "-" for name in names)
            table.add_row(f"{value}{' (unchanged)' if i == 0 else ''}", *cells)
        return table


def ablate(config: Any, field: str, values: Sequence[Any], run: Callable[[Any], Any]) -> Ablation:
    """run(config), then run(config with field = value) for each of `values`.

    `run` takes a config and returns numbers by name: a mapping or a NamedTuple, whose other values
    are left out. It must build everything else in each run from the same key, so that the runs
    differ in the field alone. All configs are made before the first run: an impossible value costs
    no time.
    Raises: ValueError for a config that is no dataclass, a field that it does not have, a value
    that it refuses, no values or one value twice, and a run that returns no number.
    """
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(f"config: got {config!r}, takes a dataclass such as MLPVAEConfig()")
    own = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.init}
    before = lookup("field", field, own)
    values = list(values)
    every = [before, *values]
    repeated = [value for i, value in enumerate(every) if value in every[:i]]
    if not values or repeated:
        got = f"{repeated[0]!r} twice, or once and unchanged" if repeated else "none"
        raise ValueError(f"values: got {got}, takes other values of {field} than {before!r}")
    configs = [config, *(changed(config, **{field: value}) for value in values)]
    return Ablation(field, tuple(every), tuple(_numbers(run(each)) for each in configs))


def _numbers(result: Any) -> dict[str, float]:
    items = result if isinstance(result, Mapping) else {}
    if hasattr(result, "_asdict"):
        items = result._asdict()
    numbers = {
        name: float(value)
        for name, value in items.items()
        if isinstance(value, Real) and not isinstance(value, bool)
    }
    if not numbers:
        raise ValueError(f"run: returned {result!r}, takes one that returns numbers by name")
    return numbers
