"""Codes and their images are the same on both panels, and those of `encode` and `reconstruct`."""

import numpy as np
import pytest
from helpers.call_either_panel import call
from helpers.random_vae_batches import batch, odd_config
from helpers.small_conv_vaes import images, make, small_conv_config
from helpers.small_vlaes import KEY, KINDS, binary_images, make_config, make_models

from diptych.evaluation.codes import codes_of, images_of, latent_of, prior_codes
from diptych.panels.left import NumpyPanel
from diptych.panels.right import TorchPanel
from diptych.parity.measures.rows import normwise

BOUND = 1e-13
WITH_LATENT = [kind for kind in KINDS if kind[0] != "none"]
MLP = [{}, {"posterior": "sigma", "likelihood": "beta"}, {"posterior": "deterministic"}]
MLP += [{"likelihood": "truncated_gaussian"}]
CONV = [{"recon_type": "mse"}, {"recon_type": "discretized_logistic_mixture", "components": 3}]


def panels(models):
    """The two models as panels of the hinge."""
    left, right = models
    return (
        NumpyPanel(left, optimizer="adam", lr=1e-3, weight_decay=0.0),
        TorchPanel(right, optimizer="adam", lr=1e-3, weight_decay=0.0),
    )


def check_codes(models, x):
    """Codes and images agree; at its own code an image is its reconstruction."""
    results = []
    for panel in panels(models):
        codes = codes_of(panel, x, batch_size=3)
        decoded = images_of(panel, codes, KEY, batch_size=2)
        assert codes.dtype == np.float64 and codes.shape == (len(x), latent_of(panel).dim)
        assert panel.model.training
        with panel.evaluating():
            mu = call(panel.model, "encode", x)[0]
            recon = call(panel.model, "reconstruct", x)
        assert normwise(codes, mu) <= BOUND and normwise(decoded, recon) <= BOUND
        results.append((codes, decoded))
    (left, left_images), (right, right_images) = results
    assert normwise(left, right) <= BOUND and normwise(left_images, right_images) <= BOUND


@pytest.mark.parametrize("options", MLP, ids=str)
def test_codes_of_the_mlp_vae(make_pair, options):
    check_codes(make_pair(odd_config(**options)), batch(5, 13))


@pytest.mark.parametrize("options", CONV, ids=lambda options: options["recon_type"])
def test_codes_of_the_conv_vae(options):
    config = small_conv_config(**options)
    check_codes(make(config), images(config, 5))


@pytest.mark.parametrize(("latent", "context"), WITH_LATENT)
def test_codes_of_the_vlae_and_pixels_drawn_alike_for_each(latent, context):
    """Each image is the reconstruction of its original alone, by the uniforms of a first image."""
    models = make_models(make_config(latent, context))
    x = binary_images(models[0].config, 3)
    results = []
    for panel in panels(models):
        codes = codes_of(panel, x, batch_size=2)
        mu, _ = call(panel.model, "encode", x)
        expected = call(panel.model.latent, "flow", mu).eps if latent == "iaf_posterior" else mu
        assert normwise(codes, expected) <= 1e-13
        counts = []
        drawn = images_of(panel, codes, KEY, progress=counts.append)
        means = images_of(panel, codes, KEY, mean=True)
        assert sum(counts) == 35
        for n in range(3):
            alone = x[n : n + 1]
            np.testing.assert_array_equal(drawn[n], call(panel.model, "reconstruct", alone, KEY)[0])
            mean = call(panel.model, "reconstruct", alone, KEY, mean=True)[0]
            assert normwise(means[n], mean) <= 1e-13
        results.append((codes, drawn, means))
    (codes, drawn, means), (right_codes, right_drawn, right_means) = results
    assert normwise(codes, right_codes) <= BOUND and normwise(means, right_means) <= BOUND
    np.testing.assert_array_equal(drawn, right_drawn)


@pytest.mark.parametrize("latent", ["gaussian", "af_prior", "iaf_posterior"])
def test_the_prior_of_a_flow_is_reached_through_its_inverse(latent):
    eps = np.random.default_rng(3).normal(size=(6, 4))
    codes = []
    for panel in panels(make_models(make_config(latent))):
        codes.append(prior_codes(panel, eps))
        if latent == "af_prior":
            assert normwise(codes[-1], eps) > 1e-2
            assert normwise(call(panel.model.latent, "flow", codes[-1]).eps, eps) <= BOUND
        else:
            np.testing.assert_array_equal(codes[-1], eps)
        assert latent_of(panel).flow == (latent == "af_prior")
    assert normwise(*codes) <= BOUND


def test_models_without_a_latent_or_a_prior_are_named(make_pair):
    for panel in panels(make_models(make_config("none"))):
        for function in (codes_of, prior_codes):
            with pytest.raises(ValueError, match=r"^model: got one without a latent"):
                function(panel, binary_images(panel.model.config, 2))
    for panel in panels(make_pair(odd_config(posterior="deterministic"))):
        with pytest.raises(ValueError, match=r"^model: got an autoencoder, whose codes have no"):
            prior_codes(panel, np.zeros((2, 3)))
