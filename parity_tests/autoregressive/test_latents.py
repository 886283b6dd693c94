"""Codes and KL divergences of the latents: parity, derivatives, torch.distributions."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import (
    LATENTS,
    assert_same_state,
    draw_latents,
    latent_methods,
    make_latent_pair,
)
from helpers.run_layers import outputs_and_gradients, tensors
from helpers.small_flows import KINDS
from torch import distributions as td

from diptych.arrays import to_numpy
from diptych.parity.measures.rows import normwise

each_kind = pytest.mark.parametrize("kind", LATENTS)
SHAPES = {"vector": {}, "maps": {"latent_maps": 2, "strides": 2}}
each_shape = pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
"""A vector of 4 dimensions, and two maps of 2 x 2."""
GRADIENTS = {"gaussian": ("mu", "logvar", "z"), "af_prior": ("logvar", "z")}
GRADIENTS["iaf_posterior"] = GRADIENTS["af_prior"]


def dimensions(changes):
    return 8 if changes else 4


class FlowTransform(td.Transform):
    """z -> u = f(z), with the log-determinant of autograd's Jacobian, not the flow's own sum."""

    domain = codomain = td.constraints.real_vector
    bijective = True

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def _call(self, z):
        return self.flow(z).eps

    def _inverse(self, u):
        return self.flow.inverse(u)

    def log_abs_det_jacobian(self, z, u):
        rows = [
            torch.autograd.functional.jacobian(lambda z: self.flow(z).eps, row)
            for row in z.reshape(-1, z.shape[-1])
        ]
        return torch.linalg.slogdet(torch.stack(rows)).logabsdet.reshape(z.shape[:-1])


def standard(Z):
    return td.Independent(td.Normal(torch.zeros(Z).double(), torch.ones(Z).double()), 1)


def posterior(mu, logvar):
    mu, logvar = tensors(mu, logvar)
    return td.Independent(td.Normal(mu, (logvar / 2).exp()), 1)


# Parity


@pytest.mark.parametrize("count", [1, 3])
@KINDS
@each_shape
@each_kind
def test_parity(kind, changes, mean_only, count, rng):
    left, right = make_latent_pair(kind, mean_only, **changes)
    assert_same_state(left, right)
    inputs = draw_latents(rng, count, dimensions(changes))
    outputs = left(*inputs)[0]
    cotangents = [0.5 + rng.normal(size=y.shape) for y in outputs]
    ours, theirs = (outputs_and_gradients(side, inputs, cotangents) for side in (left, right))
    names = dict(zip(("mu", "logvar", "z"), ("dx0", "dx1", "dx2"), strict=True))
    if kind != "gaussian":
        assert ours.pop("dx0") == 0 and theirs["dx0"] is None  # mu acts through z alone
    assert {names[n] for n in GRADIENTS[kind]} == {n for n in ours if n.startswith("dx")}
    for name, array in ours.items():
        model_inputs = np.zeros_like(array) if theirs[name] is None else theirs[name]
        assert array.shape == model_inputs.shape and normwise(array, model_inputs) <= 1e-13, name

    many = draw_latents(rng, count, dimensions(changes), samples=5)[1:]
    for a, b in zip(*(latent_methods(side)[1](*many) for side in (left, right)), strict=True):
        assert a.shape == b.shape and normwise(a, b) <= 1e-13
    eps = rng.normal(size=(count, dimensions(changes)))
    assert normwise(*(latent_methods(side)[2](eps) for side in (left, right))) <= 1e-13
    terms = left.kl_terms(*inputs), to_numpy(right.kl_terms(*tensors(*inputs)))
    assert normwise(*terms) <= 1e-13


@KINDS
@each_shape
@each_kind
def test_finite_differences(kind, changes, mean_only, rng):
    """Each input varies by itself: z does not follow mu and logvar here."""
    left, _ = make_latent_pair(kind, mean_only, **changes)
    mu, logvar, z, eps = draw_latents(rng, Z=dimensions(changes))
    result = derivative_errors(
        lambda mu, logvar, z: _arrays(left(mu, logvar, z, eps)),
        (mu, logvar, z),
        left.named_parameters(),
        rng,
    )
    assert {"[0]", "[1]", "[2]"} <= result.keys()
    assert max(result.values()) < 1e-8, result


def _arrays(result):
    """The result of a latent, with a gradient of 0.0 expanded to zeros."""
    y, vjp = result
    code = y[0]

    def expanded_vjp(*cotangents):
        return tuple(g if np.ndim(g) else np.full(code.shape, g) for g in vjp(*cotangents))

    return y, expanded_vjp


@each_kind
def test_kl_sampled_agrees_with_forward_for_each_sample(kind, rng):
    for latent in make_latent_pair(kind):
        forward, kl_sampled, _ = latent_methods(latent)
        mu, logvar, z, eps = draw_latents(rng, samples=5)
        code, kl = kl_sampled(logvar, z, eps)
        assert code.shape == (3, 5, 4) and kl.shape == (3, 5)
        for k in range(5):
            one, cost = forward(mu, logvar, z[:, k], eps[:, k])
            np.testing.assert_allclose(code[:, k], one, rtol=1e-12, atol=1e-13)
            if kind != "gaussian":  # whose forward gives the closed form
                np.testing.assert_allclose(kl[:, k], cost[:, 0], rtol=1e-12, atol=1e-12)


# torch.distributions


def test_a_gaussian_s_kl_of_each_dimension_is_torchs(rng):
    mu, logvar, z, eps = draw_latents(rng)
    q = td.Normal(*tensors(mu, np.exp(logvar / 2)))
    wanted = td.kl_divergence(q, td.Normal(0.0, 1.0)).numpy()
    for latent in make_latent_pair("gaussian"):
        code, kl = latent_methods(latent)[0](mu, logvar, z, eps)
        np.testing.assert_array_equal(code, z)
        np.testing.assert_allclose(kl, wanted, rtol=1e-12)
        np.testing.assert_array_equal(latent_methods(latent)[2](eps), eps)


def test_a_gaussian_s_sampled_kl_is_torchs(rng):
    mu, logvar, z, eps = draw_latents(rng, samples=5)
    q = posterior(mu[:, None], logvar[:, None])
    wanted = q.log_prob(torch.from_numpy(z)) - standard(4).log_prob(torch.from_numpy(z))
    for latent in make_latent_pair("gaussian"):
        code, kl = latent_methods(latent)[1](logvar, z, eps)
        np.testing.assert_array_equal(code, z)
        np.testing.assert_allclose(kl, wanted.numpy(), rtol=1e-12, atol=1e-12)


@KINDS
@each_shape
def test_a_flow_prior_is_a_transformed_distribution(changes, mean_only, rng):
    """log q(z|x) - log p(z), p(z) that of f^-1(u), u ~ N(0, I)."""
    left, right = make_latent_pair("af_prior", mean_only, **changes)
    Z = dimensions(changes)
    prior = td.TransformedDistribution(standard(Z), FlowTransform(right.flow).inv)
    for samples in (None, 5):
        mu, logvar, z, eps = draw_latents(rng, Z=Z, samples=samples)
        q = posterior(mu, logvar) if samples is None else posterior(mu[:, None], logvar[:, None])
        at = torch.from_numpy(z)
        wanted = to_numpy(q.log_prob(at) - prior.log_prob(at))
        for latent in (left, right):
            forward, kl_sampled, _ = latent_methods(latent)
            model_inputs = (
                forward(mu, logvar, z, eps) if samples is None else kl_sampled(logvar, z, eps)
            )
            np.testing.assert_array_equal(model_inputs[0], z)
            np.testing.assert_allclose(
                model_inputs[1].reshape(wanted.shape), wanted, rtol=1e-11, atol=1e-12
            )


@KINDS
@each_shape
def test_a_flow_posterior_is_a_transformed_distribution(changes, mean_only, rng):
    """log q(u|x) - log N(u; 0, I), q(u|x) that of f(z), z ~ N(mu, std^2)."""
    left, right = make_latent_pair("iaf_posterior", mean_only, **changes)
    transform, Z = FlowTransform(right.flow), dimensions(changes)
    for samples in (None, 5):
        mu, logvar, z, eps = draw_latents(rng, Z=Z, samples=samples)
        base = posterior(mu, logvar) if samples is None else posterior(mu[:, None], logvar[:, None])
        u = to_numpy(right.flow(torch.from_numpy(z)).eps)
        at = torch.from_numpy(u)
        q = td.TransformedDistribution(base, transform)
        wanted = to_numpy(q.log_prob(at) - standard(Z).log_prob(at))
        for latent in (left, right):
            forward, kl_sampled, _ = latent_methods(latent)
            model_inputs = (
                forward(mu, logvar, z, eps) if samples is None else kl_sampled(logvar, z, eps)
            )
            np.testing.assert_allclose(model_inputs[0], u, rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(
                model_inputs[1].reshape(wanted.shape), wanted, rtol=1e-11, atol=1e-12
            )
