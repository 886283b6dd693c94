"""Samples of the VAEs on both panels, recomputed from the weights and from plain random numbers.

For the VLAE see parity_tests/autoregressive/test_ancestral.py.
"""

import inspect

import numpy as np
import pytest
from helpers import plain_random, plain_vaes
from helpers.call_either_panel import call
from helpers.random_vae_batches import odd_config
from helpers.small_conv_vaes import make, small_conv_config
from helpers.small_vlaes import make_config, make_models

from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from model_specs.mlp_vae import LIKELIHOODS

KEY = Key(97).fold_in("samples")
COUNT = 3
CONV_KINDS = [
    {"recon_type": "bce"},
    {"recon_type": "mse", "out_activation": "tanh"},
    {"recon_type": "gaussian", "out_activation": "none", "in_channels": 1},
    {"recon_type": "gaussian_learned", "min_logvar": -1.0},
    {"recon_type": "discretized_logistic_mixture", "components": 3},
]


def check_samples(model, *, drawn, bound=1e-12):
    """Means and draws of p(x|z) at z ~ N(0, I): z from the stream "z", pixels from "x"."""
    w, config = plain_vaes.weights_of(model), model.config
    z = plain_random.normal(KEY.fold_in("z"), (COUNT, config.latent_dim))
    outputs = plain_vaes.decode(w, config, z)
    means = call(model, "sample", KEY, COUNT, mean=True)
    assert normwise(means, plain_vaes.mean(config, outputs)) <= bound
    assert normwise(means[1:], means[:-1]) > 1e-4, "all samples are alike"
    if not drawn:
        return
    draws = call(model, "sample", KEY, COUNT, mean=False)
    expected = plain_vaes.draw(config, outputs, KEY.fold_in("x"))
    assert draws.shape == expected.shape and normwise(draws, expected) <= bound
    fewer = call(model, "sample", KEY, COUNT - 1, mean=False)
    assert normwise(fewer, draws[:-1]) <= 1e-13
    assert normwise(call(model, "sample", KEY.fold_in(1), COUNT, mean=False), draws) > 0.01
    default = inspect.signature(model.sample).parameters["mean"].default
    np.testing.assert_array_equal(call(model, "sample", KEY, COUNT), means if default else draws)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_mlp_vae_samples_the_prior_then_the_likelihood(make_pair, likelihood):
    for model in make_pair(odd_config(likelihood=likelihood)):
        check_samples(model, drawn=True, bound=1e-9)


@pytest.mark.parametrize("options", CONV_KINDS, ids=lambda o: o["recon_type"])
def test_conv_vae_samples_the_prior_then_the_likelihood(options):
    for model in make(small_conv_config(**options)):
        check_samples(model.eval(), drawn=options["recon_type"] != "mse")


def test_draws_or_means_are_the_documented_default(make_pair):
    """The MLP VAE draws pixels; the two models of larger images return means."""
    models = [
        (False, make_pair(odd_config())),
        (True, make(small_conv_config(recon_type="bce"))),
        (True, make_models(make_config())),
    ]
    for mean, panels in models:
        for model in panels:
            default = call(model.eval(), "sample", KEY, COUNT)
            np.testing.assert_array_equal(default, call(model, "sample", KEY, COUNT, mean=mean))
            assert set(np.unique(default)) != {0, 1} if mean else set(np.unique(default)) == {0, 1}
