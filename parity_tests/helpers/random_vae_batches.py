"""Sizes and random batches for the tests of the MLP VAE."""

from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random

ODD = {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3, "beta": 0.7, "gaussian_std": 0.4}
KEY = Key(21)


def odd_config(**changes):
    """A config of sizes that all differ, with `changes`."""
    return MLPVAEConfig(**effective(MLPVAEConfig, ODD, changes))


def batch(size, features, dtype="float64", key=KEY):
    return random.uniform(key.fold_in("x"), (size, features), dtype=dtype)
