"""The MLP VAE: parity over the whole option grid, trajectories, witnesses, other ways to run."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from helpers.vae_cases import KEY, ODD, batch, tensors
from helpers.witnesses import derivative_errors, total_of
from torch import distributions as td

from diptych import pairs, parity
from diptych.panels import make_panel
from diptych.parity.bounds import rounding_bound
from diptych.parity.report import normwise
from model_specs import mlp_vae as spec
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig

ENCODERS = [
    pair
    for pair in itertools.product(spec.POSTERIORS, spec.ESTIMATORS)
    if pair != ("deterministic", "A")  # of a point there is no density to estimate
]
GRID = [
    (*encoder, *rest)
    for encoder, *rest in itertools.product(
        ENCODERS, spec.LIKELIHOODS, spec.REDUCTIONS, (1, 3), spec.ACTIVATIONS
    )
]


@pytest.mark.parametrize(
    ("posterior", "estimator", "likelihood", "reduction", "samples", "activation"), GRID
)
def test_parity_over_the_grid(
    make_pair, posterior, estimator, likelihood, reduction, samples, activation
):
    """float64: every row within 1e-13, at odd sizes, a batch of 1 included.

    float32: within the bound from dtype and size, judged by the float64 left panel.
    """
    config = MLPVAEConfig(
        **ODD,
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
        report = parity.assert_parity(left, right, batch(size, 13, dtype), noise)
        assert {"loss.total", "loss.recon", "loss.kl", "decode"} <= {
            row.name for row in report.rows
        }
        gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
        assert gradients == set(left.state_dict())
        if dtype == "float64":
            assert all(row.error <= 1e-13 for row in report.rows)


@pytest.mark.parametrize("name", pairs.names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_registered_variants(name, dtype):
    """With several keys: some draw a sigma near 0, or a KL whose sum cancels."""
    for seed in range(2 if "784" in name or "vlae" in name else 16):
        parity.assert_parity(name, dtype=dtype, key=Key(seed))


def test_the_bound_of_an_ill_conditioned_tensor_grows_with_its_condition_number():
    """log(sigma^2) near sigma = 0 amplifies the rounding errors of its inputs."""
    report = parity.compare("mlp_vae[sigma]", dtype="float32", key=Key(8))
    (row,) = (row for row in report.rows if row.name == "posterior.kl(sigma)")
    others = [r.bound for r in report.rows if r.kind == "output"]
    assert row.ok and row.bound > 10 * max(others)
    # without the measured factor it would fail: some 300 roundings come before it
    assert row.error > rounding_bound(np.dtype("float32"), 300)


@pytest.mark.parametrize("options", [{}, {"estimator": "A", "samples": 3}, {"posterior": "sigma"}])
def test_a_hundred_adam_steps_end_in_the_same_weights(options):
    config = MLPVAEConfig(**ODD, **options, init="torch")
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
        config = MLPVAEConfig(**ODD, init=init, samples=2)
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
        # as one rank of several would draw it
        ours, part = (model.draw_noise(KEY, 2, first=3).eps for model in (left, right))
        np.testing.assert_array_equal(ours, noise.eps[3:5])
        np.testing.assert_allclose(part.numpy(), noise.eps[3:5], rtol=0, atol=2e-15)


def test_initial_weights_have_the_spread_they_promise():
    left = pairs.get("mlp_vae").left
    normal = left(MLPVAEConfig(200, 300, 5, init="normal")).state_dict()["encoder_hidden.weight"]
    assert abs(normal.std() - 0.1) < 5 * 0.1 / (2 * normal.size) ** 0.5
    state = left(MLPVAEConfig(200, 300, 5, init="torch")).state_dict()
    for leaf in ("weight", "bias"):
        uniform = state[f"encoder_hidden.{leaf}"]
        assert 0.98 < np.abs(uniform).max() * 200**0.5 <= 1


# Witnesses: neither panel


def test_every_parameter_gradient_by_finite_difference(make_pair, rng):
    for (posterior, estimator), likelihood in itertools.product(ENCODERS, spec.LIKELIHOODS):
        options = {"posterior": posterior, "estimator": estimator, "likelihood": likelihood}
        config = MLPVAEConfig(**ODD, **options, samples=2)
        left, _ = make_pair(config)
        x, noise = batch(4, 13), left.draw_noise(KEY, 4)
        errors = derivative_errors(total_of(left), (x, noise), left.named_parameters(), rng)
        assert errors.keys() == left.gradients().keys()
        assert max(errors.values()) < 1e-8, errors


def test_loss_is_that_of_torch_distributions(make_pair):
    """The -ELBO written down anew, with densities and KL of torch.distributions alone."""
    config = MLPVAEConfig(**{**ODD, "beta": 1.0}, estimator="A", samples=3)
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
    closed = dataclasses.replace(config, estimator="B")
    kl, _ = make_pair(closed)[0].loss(x.numpy(), noise)
    assert kl.kl == pytest.approx(
        td.kl_divergence(td.Normal(mu, torch.exp(logvar / 2)), p).sum(1).mean().item(), rel=1e-12
    )


def test_reduction_and_beta_are_what_they_say(make_pair):
    x = batch(5, 13)
    mean, total = (
        make_pair(MLPVAEConfig(**ODD, reduction=reduction))[0] for reduction in ("mean", "sum")
    )
    noise = mean.draw_noise(KEY, 5)
    a, b = mean.loss(x, noise)[0], total.loss(x, noise)[0]
    np.testing.assert_allclose(np.array(b), 5 * np.array(a), rtol=1e-14)
    assert a.total == pytest.approx(a.recon + 0.7 * a.kl, rel=1e-15)


# The right panel's other ways to run


def test_torch_compile_gives_the_same_loss_and_gradients(make_pair):
    """In one graph; at a second size too, where dynamo makes the sizes symbolic."""
    for samples, size, likelihood in (
        (1, 5, "bernoulli"),
        (2, 8, "bernoulli"),
        *((1, 5, name) for name in ("continuous_bernoulli", "beta", "truncated_gaussian")),
    ):
        _, right = make_pair(MLPVAEConfig(**ODD, samples=samples, likelihood=likelihood))
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
        {"posterior": "sigma", "estimator": "A"},
        {"likelihood": "bernoulli_clamped"},
        {"likelihood": "gaussian"},
        {"likelihood": "continuous_bernoulli"},
        {"likelihood": "beta"},
        {"likelihood": "truncated_gaussian"},
        {"posterior": "deterministic"},
    ],
)
def test_autocast_rounds_the_products_and_nothing_else(make_pair, options, dtype):
    """Densities stay in float32: 1e-8 is nothing in float16, and log of it infinite."""
    _, right = make_pair(MLPVAEConfig(**ODD, **options), "float32")
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
