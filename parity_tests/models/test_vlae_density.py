"""log p(x), its bound and importance weights: torch.distributions, quadrature, AF and IAF."""

import itertools

import numpy as np
import pytest
import torch
from helpers.run_layers import tensors
from helpers.small_vlaes import KEY, KINDS, binary_images, make_config, make_models
from scipy import stats
from scipy.special import logsumexp
from torch import distributions as td

from diptych.parity.measures.rows import normwise
from model_specs.vlae import VLAENoise
from numpy_ref.autoregressive.latents import FlowPosterior, FlowPrior
from numpy_ref.nn import random
from torch_impl.autoregressive.latents import FlowPrior as TorchFlowPrior

each_kind = pytest.mark.parametrize(("latent", "context"), KINDS)
WITH_Z = ("gaussian", "af_prior", "iaf_posterior")
NODES, SHARES = np.polynomial.hermite_e.hermegauss(101)
"""Nodes and weights of Gauss-Hermite quadrature over N(0, 1)."""
SHARES = SHARES / SHARES.sum()


def log_det(flow, z):
    """log |det df/dz| at one z, from autograd's Jacobian."""
    return torch.linalg.slogdet(torch.autograd.functional.jacobian(lambda z: flow(z).eps, z))[1]


@each_kind
def test_importance_weights_agree_with_torch_distributions(latent, context):
    """log p(x|z) + log p(z) - log q(z|x) of each of K = 3 samples, on both panels."""
    left, right = make_models(make_config(latent, context))
    x, noise = binary_images(left.config, 4), left.draw_noise(KEY, 4, samples=3)
    ours = left.log_weight(x, noise)
    theirs = right.log_weight(*tensors(x), VLAENoise(*tensors(*noise)))
    assert ours.shape == (4, 3) and normwise(ours, theirs.numpy()) <= 1e-13
    mu, logvar = (a.detach() for a in right.encode(*tensors(x)))
    q, normal = td.Normal(mu, (0.5 * logvar).exp()), td.Normal(torch.zeros(()).double(), 1)
    for k, eps in enumerate(torch.from_numpy(noise.eps).unbind(1)):
        z = code = q.loc + q.scale * eps
        log_q, log_p = q.log_prob(z).sum(1), normal.log_prob(z).sum(1)
        if latent in ("af_prior", "iaf_posterior"):
            u = right.latent.flow(z).eps.detach()
            volume = torch.stack([log_det(right.latent.flow, one) for one in z])
            if latent == "af_prior":  # the code is z, and p(z) is the flow's
                log_p = normal.log_prob(u).sum(1) + volume
            else:  # the code is u, and q(u|x) is the flow's
                code, log_q, log_p = u, log_q - volume, normal.log_prob(u).sum(1)
        p = td.Bernoulli(logits=right.decode(code, *tensors(x)).detach())
        log_w = p.log_prob(torch.from_numpy(x)).sum((1, 2, 3)) + log_p - log_q
        assert normwise(ours[:, k], log_w.numpy()) <= 1e-12


@each_kind
def test_the_elbo_is_the_mean_log_weight(latent, context):
    """In evaluation and with the same noise; a Gaussian prior, whose KL is in closed form, agrees
    in the mean over noise."""
    left, right = make_models(make_config(latent, context))
    left.eval(), right.eval()
    x, noise = binary_images(left.config, 6), left.draw_noise(KEY, 6)
    one = VLAENoise(noise.eps[:, None])
    loss = left.loss(x, noise)[0]
    theirs = right.loss(*tensors(x), VLAENoise(*tensors(*noise)))
    assert normwise(np.array(loss), np.array([term.item() for term in theirs])) <= 1e-13
    assert loss.total == pytest.approx(loss.recon + loss.kl, rel=1e-14)
    log_w = left.log_weight(x, one)
    if latent != "gaussian":
        assert -log_w.mean() == pytest.approx(loss.total, rel=1e-12)
        return
    (mu, logvar), _ = left.encode(x)
    many = left.draw_noise(KEY, 6, samples=4000).eps
    sampled = left.latent.kl_sampled(logvar, mu[:, None] + np.exp(logvar / 2)[:, None] * many, many)
    scale = sampled[1].std(1) / 4000**0.5
    exact = left.latent(mu, logvar, mu, 0 * mu)[0][1].sum(1)
    assert (np.abs(sampled[1].mean(1) - exact) < 4 * scale).all()


