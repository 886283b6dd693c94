"""KL divergences in closed form for one dimension, and codes that the flow inverts."""

import numpy as np
import pytest
from helpers.layers_with_same_weights import (
    LATENTS,
    flow_functions,
    latent_methods,
    make_latent_pair,
)
from helpers.run_layers import tensors
from helpers.small_flows import KINDS
from torch import distributions as td

each_kind = pytest.mark.parametrize("kind", LATENTS)


@each_kind
def test_in_one_dimension_the_mean_sampled_kl_is_the_closed_form(kind, rng):
    """All densities are Gaussian and the sampled KL is a parabola in eps, so three Gauss-Hermite
    points give its mean exactly: the KL of two normals."""
    points, shares = np.polynomial.hermite_e.hermegauss(3)
    mu, logvar = rng.normal(size=(2, 1)), rng.normal(size=(2, 1))
    eps = np.tile(points[:, None], (2, 1, 1))
    z = mu[:, None] + np.exp(logvar / 2)[:, None] * eps
    for latent in make_latent_pair(kind, latent_dim=1):
        _, kl_sampled, _ = latent_methods(latent)
        ends = np.array([[0.0], [1.0]])
        zero, one = (ends if kind == "gaussian" else flow_functions(latent)[1](ends))[:, 0]
        prior = td.Normal(*tensors(np.array(float(zero)), np.array(float(one - zero))))
        wanted = td.kl_divergence(td.Normal(*tensors(mu, np.exp(logvar / 2))), prior)[:, 0]
        mean = (kl_sampled(logvar, z, eps)[1] * shares).sum(1) / shares.sum()
        np.testing.assert_allclose(mean, wanted.numpy(), rtol=1e-12, atol=1e-12)


# Codes


@KINDS
def test_the_flow_maps_generated_codes_to_their_noise(mean_only, rng):
    eps = rng.normal(size=(6, 4))
    for latent in make_latent_pair("af_prior", mean_only):
        code = latent_methods(latent)[2](eps)
        np.testing.assert_allclose(flow_functions(latent)[0](code), eps, rtol=1e-12, atol=1e-12)
        assert np.abs(code - eps).max() > 0.1
    for latent in make_latent_pair("iaf_posterior", mean_only):
        np.testing.assert_array_equal(latent_methods(latent)[2](eps), eps)


def test_no_latent_is_a_gaussian_of_no_dimensions(rng):
    for latent in make_latent_pair("none"):
        forward, kl_sampled, generate = latent_methods(latent)
        nothing = np.zeros((3, 0))
        code, kl = forward(nothing, nothing, nothing, nothing)
        assert code.shape == kl.shape == (3, 0)
        many = np.zeros((3, 5, 0))
        code, cost = kl_sampled(nothing, many, many)
        assert code.shape == (3, 5, 0)
        np.testing.assert_array_equal(cost, np.zeros((3, 5)))
        assert generate(nothing).shape == (3, 0)
