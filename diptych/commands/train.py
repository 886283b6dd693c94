"""The settings and the data of the run that `diptych train` starts or resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych import data as data_sets
from diptych import pairs
from diptych.data import Data
from diptych.names import lookup
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.runs.resuming import resumed_options
from diptych.training.presets import PRESETS, default_data, settings


def prepare(
    model: str,
    out: Path,
    *,
    resume: bool,
    preset: str | None,
    data: str | None,
    data_root: Path | None,
    fields: list[str],
    options: Mapping[str, Any],
) -> tuple[RunConfig, Data]:
    """The settings of a run, and its data.

    `fields` are "name=value" of the model's config; `options` are fields of RunConfig, None where
    the user gave no value. The value of an option that was not given is that of the preset; without
    a preset, that of the run in `out` if `resume`, else the default.
    Raises: ValueError for an unknown name or an impossible value. Whether a resumed run may change
    a setting is decided when it begins (see RunFolder.begin).
    """
    changes = pairs.parse_fields(pairs.get(model), fields)
    folder = RunFolder(out)
    if not (resume and folder.settings_file.exists()):
        name = data or default_data(model, preset)
        dataset = data_sets.load(name, data_root)
        return settings(model, name, dataset, preset, changes, options), dataset
    earlier = folder.config()
    if earlier.model != model:
        raise ValueError(f"model: got {model!r}, the run in {out} trains {earlier.model!r}")
    if preset is not None:
        published = lookup("preset", preset, PRESETS)
        changes = published.fields | changes
        options = published.run | {k: v for k, v in options.items() if v is not None}
    changes, options = resumed_options(earlier, changes, dict(options, data=data))
    config = replace(earlier, model_config=changes, **options)
    return config, data_sets.load(config.data, data_root)
