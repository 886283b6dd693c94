"""The synchronisations and copies of one training step of each model, by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from helpers.pretended_cuda.ledger import LEDGER

from diptych import data, pairs
from diptych.data import Dataset, Split
from diptych.runs.config import RunConfig
from diptych.tasks import make_task
from diptych.training.step import training_step
from diptych.training.train import build

EXAMPLES = 70
"""Training images are cut to this number."""
SMALL: dict[str, dict[str, Any]] = {
    "mlp_vae": {"hidden_dim": 9, "latent_dim": 2},
    "conv_vae": {"base_channels": 2, "latent_dim": 3},
    "vlae": {},
    "rnn": {"hidden_dim": 8},
    "lstm": {"hidden_dim": 8, "embedding_dim": 8},
}
"""Sizes of the models whose steps are counted: the number of events does not depend on them."""


def run_config(model: str, **changes: Any) -> RunConfig:
    """A short run of a model on its default data, with clipping and an average of the weights."""
    pair = pairs.get(model)
    config = pair.for_data(_data(model), SMALL[model])
    options = {"batch_size": 16, "clip": 1.0, "polyak": 0.9, "device": "cuda"} | changes
    return RunConfig(model, vars(config), pair.data, **options)


def count(model: str, cuda: Callable[[], Any], *, norm: bool = False, **changes: Any) -> Any:
    """Take three steps as `diptych train` does, and return the ledger of the third as JSON.

    With `norm` the norm of the gradient is measured too, as the exercises do.
    """
    with cuda():
        config = run_config(model, **changes)
        task, panel = make_task(config, _data(model)), build(config)
        panel.keep_average(config.polyak)
        first = task.training_batch(panel, 0, stream="initialize")
        panel.initialize(first.inputs, first.noise)
        state = None
        for step in range(3):
            LEDGER.clear()
            batch = task.training_batch(panel, step, state)
            state = training_step(panel, batch, 1e-3, config.clip, measure_norm=norm).state
        return LEDGER.as_json()


def _data(model: str) -> Any:
    result = data.load(pairs.get(model).data)
    if not isinstance(result, Dataset):
        return result
    train = Split(result.train.x[:EXAMPLES], result.train.y[:EXAMPLES])
    return replace(result, train=train)
