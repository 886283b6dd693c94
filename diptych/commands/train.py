"""The settings and the data of the run that `diptych train` starts or resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from diptych import data as data_sets
from diptych import pairs
from diptych.data import Data, Dataset, canonical, sized
from diptych.pairs.pair import MisfitError
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import is_same_source, names_path
from diptych.runs.folder import RunFolder
from diptych.runs.resuming import resumed_options
from diptych.training.presets import default_data, settings


def prepare(
    model: str,
    out: Path,
    *,
    resume: bool,
    preset: str | None,
    data: str | None,
    data_root: Path | None,
    size: int | None = None,
    fields: list[str],
    options: Mapping[str, Any],
) -> tuple[RunConfig, Data]:
    """Return the settings of a run, and its data.

    `fields` are "name=value" of the model's config; `options` are fields of RunConfig. An option
    that is None takes its value from the preset, from the run in `out` if `resume`, or from the
    defaults.
    Raises: ValueError for an unknown name or an impossible value. Changed settings of a resumed run
    are checked when it begins (see RunFolder.begin).
    """
    changes = pairs.parse_fields(pairs.get(model), fields)
    folder = RunFolder(out)
    if resume and folder.settings_file.exists():
        earlier = folder.config()
        if earlier.model != model:
            raise ValueError(f"model: got {model!r}, the run in {out} trains {earlier.model!r}")
        changes, options = resumed_options(earlier, preset, changes, options)
        name, is_new = _named(data, earlier.data, size), False
        if not is_same_source(name, earlier.data):
            option, got = ("size", size) if size is not None and data is None else ("data", name)
            raise ValueError(f"{option}: got {got!r}, the run in {out} is on {earlier.data!r}")
        name = name if names_path(name) else earlier.data
    else:
        name, is_new = canonical(_named(data, default_data(model, preset), size)), True
    data_sets.check_root(name, data_root)
    dataset = data_sets.load(name, data_root)
    run = settings(model, name, dataset, preset, changes, options)
    if is_new and any(options.get(n) is not None for n in ("schedule", "constant_epochs", "decay")):
        _check_decay(run)
    if is_new and isinstance(dataset, Dataset):
        _check_evaluated(run, dataset)
    return run, dataset


def _named(data: str | None, default: str, size: int | None) -> str:
    """Return the name of the data: the user's, or the default one, which the size replaces."""
    if data is None:
        data = default if size is None else default.partition(":")[0]
    return sized(data, size)


def _check_evaluated(run: RunConfig, dataset: Dataset) -> None:
    """Raise MisfitError if a new run would be trained on another loss than it is evaluated by."""
    pair = pairs.get(run.model)
    config = pair.config(**run.model_config)
    evaluated = pair.evaluated(config, dataset.image_shape)
    for field in fields_of(config):
        got, takes = (getattr(c, field.name) for c in (config, evaluated))
        if got != takes:
            raise MisfitError(dataset, field.name, got, takes)


def _check_decay(run: RunConfig) -> None:
    """Raise ValueError if a new run, for which the user set a decay, ends before the rate decays.

    A preset may do so: its schedule takes effect when the run goes on.
    """
    if run.schedule == "constant-then-decay" and run.constant_epochs >= run.epochs:
        raise ValueError(
            f"constant_epochs: got {run.constant_epochs} with epochs {run.epochs}, takes less than "
            "epochs: the learning rate would not decay"
        )
