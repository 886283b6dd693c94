"""The common part of text and memory tasks: windows of T steps, and a state between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych import pairs
from diptych.panels import Panel
from diptych.tasks.base import Task
from model_specs.common.key import Key


class SequenceTask(Task):
    """Batches are (x, y, weight), T steps first, weight None where every step counts the same."""

    def prepare(self, panel: Panel, batch: Any, key: Key, state: Any) -> Any:
        return window(panel, *batch, state=state)

    def noise(self, panel: Panel, batch: Any, key: Key, rows: slice) -> Any:
        size = rows.stop - rows.start
        return panel.draw_noise(key, size, length=len(batch[0]), first=rows.start)

    def size(self, batch: Any) -> int:
        return np.shape(batch[0])[1]

    def count(self, batch: Any) -> int:
        length, size = np.shape(batch[0])[:2]
        return length * size


def window(panel: Panel, x: Any, y: Any, weight: Any = None, *, state: Any = None) -> Any:
    """A batch for the panel's model, from the zero state where `state` is None."""
    model = panel.model
    if state is None:
        state = model.zero_state(np.shape(x)[1])
    make = pairs.of_model(model).window
    assert make is not None  # a model with a zero_state reads sequences
    return make(model.config, x, y, weight, state)
