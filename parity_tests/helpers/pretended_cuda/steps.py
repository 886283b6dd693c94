"""Training runs on the pretended device: the events of one step, and the weights at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from helpers.pretended_cuda.ledger import LEDGER

from diptych import data, pairs
from diptych.data import Corpus, Dataset, Split
from diptych.files import load_arrays
from diptych.runs.config import RunConfig
from diptych.tasks import make_task
from diptych.training.resident import ResidentStep
from diptych.training.step import training_step
from diptych.training.train import build, train

EXAMPLES, TOKENS = 70, 5000
"""Training data are cut to this size."""
WIDTHS = {"hidden_dim": 8, "embedding_dim": 8}
DROPOUT = {"scheme": "variational_recurrent", "rate": 0.3, "recurrent_rate": 0.3}
MODELS: dict[str, dict[str, Any]] = {
    "mlp_vae": {"hidden_dim": 9, "latent_dim": 2},
    "mlp_vae, beta": {"hidden_dim": 9, "latent_dim": 2, "likelihood": "beta"},
    "conv_vae": {"base_channels": 2, "latent_dim": 3},
    "vlae": {},
    "vlae, iaf_posterior": {"latent": "iaf_posterior"},
    "rnn": {"hidden_dim": 8},
    "lstm": WIDTHS,
    "lstm, dropout": WIDTHS | DROPOUT | {"word_rate": 0.2},
}
"""The models whose steps are counted, with small sizes: the events do not depend on them."""


def run_config(name: str, **changes: Any) -> tuple[RunConfig, Any]:
    """A short run of a model on its default data, with clipping and an average of the weights."""
    model = name.partition(",")[0]
    pair, dataset = pairs.get(model), _data(pairs.get(model).data)
    config = pair.for_data(dataset, MODELS[name])
    options = {"batch_size": 16, "clip": 1.0, "polyak": 0.9, "device": "cuda", "epochs": 1}
    return RunConfig(model, vars(config), pair.data, **options | changes), dataset


def count(name: str, cuda: Callable[[], Any], *, norm: bool = False, **changes: Any) -> Any:
    """Take three steps as `diptych train --no-resident` does; return the ledger of the third.

    With `norm` the norm of the gradient is measured too, as the exercises do.
    """
    with cuda():
        config, dataset = run_config(name, **changes)
        task, panel = make_task(config, dataset), build(config)
        assert config.polyak is not None
        panel.keep_average(config.polyak)
        first = task.training_batch(panel, 0, stream="initialize")
        panel.initialize(first.inputs, first.noise)
        state = None
        for step in range(3):
            LEDGER.clear()
            batch = task.training_batch(panel, step, state)
            state = training_step(panel, batch, 1e-3, config.clip, measure_norm=norm).state
        return LEDGER.as_json()


def count_resident(name: str, cuda: Callable[[], Any], **changes: Any) -> Any:
    """The ledgers of the resident path: of steps within a block, and of reading their losses."""
    with cuda():
        config, dataset = run_config(name, **changes)
        task, panel = make_task(config, dataset), build(config)
        assert config.polyak is not None
        panel.keep_average(config.polyak)
        steps = ResidentStep(panel, task)
        steps.step(0)
        LEDGER.clear()
        steps.step(1)
        steps.step(2)
        within = LEDGER.as_json()
        LEDGER.clear()
        steps.read()
        return {"steps": within, "read": LEDGER.as_json()}


def weights_that_differ(
    name: str, cuda: Callable[[], Any], resident: bool, **changes: Any
) -> list[str]:
    """Train on the device and, on the ordinary path, on the CPU; name the arrays that differ."""
    with cuda():
        ours = _trained(*run_config(name, **changes), resident)
    theirs = _trained(*run_config(name, **changes | {"device": "cpu"}), False)
    assert ours.keys() == theirs.keys()
    return [key for key, array in theirs.items() if not np.array_equal(ours[key], array)]


def _trained(config: RunConfig, dataset: Any, resident: bool) -> dict[str, np.ndarray]:
    """Train one epoch; return the last weights and the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        files = train(config, dataset, folder, resident=resident).folder
        last, checkpoint = (load_arrays(f)[0] for f in (files.last_file, files.checkpoint_file))
    return {f"last {name}": array for name, array in last.items()} | checkpoint


def _data(name: str) -> Any:
    result = data.load(name)
    if isinstance(result, Corpus):
        return replace(result, train=result.train[:TOKENS], valid=result.valid[:400])
    assert isinstance(result, Dataset)
    train_split = Split(result.train.x[:EXAMPLES], result.train.y[:EXAMPLES])
    valid_split = Split(result.valid.x[:20], result.valid.y[:20])
    return replace(result, train=train_split, valid=valid_split)
