"""Open a run folder: its settings, its weights and its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diptych import data, weights
from diptych.panels import Panel
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder, data_digest
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
    if folder.settings().get("data_digest") != data_digest(dataset):
        raise ValueError(
            f"{folder.path}: was trained on other data than the present ones: {dataset.summary}"
        )
