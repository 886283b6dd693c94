"""Open a run folder: its settings, its weights and its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diptych import data, weights
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.runs.data_identity import differing_parts, is_same_source, names_path
from diptych.runs.folder import RunFolder
from diptych.training.train import build


def open_run(
    path: Path, *, last: bool = False, device: str | None = None
) -> tuple[RunConfig, RunFolder, Panel]:
    """Load a trained run with its best weights on validation data, or with its last weights.

    Raises: ValueError if the folder holds no run or no weights.
    """
    folder = RunFolder(path)
    config = folder.config()
    if device is not None:
        config = replace(config, device=device)
    panel = build(config)
    best = not last and folder.best_file.exists()
    file = folder.best_file if best else folder.last_file
    folder.check_weights(file)
    weights.load(panel.model, file)
    return config, folder, panel


def check_same_data(folder: RunFolder, dataset: data.Data) -> None:
    """Raise ValueError if a run was trained on other data than `dataset`."""
    if parts := differing_parts(folder.settings(), dataset):
        raise ValueError(
            f"{folder.path}: was trained on other data than the present ones, which differ in the "
            f"{' and '.join(parts)}: {dataset.summary}"
        )


def have_same_data(first: RunFolder, second: RunFolder) -> bool:
    """True if two runs were trained on the same data, be it a text at two places.

    Their digests decide, or their names if the runs are of versions with other digests.
    """
    names = first.config().data, second.config().data
    settings = first.settings(), second.settings()
    for digest in ("data_digests", "data_digest"):
        if all(digest in each for each in settings):
            return is_same_source(*names) and settings[0][digest] == settings[1][digest]
    return data.canonical(names[0]) == data.canonical(names[1])


def load_data(
    config: RunConfig, name: str | None = None, data_root: Path | None = None
) -> data.Data:
    """Load the data of a run, or the same data from the place that `name` says.

    Raises: ValueError for the name of other data; if a text has moved, it says how to name its new
    place.
    """
    if name is not None and not is_same_source(name, config.data):
        head, _, _ = config.data.partition(":")
        takes = f"{head}:PATH" if names_path(config.data) else config.data
        raise ValueError(f"data: got {name!r} for a run on {config.data}, takes {takes}")
    data.check_root(name or config.data, data_root)
    try:
        return data.load(name or config.data, data_root)
    except ValueError as error:
        if name is not None or not names_path(config.data):
            raise
        head, _, path = config.data.partition(":")
        if Path(path).expanduser().exists():
            raise
        raise ValueError(f"{error}; if it has moved, --data {head}:PATH names its place") from None
