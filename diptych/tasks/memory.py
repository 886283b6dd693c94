"""The long-memory tasks: fresh sequences at every step, and the share of correct answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diptych.arrays import to_numpy
from diptych.data import MemoryTask
from diptych.panels import Panel
from diptych.panels.ranks import Ranks
from diptych.runs.config import RunConfig
from diptych.tasks.base import Assessment, Options, check_options
from diptych.tasks.sequences import SequenceTask, window
from model_specs.common.key import Key

STEPS_PER_EPOCH = 100
HELD_OUT = 500
TOLERANCE = 0.04
"""The error below which a sum is correct (Hochreiter & Schmidhuber 1997, section 5.4)."""


class Memory(SequenceTask):
    """An epoch is 100 steps; sequence n of the run depends on the run's key and n alone."""

    unit = "sequences"
    evaluation_options = ("split", "examples")
    data: MemoryTask

    def __init__(self, config: RunConfig, data: MemoryTask) -> None:
        super().__init__(config, data)
        self.steps_per_epoch = STEPS_PER_EPOCH

    def check_settings(self, ranks: Ranks) -> None:
        length, steps = self.config.model_config["seq_len"], self.data.steps
        if length != steps:
            got = f"got {length} with data {self.data.name!r}"
            raise ValueError(f"seq_len: {got}, whose sequences have {steps} steps, takes {steps}")
        super().check_settings(ranks)

    def batch(self, panel: Panel, epoch: int, index: int) -> Any:
        size = self.config.batch_size
        start = (epoch * STEPS_PER_EPOCH + index) * size
        return self.data.draw(self.key.fold_in("sequences"), size, start)

    def count(self, batch: Any) -> int:
        return self.size(batch)

    def validate(self, panel: Panel) -> dict[str, float]:
        return self._score(panel, "valid", HELD_OUT)

    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        check_options(options, self.evaluation_options, f"a run on {self.data.name}")
        count = 2 * HELD_OUT if options.examples is None else options.examples
        result = self._score(self.only_panel(panels), options.split, count)
        metrics = {f"{options.split}_{name}": value for name, value in result.items()}
        units = {"error": "per weighted step", "accuracy": "of the answers"}
        lines = [(name, f"{value:.4f}", units[name]) for name, value in result.items()]
        title = f"{self.data.name}: {options.split}, {count} sequences"
        return Assessment(title, metrics | {f"{options.split}_sequences": count}, lines)

    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        raise ValueError(f"sample: got a run on {self.data.name}, takes one on images or text")

    def summary(self) -> str:
        return self.data.summary

    def _score(self, panel: Panel, split: str, count: int) -> dict[str, float]:
        """Mean error of the steps with a weight, and the share of correct answers among them."""
        held_out = self.data.draw(Key(0).fold_in("memory").fold_in(split), count)
        with panel.evaluating():
            batch = panel.convert(window(panel, *held_out))
            outputs, _ = panel.model.predict(batch.x, batch.state)
            total = panel.terms(batch, panel.model.draw_noise(Key(0), count))["total"]
        error = total * count / float(held_out.weight.sum())
        counted = held_out.weight > 0
        answers = to_numpy(outputs)
        if answers.ndim > held_out.y.ndim:
            correct = answers.argmax(-1) == held_out.y
        else:
            correct = (np.abs(answers - held_out.y) < TOLERANCE).all(-1)
        return {"error": error, "accuracy": float(correct[counted].mean())}
