"""Shared by the tests of the exercises: both panels of a few models, and examples for them."""

import dataclasses

import numpy as np
import pytest

from diptych import pairs
from diptych.panels import BACKENDS, make_panel
from diptych.parity.measures.rows import normwise
from model_specs.common.effects import changed
from model_specs.common.key import Key
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random

KEY = Key(61)
WORDS = 7
MLP = MLPVAEConfig(13, 11, 3, init="torch", samples=2, beta=0.7)
CONV = ConvVAEConfig(
    latent_dim=3, base_channels=2, image_size=16, in_channels=2, recon_type="bce", beta=0.7
)
VLAE = VLAEConfig(
    height=5, width=4, maps=2, hidden_dim=6, latent_dim=3, flow_hidden_dim=8, flow_steps=1,
    decoder_maps=4, masked_layers=2,
)  # fmt: skip
LSTM = LSTMConfig(
    vocab_size=WORDS, embedding_dim=3, hidden_dim=4, init_scale=0.5, seq_len=5, scheme="per_step",
    rate=0.3,
)  # fmt: skip
RNN = RNNConfig(
    input_dim=WORDS, hidden_dim=4, num_layers=2, output_dim=WORDS, weight_std=0.4, seq_len=5,
    scheme="variational", rate=0.3,
)  # fmt: skip
IMAGES = {
    "mlp": MLP,
    "mlp, sigma, sum": dataclasses.replace(MLP, posterior="sigma", reduction="sum"),
    "conv, bce": CONV,
    "conv, mse": dataclasses.replace(CONV, recon_type="mse", out_activation="tanh"),
    "conv, gaussian, sum": dataclasses.replace(CONV, recon_type="gaussian", reduction="sum"),
    "vlae": VLAE,
    "vlae, none": changed(VLAE, latent="none"),
}
TEXT = {"rnn": RNN, "lstm": LSTM}
each_image_config = pytest.mark.parametrize("config", IMAGES.values(), ids=IMAGES)
each_text_config = pytest.mark.parametrize("config", TEXT.values(), ids=TEXT)
each_config = pytest.mark.parametrize("config", (IMAGES | TEXT).values(), ids=IMAGES | TEXT)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def build_panel(config, backend, optimizer="adam"):
    """A panel with the same float64 weights on either side, none of them 0."""
    (name,) = (name for name, pair in pairs.PAIRS.items() if pair.config is type(config))
    panel = make_panel(name, config, backend, key=KEY, dtype="float64", optimizer=optimizer)
    moved = {
        name: array + 0.1 * random.normal(KEY.fold_in(name), array.shape)
        for name, array in panel.weights().items()
        if "running" not in name and array.dtype == np.float64
    }
    panel.load_weights(panel.weights() | moved)
    return panel


def images(config, count):
    """Random images: grey, or black and white for the VLAE."""
    x = random.uniform(KEY.fold_in("x"), (count, *config.example_shape))
    return np.round(x) if isinstance(config, VLAEConfig) else x


def tokens(count):
    """A stream of random words."""
    return (random.uniform(KEY.fold_in("text"), count) * WORDS).astype(np.int64)


def dataset(config, count):
    """`count` images, or ten times as many words."""
    return tokens(10 * count) if type(config) in map(type, TEXT.values()) else images(config, count)


def batch_for_loss(config, panel, count):
    """A batch as the model's loss takes it."""
    pair = pairs.of_model(panel.model)
    if pair.inputs == "images":
        return images(config, count)
    return pair.batch(config, KEY, np.dtype("float64"), count)


def assert_close(ours, theirs, bound=1e-13):
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert normwise(np.asarray(array), np.asarray(theirs[name])) <= bound, name
