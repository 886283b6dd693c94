"""What the tests of the exercises share: both panels of a few models, and images for them."""

import dataclasses

import numpy as np
import pytest

from diptych.panels import BACKENDS, make_panel
from diptych.parity.report import normwise
from model_specs.common.key import Key
from model_specs.conv_vae import ConvVAEConfig
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random

KEY = Key(61)
MLP = MLPVAEConfig(13, 11, 3, init="torch", samples=2, beta=0.7)
CONV = ConvVAEConfig(
    latent_dim=3, base_channels=2, image_size=16, in_channels=2, recon_type="bce", beta=0.7
)
CONFIGS = {
    "mlp": MLP,
    "mlp, sigma, sum": dataclasses.replace(MLP, posterior="sigma", reduction="sum"),
    "conv, bce": CONV,
    "conv, mse": dataclasses.replace(CONV, recon_type="mse", out_activation="tanh"),
    "conv, gaussian, sum": dataclasses.replace(CONV, recon_type="gaussian", reduction="sum"),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def make(config, backend, optimizer="adam"):
    """A panel with the same float64 weights on either side, none of them 0."""
    name = "mlp_vae" if isinstance(config, MLPVAEConfig) else "conv_vae"
    panel = make_panel(name, config, backend, key=KEY, dtype="float64", optimizer=optimizer)
    moved = {
        name: array + 0.1 * random.normal(KEY.fold_in(name), array.shape)
        for name, array in panel.weights().items()
        if "running" not in name and array.dtype == np.float64
    }
    panel.load_weights(panel.weights() | moved)
    return panel


def images(config, count):
    if isinstance(config, MLPVAEConfig):
        return random.uniform(KEY.fold_in("x"), (count, config.input_dim))
    shape = (count, config.in_channels, config.image_size, config.image_size)
    return random.uniform(KEY.fold_in("x"), shape)


def assert_close(ours, theirs, bound=1e-13):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert normwise(np.asarray(array), np.asarray(theirs[name])) <= bound, name
