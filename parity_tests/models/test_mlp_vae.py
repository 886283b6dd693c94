"""The MLP VAE: parity for all options, training, independent witnesses, compilation, autocast."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors, total_loss
from helpers.random_vae_batches import KEY, batch, odd_config
from helpers.run_layers import tensors
from torch import distributions as td

import numpy_ref.mlp_vae
import torch_impl.mlp_vae
from diptych import pairs, parity
from diptych.panels import make_panel
from diptych.parity.measures.rows import normwise
from model_specs import mlp_vae as spec
from model_specs.common.effects import changed
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig, MLPVAENoise


def test_mlp_vae_left_equals_right():
    """The same weights, images and noise: equal losses and equal gradients of every parameter."""
    config = MLPVAEConfig(input_dim=13, hidden_dim=11, latent_dim=3, beta=0.7)
    left = numpy_ref.mlp_vae.MLPVAE(config)
    right = torch_impl.mlp_vae.MLPVAE(config)

    rng = np.random.default_rng(0)
    for parameter in left.parameters():
        parameter.data[...] = rng.normal(0, 0.3, parameter.data.shape)  # biases too
    right.load_state_dict(left.state_dict())
    x, eps = rng.random((5, 13)), rng.normal(size=(5, 2, 3))

    loss, backward = left.loss(x, MLPVAENoise(eps))
    backward()
    right_loss = right.loss(torch.from_numpy(x), MLPVAENoise(torch.from_numpy(eps)))
    right_loss.total.backward()

    for term, right_term in zip(loss, right_loss, strict=True):
        np.testing.assert_allclose(term, right_term.item(), rtol=1e-13)
    for name, parameter in right.named_parameters():
        gradient = left.gradients()[name]
        atol = 1e-13 * np.abs(gradient).max()
        np.testing.assert_allclose(gradient, parameter.grad, rtol=0, atol=atol, err_msg=name)


ENCODERS = [
    pair
    for pair in itertools.product(spec.POSTERIORS, spec.ESTIMATORS)
    if pair != ("deterministic", "sampled")  # a point has no density
]
GRID = [
    (*encoder, *rest)
    for encoder, *rest in itertools.product(
        ENCODERS, spec.LIKELIHOODS, spec.REDUCTIONS, (1, 3), spec.ACTIVATIONS
    )
    if encoder[0] in spec.STOCHASTIC or 3 not in rest  # a point is not sampled
]


@pytest.mark.parametrize(
    ("posterior", "estimator", "likelihood", "reduction", "samples", "activation"), GRID
)
def test_parity_over_the_grid(
    make_pair, posterior, estimator, likelihood, reduction, samples, activation, device
):
    """In float64 every error is at most 1e-13, also with a batch of 1.

    In float32 it is within the bound from dtype and size, with the float64 left panel as reference.
    """
    config = odd_config(
        posterior=posterior,
        estimator=estimator,
        likelihood=likelihood,
        reduction=reduction,
        samples=samples,
        activation=activation,
    )
    for dtype, size in (("float64", 5), ("float64", 1), ("float32", 5)):
        left, right = make_pair(config, dtype)
        noise = left.draw_noise(KEY.fold_in(size), size)
        report = parity.assert_parity(left, right.to(device), batch(size, 13, dtype), noise)
        assert {"loss.total", "loss.recon", "loss.kl", "decode"} <= {
            row.name for row in report.rows
        }
        gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
        assert gradients == set(left.state_dict())
        if dtype == "float64":
            assert all(row.error <= 1e-13 for row in report.rows)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"estimator": "sampled", "samples": 3},
        {"posterior": "sigma"},
        {"likelihood": "gaussian_learned"},
        {"likelihood": "gaussian_learned", "min_logvar": -1.0},
    ],
)
def test_a_hundred_adam_steps_end_in_the_same_weights(options):
    config = odd_config(**options, init="torch")
    panels = [
        make_panel("mlp_vae", config, backend, key=Key(3), dtype="float64", lr=1e-2)
        for backend in ("numpy", "torch")
    ]
    for step in range(100):
        x = batch(9, 13, key=KEY.fold_in(step))
        for panel in panels:
            panel.forward_backward(x, panel.model.draw_noise(KEY.fold_in(step), 9))
            panel.step(lr=1e-2, clip=5.0)
    ours, theirs = (panel.weights() for panel in panels)
    assert max(normwise(ours[name], theirs[name]) for name in ours) <= 1e-10


def test_both_panels_draw_the_same_weights_and_noise():
    for init in spec.INITS:
        config = odd_config(init=init, samples=2)
        left, right = (
            getattr(pairs.get("mlp_vae"), side)(config, Key(4)) for side in ("left", "right")
        )
        for name, array in left.state_dict().items():
            theirs = right.state_dict()[name].numpy()
            np.testing.assert_allclose(array, theirs, rtol=0, atol=1e-15)
            if init == "normal" and name.endswith("bias"):
                assert not array.any()
        noise, twin = left.draw_noise(KEY, 6), right.draw_noise(KEY, 6)
        np.testing.assert_allclose(noise.eps, twin.eps.numpy(), rtol=0, atol=2e-15)
        # the part of the batch that one of several ranks draws
        part, right_part = (model.draw_noise(KEY, 2, first=3).eps for model in (left, right))
        np.testing.assert_array_equal(part, noise.eps[3:5])
        np.testing.assert_allclose(right_part.numpy(), noise.eps[3:5], rtol=0, atol=2e-15)


def test_initial_weights_have_the_configured_scale():
    left = pairs.get("mlp_vae").left
    normal = left(MLPVAEConfig(200, 300, 5, init="normal")).state_dict()["encoder_hidden.weight"]
    assert abs(normal.std() - 0.1) < 5 * 0.1 / (2 * normal.size) ** 0.5
    state = left(MLPVAEConfig(200, 300, 5, init="torch")).state_dict()
    for leaf in ("weight", "bias"):
        uniform = state[f"encoder_hidden.{leaf}"]
        assert 0.98 < np.abs(uniform).max() * 200**0.5 <= 1


# Witnesses other than the panels


def test_every_parameter_gradient_by_finite_difference(make_pair, rng):
    for (posterior, estimator), likelihood in itertools.product(ENCODERS, spec.LIKELIHOODS):
        options = {"posterior": posterior, "estimator": estimator, "likelihood": likelihood}
        config = changed(odd_config(samples=2), **options)
        left, _ = make_pair(config)
        x, noise = batch(4, 13), left.draw_noise(KEY, 4)
        errors = derivative_errors(total_loss(left), (x, noise), left.named_parameters(), rng)
        assert errors.keys() == left.gradients().keys()
        assert max(errors.values()) < 1e-8, errors


def test_the_loss_is_the_elbo_by_torch_distributions(make_pair):
    config = odd_config(beta=1.0, estimator="sampled", samples=3)
    left, right = make_pair(config)
    noise = left.draw_noise(KEY, 5)
    x, eps = tensors(np.round(batch(5, 13)), noise.eps)
    mu, logvar = (t.detach() for t in right.encode(x))
    q, p = td.Normal(mu[:, None], torch.exp(logvar / 2)[:, None]), td.Normal(0.0, 1.0)
    z = mu[:, None] + torch.exp(logvar / 2)[:, None] * eps
    log_px = td.Bernoulli(logits=right.decode(z).detach()).log_prob(x[:, None].expand(5, 3, 13))
    log_w = log_px.sum(-1) + p.log_prob(z).sum(-1) - q.log_prob(z).sum(-1)
    loss, _ = left.loss(x.numpy(), noise)
    assert loss.total == pytest.approx(-log_w.mean().item(), rel=1e-12)
    np.testing.assert_allclose(left.log_weight(x.numpy(), noise), log_w.numpy(), rtol=1e-12)
    closed = dataclasses.replace(config, estimator="analytic")
    kl, _ = make_pair(closed)[0].loss(x.numpy(), noise)
    assert kl.kl == pytest.approx(
        td.kl_divergence(td.Normal(mu, torch.exp(logvar / 2)), p).sum(1).mean().item(), rel=1e-12
    )


def test_reduction_sums_or_averages_and_beta_weights_the_kl_term(make_pair):
    x = batch(5, 13)
    mean, total = (make_pair(odd_config(reduction=reduction))[0] for reduction in ("mean", "sum"))
    noise = mean.draw_noise(KEY, 5)
    a, b = mean.loss(x, noise)[0], total.loss(x, noise)[0]
    np.testing.assert_allclose(np.array(b), 5 * np.array(a), rtol=1e-14)
    assert a.total == pytest.approx(a.recon + 0.7 * a.kl, rel=1e-15)


# The right panel compiled, and under autocast


def test_torch_compile_gives_the_same_loss_and_gradients(make_pair):
    """In one graph, and at a second size, for which dynamo makes the sizes symbolic."""
    for samples, size, likelihood in (
        (1, 5, "bernoulli"),
        (2, 8, "bernoulli"),
        *((1, 5, name) for name in spec.LIKELIHOODS[2:]),
    ):
        _, right = make_pair(odd_config(samples=samples, likelihood=likelihood))
        (x,), noise = tensors(batch(size, 13)), right.draw_noise(KEY, size)
        loss = right.loss(x, noise)
        loss.total.backward()
        eager = {name: grad.clone() for name, grad in right.gradients().items()}
        right.zero_grad()
        compiled = torch.compile(right.loss, fullgraph=True)(x, noise)
        compiled.total.backward()
        for ours, theirs in zip(compiled, loss, strict=True):
            assert ours.item() == pytest.approx(theirs.item(), rel=1e-13)
        for name, grad in right.gradients().items():
            assert normwise(grad.numpy(), eager[name].numpy()) <= 1e-13


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"posterior": "sigma"},
        {"posterior": "sigma", "estimator": "sampled"},
        {"likelihood": "bernoulli_clamped"},
        {"likelihood": "gaussian"},
        {"likelihood": "gaussian_learned", "min_logvar": -1.0},
        {"likelihood": "continuous_bernoulli"},
        {"likelihood": "beta"},
        {"likelihood": "truncated_gaussian"},
        {"posterior": "deterministic"},
    ],
)
def test_autocast_computes_products_in_half_precision_and_densities_in_float32(
    make_pair, options, dtype
):
    """In float16 the constant 1e-8 of the clamped densities would be 0, and its log infinite."""
    _, right = make_pair(odd_config(**options), "float32")
    with torch.no_grad():
        right.decoder_logits.bias -= 18
    (x,), noise = tensors(batch(5, 13, "float32")), right.draw_noise(KEY, 5)
    exact = right.loss(x, noise)
    with torch.autocast("cpu", dtype=dtype):
        mixed = right.loss(x, noise)
    mixed.total.backward()
    for ours, theirs in zip(mixed, exact, strict=True):
        assert ours.dtype == torch.float32
        # five products in a row, each rounded to half an eps
        assert ours.item() == pytest.approx(theirs.item(), rel=5 * torch.finfo(dtype).eps)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in right.gradients().values())
    assert mixed.total.item() != exact.total.item()
