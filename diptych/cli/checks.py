"""Quick checks of a command's options, which run before torch is imported.

Each raises ValueError that names the argument, what it got and what it takes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from diptych.names import DTYPES, EXPERIMENTS, MODELS, lookup
from model_specs.common.fields import check_choice


def check_model(name: str) -> None:
    """Raise unless `name` is the name of a model."""
    lookup("model", name, MODELS)


def check_pairs(names: Iterable[str], others: Iterable[str] = ()) -> None:
    """Raise unless each name, without its [variant], is a model or one of `others`."""
    for name in names:
        lookup("model", name.partition("[")[0], {**dict.fromkeys(others), **MODELS})


def check_dtype(dtype: str | None) -> None:
    """Raise unless `dtype` is None or a dtype of both panels."""
    if dtype is not None:
        check_choice("dtype", dtype, DTYPES)


def check_device(device: str | None) -> None:
    """Raise unless `device` is None or has the form of a device; this machine may still lack it."""
    if device is not None and not re.fullmatch(r"[a-z]+(:\d+)?", device):
        raise ValueError(f"device: got {device!r}, takes cpu, cuda or cuda:N")


def check_preset(name: str | None, model: str) -> None:
    """Raise unless `name` is None or a preset of this model."""
    from diptych.training.presets import PRESETS

    if name is not None and (owner := lookup("preset", name, PRESETS).model) != model:
        raise ValueError(f"preset: got {name!r} for {model}, it is one of {owner}")


def check_experiment(name: str) -> None:
    """Raise unless `name` is an experiment of the laboratory."""
    lookup("experiment", name, dict.fromkeys(EXPERIMENTS))


def check_runs(*paths: Path) -> None:
    """Raise unless each path is the folder of a run."""
    for path in paths:
        if not (path / "run.json").is_file():
            raise ValueError(f"{path}: not a run folder (it has no file run.json)")


def is_text_run(path: Path) -> bool:
    """Return True if the run in this folder was trained on text."""
    from diptych import data

    try:
        name = json.loads((path / "run.json").read_bytes())["config"]["data"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        from diptych.runs.folder import RunFolder

        name = RunFolder(path).config().data  # an old version, or an error that names the fault
    return data.is_text(str(name))


def check_data(name: str | None) -> None:
    """Raise unless `name` is None or the name of a data set; no file is read."""
    from diptych import data

    if name is None or name in data.DATASETS:
        return
    head, colon, _ = name.partition(":")
    if not colon or head not in {form.partition(":")[0] for form in data.PARAMETRIC}:
        data.load(name)  # raises the error that lists the names


def check_file(argument: str, path: Path | None, suffix: str) -> None:
    """Raise unless `path` is None or a file with this suffix that can be written."""
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise ValueError(f"{argument}: got '{path}', takes a name that ends in {suffix}")
    if path.is_dir():
        raise ValueError(f"{argument}: got '{path}', which is a folder, takes a file")
    _check_writable(argument, path, path.parent)


def check_folder(argument: str, path: Path) -> None:
    """Raise unless `path` is a folder that can be written or created."""
    _check_writable(argument, path, path)


def _check_writable(argument: str, path: Path, folder: Path) -> None:
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise ValueError(f"{argument}: got '{path}', cannot write there ('{nearest}' is no folder)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{argument}: got '{path}', cannot write there (no permission)")
