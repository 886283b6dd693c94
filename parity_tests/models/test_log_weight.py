"""Importance weights of the VAEs on both panels, recomputed from the weights and scipy's densities.

For the VLAE see test_vlae_density.py.
"""

import numpy as np
import pytest
from helpers import plain_vaes
from helpers.call_either_panel import call
from helpers.random_vae_batches import KEY, batch, odd_config
from helpers.small_conv_vaes import images, make, small_conv_config

from diptych.parity.measures.rows import normwise
from model_specs.conv_vae import ConvVAENoise
from model_specs.mlp_vae import LIKELIHOODS, MLPVAENoise


def check_log_weight(model, x, noise_type, bound):
    """Of each image and draw; a draw's weight depends on its own noise alone."""
    (eps,) = call(model, "draw_noise", KEY, len(x), samples=4)
    expected = plain_vaes.log_weight(plain_vaes.weights_of(model), model.config, x, eps)
    result = call(model, "log_weight", x, noise_type(eps))
    assert result.shape == (len(x), 4)
    np.testing.assert_allclose(result, expected, rtol=bound)
    for k in range(4):
        alone = call(model, "log_weight", x, noise_type(eps[:, k : k + 1]))
        assert normwise(alone[:, 0], result[:, k]) <= 1e-13
    assert np.ptp(result, axis=1).min() > 1e-3, "the draws are not used"


@pytest.mark.parametrize("posterior", ["logvar", "sigma"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_mlp_vae_log_weight_is_the_log_density_ratio(make_pair, posterior, likelihood):
    config = odd_config(posterior=posterior, likelihood=likelihood, estimator="sampled")
    for model in make_pair(config):
        # the sigma posterior adds 1e-8 to sigma^2 in its logarithm, and to nothing else
        bound = 1e-5 if posterior == "sigma" else 1e-9
        check_log_weight(model, batch(3, 13), MLPVAENoise, bound)


@pytest.mark.parametrize(
    "options",
    [
        {"recon_type": "bce"},
        {"recon_type": "gaussian", "out_activation": "tanh"},
        {"recon_type": "gaussian", "out_activation": "none", "in_channels": 1},
        {"recon_type": "gaussian_learned", "out_activation": "tanh", "min_logvar": -1.0},
        {"recon_type": "discretized_logistic_mixture", "components": 3},
    ],
    ids=["bce", "tanh", "none", "learned", "mixture"],
)
def test_conv_vae_log_weight_is_the_log_density_ratio(options):
    config = small_conv_config(**options)
    for model in make(config):
        check_log_weight(model.eval(), images(config, 3), ConvVAENoise, 1e-9)
