"""Shared by the tests of training: a small run, the arrays it leaves, and ways to stop it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.data import Data
from diptych.files import load_arrays
from diptych.runs.config import RunConfig
from diptych.runs.folder import RunFolder
from diptych.training.train import Outcome, Trainer, train
from model_specs.mlp_vae import MLPVAEConfig

MODEL = vars(MLPVAEConfig(input_dim=64, hidden_dim=9, latent_dim=2, init="torch"))


def short_run(**changes: Any) -> RunConfig:
    """A run of four epochs, logged at every step."""
    settings = {"epochs": 4, "batch_size": 32, "lr": 1e-2, "checkpoint_every": 2, "log_every": 1}
    return RunConfig("mlp_vae", dict(MODEL), "digits", **settings | changes)


def arrays_of(folder: RunFolder) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(last weights, checkpoint)."""
    return load_arrays(folder.last_file)[0], load_arrays(folder.checkpoint_file)[0]


def assert_same_arrays(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


class StopAt:
    """Makes a run stop as Ctrl-C does, after a number of steps."""

    def __init__(self, monkeypatch: Any, steps: int) -> None:
        original = Trainer.step

        def step(trainer: Any) -> Any:
            terms = original(trainer)
            if trainer.position.step == steps:
                self.stop(trainer)
            return terms

        monkeypatch.setattr(Trainer, "step", step)

    def stop(self, trainer: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class KilledError(BaseException):
    """Not an Exception: nothing that tidies up may catch it."""


class KillAt(StopAt):
    """Makes a run end there as kill -9 does: nothing more is written."""

    def stop(self, trainer: Any) -> None:
        raise KilledError


def killed_and_resumed(
    monkeypatch: Any, run: RunConfig, dataset: Data, folder: Path, steps: int
) -> tuple[Outcome, Outcome]:
    """(resumed, whole): a run that is killed after `steps` steps ends in the same arrays."""
    whole = train(run, dataset, folder / "whole")
    with monkeypatch.context() as patch:
        KillAt(patch, steps)
        with pytest.raises(KilledError):
            train(run, dataset, folder / "cut")
    resumed = train(run, dataset, folder / "cut", resume=True)
    for ours, theirs in zip(arrays_of(resumed.folder), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    return resumed, whole


class PoisonAt(StopAt):
    """Makes one weight NaN there."""

    name = ""

    def stop(self, trainer: Any) -> None:
        arrays = trainer.panel.weights()
        self.name = next(name for name in arrays if "weight_hh" in name)
        arrays[self.name].flat[3] = np.nan
        trainer.panel.load_weights(arrays)
