"""The KL divergence by dimension and by map of the latent: sums, densities, free bits."""

import numpy as np
import pytest
import torch
from helpers.layers_with_same_weights import LATENTS, draw_latents, make_latent_pair
from helpers.run_layers import tensors
from helpers.small_flows import KINDS
from torch import distributions as td

from diptych.arrays import to_numpy
from numpy_ref.autoregressive import latents as left_side
from torch_impl.autoregressive import latents as right_side

MAPS = {"latent_maps": 2, "strides": 2}
"""Two maps of 2 x 2, for images of 5 x 7."""


def terms_and_kl(latent, inputs):
    """The terms (N, Z) and the KL of `forward` (N, G) of a latent of either panel."""
    if isinstance(latent, torch.nn.Module):
        _, kl = latent(*tensors(*inputs))
        return to_numpy(latent.kl_terms(*tensors(*inputs))), to_numpy(kl)
    return latent.kl_terms(*inputs), latent(*inputs)[0][1]


@KINDS
@pytest.mark.parametrize("changes", [{}, MAPS], ids=["vector", "maps"])
@pytest.mark.parametrize("kind", LATENTS)
def test_the_terms_of_the_dimensions_sum_to_the_kl(kind, changes, mean_only, rng):
    inputs = draw_latents(rng, 5, 8 if changes else 4)
    for latent in make_latent_pair(kind, mean_only, **changes):
        terms, kl = terms_and_kl(latent, inputs)
        assert terms.shape == inputs[0].shape
        np.testing.assert_allclose(terms.sum(1), kl.sum(1), rtol=1e-12, atol=1e-12)


@KINDS
def test_a_term_of_one_step_is_a_conditional_density(mean_only, rng):
    """log q(z_i|x) - log p(z_i | z before i), p a normal of the step's mean and sigma."""
    mu, logvar, z, eps = draw_latents(rng, 5, 8)
    left, right = make_latent_pair("af_prior", mean_only, flow_steps=1, **MAPS)
    y, _ = next(iter(left.flow.steps)).made(z)
    mean, log_sigma = (y, np.zeros_like(y)) if mean_only else np.split(y, 2, axis=-1)
    q = td.Normal(*tensors(mu, np.exp(logvar / 2)))
    p = td.Normal(*tensors(mean, np.exp(log_sigma)))
    wanted = (q.log_prob(torch.from_numpy(z)) - p.log_prob(torch.from_numpy(z))).numpy()
    for latent in (left, right):
        terms, _ = terms_and_kl(latent, (mu, logvar, z, eps))
        np.testing.assert_allclose(terms, wanted, rtol=1e-11, atol=1e-12)


def test_a_map_s_kl_is_the_sum_over_its_pixels(rng):
    """The maps are the slowest axis of a code."""
    kl = rng.normal(size=(4, 6))
    wanted = [kl[:, 2 * c : 2 * c + 2].sum() / 4 for c in range(3)]
    result = left_side.kl_per_map(kl, 3)
    np.testing.assert_allclose(result, wanted, rtol=1e-13)
    assert result.sum() == pytest.approx(kl.sum() / 4, rel=1e-13)
    twin = right_side.kl_per_map(torch.from_numpy(kl), 3)
    np.testing.assert_allclose(twin.numpy(), result, rtol=1e-15)
    np.testing.assert_allclose(left_side.kl_per_map(kl, 6), kl.mean(0), rtol=1e-13)


def test_a_map_that_the_posterior_does_not_use_has_no_kl(rng):
    """q(z|x) of the first map is the prior; the KL of the second is in closed form."""
    mu, logvar, _, eps = draw_latents(rng, 5, 8)
    mu[:, :4] = logvar[:, :4] = 0
    inputs = mu, logvar, mu + np.exp(logvar / 2) * eps, eps
    for latent, side in zip(
        make_latent_pair("gaussian", **MAPS), (left_side, right_side), strict=True
    ):
        terms, _ = terms_and_kl(latent, inputs)
        terms = terms if side is left_side else torch.from_numpy(terms)
        first, second = to_numpy(side.kl_per_map(terms, 2))
        wanted = 0.5 * (mu**2 + np.exp(logvar) - logvar - 1)[:, 4:].sum(1).mean()
        assert first == 0 and second == pytest.approx(wanted, rel=1e-12)