@pytest.mark.parametrize("latent", WITH_Z)
def test_the_importance_weighted_estimate_is_the_integral(latent):
    """p(x) = E_{z ~ p(z)} p(x|z) by Gauss-Hermite quadrature over the one latent is the mean of the
    importance weights, within its standard error, and the ELBO lies below."""
    config = make_config(latent, height=3, width=4, latent_dim=1)
    left, right = make_models(config)
    x = binary_images(config, 3)
    code = left.latent.generate(NODES[:, None])
    assert np.allclose(code, NODES[:, None]) == (latent != "af_prior")
    for n in range(3):
        logits, _ = left.decode(code, np.repeat(x[n : n + 1], len(NODES), 0))
        log_px = stats.bernoulli.logpmf(x[n], 1 / (1 + np.exp(-logits))).sum((1, 2, 3))
        exact = logsumexp(log_px, b=SHARES)
        assert np.ptp(log_px[40:61]) > 0.1  # z matters
        noise = left.draw_noise(KEY.fold_in(n), 1, samples=3000)
        log_w = left.log_weight(x[n : n + 1], noise)[0]
        theirs = right.log_weight(*tensors(x[n : n + 1]), VLAENoise(*tensors(*noise)))
        assert normwise(log_w, theirs[0].numpy()) <= 1e-13
        w = np.exp(log_w - exact)  # of mean 1
        assert abs(w.mean() - 1) < 4 * w.std() / 3000**0.5 < 0.5
        assert log_w.mean() < exact


@pytest.mark.parametrize("mean_only", [True, False], ids=["mean-only", "affine"])
def test_an_af_prior_is_an_iaf_posterior(mean_only):
    """Both have one loss from the same weights (Chen et al. 2016, section 3.2) if the posterior's
    decoder first maps u = f(z) back to z; p(u) = N(0, I) then stands for the flow's p(z)."""
    options = {"flow_mean_only": mean_only, "free_bits_of": "none"}
    prior, right_prior = make_models(make_config("af_prior", **options))
    posterior, right_posterior = make_models(make_config("iaf_posterior", **options))
    posterior.load_state_dict(prior.state_dict())
    right_posterior.load_state_dict(right_prior.state_dict())
    assert type(posterior.latent) is FlowPosterior and type(prior.latent) is FlowPrior
    x, noise = binary_images(prior.config, 4), prior.draw_noise(KEY, 4, samples=5)
    once = prior.draw_noise(KEY, 4)
    for a, b, convert in (
        (prior, posterior, lambda array: array),
        (right_prior, right_posterior, torch.from_numpy),
    ):
        model_inputs, eps, single = (convert(array) for array in (x, noise.eps, once.eps))
        wanted = np.asarray(a.log_weight(model_inputs, VLAENoise(eps)))
        plain = np.asarray(b.log_weight(model_inputs, VLAENoise(eps)))
        assert normwise(plain, wanted) > 1e-3  # here the decoder reads u
        decode = b.decode
        b.decode = lambda u, x, b=b, decode=decode: decode(b.latent.flow.inverse(u), x)
        result = np.asarray(b.log_weight(model_inputs, VLAENoise(eps)))
        assert normwise(result, wanted) <= 1e-12
        losses = [m.eval().loss(model_inputs, VLAENoise(single)) for m in (a, b)]
        if a is prior:
            losses = [loss for loss, _ in losses]
        for theirs, ours in zip(*losses, strict=True):
            assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_samples_of_prior_and_posterior_are_the_same_images():
    """If the decoder maps u ~ N(0, I) to f^-1(u), the codes are samples of the flow's p(z)."""
    prior, _ = make_models(make_config("af_prior"))
    posterior, _ = make_models(make_config("iaf_posterior"))
    posterior.load_state_dict(prior.state_dict())
    maps = posterior.decoder
    plain = posterior.sample(KEY, 7)
    posterior.decoder = lambda u: maps(posterior.latent.flow.inverse(u))
    assert normwise(posterior.sample(KEY, 7), prior.sample(KEY, 7)) <= 1e-12
    assert normwise(plain, prior.sample(KEY, 7)) > 1e-3


def test_more_samples_tighten_the_bound():
    """Burda et al. (2015): the mean of log-mean-exp grows with K."""
    left, _ = make_models(make_config("af_prior"))
    x = binary_images(left.config, 8)
    log_w = left.log_weight(x, left.draw_noise(KEY, 8, samples=512))
    bounds = [
        (logsumexp(log_w.reshape(8, -1, K), axis=2) - np.log(K)).mean() for K in (1, 4, 32, 512)
    ]
    assert all(a < b for a, b in itertools.pairwise(bounds))


def test_one_panel_loads_the_weights_of_the_other():
    """The inverse of the flow, which sampling uses, agrees after the weights were changed."""
    left, right = make_models(make_config("af_prior"))
    assert isinstance(right.latent, TorchFlowPrior)
    for name, parameter in left.named_parameters():
        parameter.data *= 1 + 0.1 * random.uniform(KEY.fold_in(name), parameter.data.shape)
    right.load_state_dict(left.state_dict())
    eps = random.normal(KEY, (3, 4))
    assert (
        normwise(left.latent.generate(eps), right.latent.generate(*tensors(eps)).numpy()) <= 1e-13
    )
