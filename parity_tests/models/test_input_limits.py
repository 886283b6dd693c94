"""Inputs at the ends of their range are taken by every model; inputs just beyond are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.call_either_panel import call
from helpers.random_vae_batches import KEY, odd_config
from helpers.small_recurrent_networks import CELLS, make_config, make_window
from helpers.small_vlaes import make_config as make_vlae_config

from diptych import pairs
from model_specs.conv_vae import ConvVAEConfig
from model_specs.mlp_vae import LIKELIHOODS

SMALL = {"latent_dim": 3, "base_channels": 2, "image_size": 16}
UNBOUNDED = ("gaussian", "gaussian_learned")
IMAGES = [
    *((odd_config(likelihood=name), 0.0, 1.0) for name in LIKELIHOODS if name not in UNBOUNDED),
    *((odd_config(likelihood=name), -1e300, 1e300) for name in UNBOUNDED),
    (ConvVAEConfig(**SMALL), 0.0, 1.0),
    (ConvVAEConfig(**SMALL, out_activation="tanh"), -1.0, 1.0),
    (ConvVAEConfig(**SMALL, out_activation="none"), -1e300, 1e300),
    (make_vlae_config(), 0.0, 1.0),
]


def models(config):
    """The model of a config on both panels."""
    (pair,) = (pair for pair in pairs.PAIRS.values() if pair.config is type(config))
    return pair.left(config), pair.right(config)


@pytest.mark.parametrize(("config", "low", "high"), IMAGES)
def test_images_take_both_ends_of_their_range(config, low, high):
    for model in models(config):
        x = np.full((2, *config.example_shape), low)
        x.flat[::2] = high
        call(model, "encode", x)
        if high == 1:
            loss = call(model, "loss", x, call(model, "draw_noise", KEY, 2))
            assert np.isfinite(loss.total)
        beyond = (math.nextafter(end, sign) for end, sign in ((low, -math.inf), (high, math.inf)))
        for value in (math.nan, math.inf, -math.inf, *(beyond if high == 1 else ())):
            bad = x.copy()
            bad.flat[-1] = value
            with pytest.raises(ValueError, match="x: got"):
                call(model, "encode", bad)


@pytest.mark.parametrize("cell", CELLS)
def test_tokens_take_every_word_and_weights_take_0(cell):
    """Words are 0 ... V - 1; a weight of 0 leaves a step out, but not all may be 0."""
    config = make_config(cell)
    V = config.vocab_size if cell == "lstm" else config.output_dim
    window = make_window(cell, config, 3)
    names = ("x", "y") if cell == "lstm" else ("y",)
    for model in models(config):
        noise = call(model, "draw_noise", KEY, 3)
        for name in names:
            for value in (0, V - 1):
                tokens = np.full_like(getattr(window, name), value)
                call(model, "loss", window._replace(**{name: tokens}), noise)
            for value in (-1, V):
                tokens = getattr(window, name).copy()
                tokens[-1, -1] = value
                with pytest.raises(ValueError, match=f"{name}: got values"):
                    call(model, "loss", window._replace(**{name: tokens}), noise)
        weight = np.zeros_like(window.weight)
        with pytest.raises(ValueError, match="weight: got"):
            call(model, "loss", window._replace(weight=weight), noise)
        weight[-1, -1] = 0.5
        loss = call(model, "loss", window._replace(weight=weight), noise)
        errors, _ = call(model, "token_nll", window, noise)
        assert float(loss.total) == pytest.approx(0.5 * errors[-1, -1] / 3, rel=1e-13)
        assert float(loss[1]) == pytest.approx(errors[-1, -1], rel=1e-13)
        weight[0, 0] = -1e-300
        with pytest.raises(ValueError, match="weight: got"):
            call(model, "loss", window._replace(weight=weight), noise)
