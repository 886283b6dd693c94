"""MLP VAEs of binary images, trained on the left panel in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych import pairs
from diptych.data import Dataset
from diptych.data.dataset import Split
from diptych.panels import make_panel
from diptych.tasks import TrainingBatch
from diptych.training.step import training_step
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.nn import random


def binarise(split: Split) -> np.ndarray:
    """Binarise images: 1 where x >= 1/2, because the Bernoulli likelihood takes 0 or 1.

    Shapes: (N, D) float64.
    """
    return (split.x >= 0.5).astype(np.float64)


def train_numpy_vae(
    data: Dataset, fields: dict[str, Any], seed: int, steps: int, lr: float = 2e-3
) -> MLPVAE:
    """Train an MLP VAE by `steps` steps of Adam on batches of 64 binary images."""
    config, key = pairs.get("mlp_vae").for_data(data, fields), Key(seed)
    panel = make_panel(
        "mlp_vae", config, "numpy", key=key.fold_in("weights"), dtype="float64", lr=lr
    )
    x = binarise(data.train)
    per_epoch = -(-len(x) // 64)
    for step in range(steps):
        epoch, index = divmod(step, per_epoch)
        order = random.permutation(key.fold_in("order").fold_in(epoch), len(x))
        batch = x[order[64 * index : 64 * (index + 1)]]
        noise = panel.model.draw_noise(key.fold_in(step), len(batch))
        training_step(panel, TrainingBatch(batch, noise, size=len(batch), units=len(batch)), lr)
    return panel.model
