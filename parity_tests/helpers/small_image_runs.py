"""Small runs of the convolutional VAE on made-up images."""

from __future__ import annotations

import numpy as np

from diptych.data import Dataset, Split
from diptych.training.presets import settings
from model_specs.common.key import Key
from numpy_ref.nn import random

FIELDS = {"base_channels": 2, "latent_dim": 3}


def dataset(shape=(3, 16, 16), name="squares", count=24):
    """Random images in [0, 1]."""
    width = int(np.prod(shape))
    splits = (
        Split(random.uniform(Key(3).fold_in(part), (count, width), dtype="float32"))
        for part in ("train", "valid", "test")
    )
    return Dataset(name, *splits, shape, f"{name}: random images")


def config_for(result, *, fields=FIELDS, **run):
    options = {"epochs": 2, "batch_size": 10, "dtype": "float64"} | run
    return settings("conv_vae", result.name, result, None, fields, options)
