"""Reconstructions of every VAE on both panels, recomputed from the weights by another route."""

from functools import partial

import numpy as np
import pytest
from helpers import plain_random, plain_vaes
from helpers.call_either_panel import call
from helpers.random_vae_batches import batch, odd_config
from helpers.small_conv_vaes import images, make, small_conv_config
from helpers.small_vlaes import (
    KEY,
    KINDS,
    binary_images,
    make_config,
    make_models,
    naive_samples,
)

from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from model_specs.mlp_vae import LIKELIHOODS, POSTERIORS

CONV_KINDS = [
    {"recon_type": "bce"},
    {"recon_type": "mse", "out_activation": "tanh"},
    {"recon_type": "gaussian", "out_activation": "none", "in_channels": 1},
    {"recon_type": "gaussian_learned", "min_logvar": -1.0},
    {"recon_type": "discretized_logistic_mixture", "components": 3},
]


def check_reconstruct(model, x, bound=1e-12):
    """The mean of p(x|z) at the mean of q(z|x); each image depends on itself alone."""
    w, config = plain_vaes.weights_of(model), model.config
    mu, _ = plain_vaes.encode(w, config, x)
    expected = plain_vaes.mean(config, plain_vaes.decode(w, config, mu))
    result = call(model, "reconstruct", x)
    assert result.shape == x.shape and result.dtype == x.dtype
    assert normwise(result, expected) <= bound
    assert normwise(call(model, "reconstruct", x[1:2]), result[1:2]) <= 1e-13
    at_origin = plain_vaes.mean(config, plain_vaes.decode(w, config, np.zeros_like(mu)))
    assert normwise(result, at_origin) > 1e-4, "the reconstruction does not depend on x"


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_mlp_vae_reconstructs_the_mean_at_mu(make_pair, posterior, likelihood):
    for activation in ("relu", "tanh"):
        options = {"posterior": posterior, "likelihood": likelihood, "activation": activation}
        for model in make_pair(odd_config(**options)):
            check_reconstruct(model, batch(4, 13), bound=1e-10)


@pytest.mark.parametrize("options", CONV_KINDS, ids=lambda o: o["recon_type"])
def test_conv_vae_reconstructs_the_mean_at_mu(options):
    config = small_conv_config(**options)
    for model in make(config):
        check_reconstruct(model.eval(), images(config, 3))


@pytest.mark.parametrize(("latent", "context"), KINDS)
def test_vlae_draws_pixels_in_turn_from_the_code_at_mu(latent, context):
    """The code is mu, or for an IAF posterior the flow of mu; the uniforms are key / "x"."""
    left, right = make_models(make_config(latent, context))
    x = binary_images(left.config, 3)
    u = plain_random.uniform(KEY.fold_in("x"), x.shape)
    for model in (left, right):
        mu, _ = call(model, "encode", x)
        code = call(model.latent, "flow", mu).eps if latent == "iaf_posterior" else mu
        drawn, p = naive_samples(partial(call, model, "decode", code), u)
        counts = []
        result = call(model, "reconstruct", x, KEY, progress=counts.append)
        np.testing.assert_array_equal(result, drawn)
        assert normwise(call(model, "reconstruct", x, KEY, mean=True), p) <= 1e-13
        assert sum(counts) == 35
        part = call(model, "reconstruct", x[1:], KEY, first=1)
        np.testing.assert_array_equal(part, drawn[1:])
        np.testing.assert_array_equal(
            call(model, "reconstruct", x), call(model, "reconstruct", x, Key(0), mean=False)
        )
        same = call(model, "reconstruct", np.repeat(x[:1], 3, 0), KEY, mean=True)
        change = normwise(same[1:], p[1:])
        assert (change > 1e-3) == (latent != "none"), "a reconstruction depends on x through z"
