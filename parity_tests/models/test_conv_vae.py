"""The convolutional VAE: parity for all options, training, independent witnesses, bad input."""

import itertools

import numpy as np
import pytest
import torch
from helpers import plain_mixtures
from helpers.finite_differences import derivative_errors, total_loss
from helpers.floored_sigma import floored_sigma
from helpers.small_conv_vaes import KEY, images, make, small_conv_config
from torch import distributions as td
from torch.nn import functional as F

import numpy_ref.conv_vae
import torch_impl.conv_vae
from diptych import parity
from diptych.parity.measures.rows import normwise
from model_specs.conv_vae import (
    LEARNED,
    MIXTURE,
    RECON_TYPES,
    REDUCTIONS,
    SUPPORTS,
    ConvVAEConfig,
    ConvVAENoise,
)
from numpy_ref.nn import optim


def test_conv_vae_left_equals_right():
    """The same weights, images and noise: equal losses and equal gradients of every parameter."""
    config = ConvVAEConfig(latent_dim=3, base_channels=2, image_size=16, beta=0.7)
    left = numpy_ref.conv_vae.ConvVAE(config)
    right = torch_impl.conv_vae.ConvVAE(config)

    rng = np.random.default_rng(0)
    for parameter in left.parameters():
        parameter.data[...] = rng.normal(0, 0.3, parameter.data.shape)  # biases too
    right.load_state_dict(left.state_dict())
    x, eps = rng.random((5, 3, 16, 16)), rng.normal(size=(5, 3))

    loss, backward = left.loss(x, ConvVAENoise(eps))
    backward()
    right_loss = right.loss(torch.from_numpy(x), ConvVAENoise(torch.from_numpy(eps)))
    right_loss.total.backward()

    for term, right_term in zip(loss, right_loss, strict=True):
        np.testing.assert_allclose(term, right_term.item(), rtol=1e-13)
    for name, parameter in right.named_parameters():
        gradient = left.gradients()[name]
        atol = 1e-13 * np.abs(gradient).max()
        np.testing.assert_allclose(gradient, parameter.grad, rtol=0, atol=atol, err_msg=name)


GRID = [
    {"out_activation": activation, "recon_type": recon, "reduction": reduction}
    for activation, recon, reduction in itertools.product(SUPPORTS, RECON_TYPES, REDUCTIONS)
    if activation == "sigmoid" or recon not in ("bce", MIXTURE)
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(o.values()))
def test_parity_over_the_grid(options, training, device):
    """Also with an odd size and one channel; encoder.0.bias, a sum that cancels, has the bound of
    the report, all others 1e-13."""
    for more in ({"in_channels": 3}, {"in_channels": 1, "image_size": 48, "base_channels": 3}):
        config = small_conv_config(**options | more)
        left, right = make(config)
        left.train(training), right.train(training)
        noise = left.draw_noise(KEY, 3)
        report = parity.assert_parity(left, right.to(device), images(config, 3), noise)
        wide = [(row.name, row.bound < 1e-12) for row in report.rows if row.bound > 1e-13]
        assert wide in ([], [("encoder.0.bias", True)])
        assert {"encoder.3.weight", "decoder.9.bias", "logvar.bias"} <= set(left.gradients())


def test_the_panels_draw_the_same_weights_and_noise():
    for init in ("torch", "normal"):
        config = small_conv_config(init=init)
        left = numpy_ref.conv_vae.ConvVAE(config, KEY)
        right = torch_impl.conv_vae.ConvVAE(config, KEY)
        theirs = right.state_dict()
        assert list(left.state_dict()) == list(theirs)
        for name, ours in left.state_dict().items():
            assert normwise(ours, theirs[name].numpy()) <= 1e-15, name
        eps = left.draw_noise(KEY, 5).eps
        assert normwise(eps, right.draw_noise(KEY, 5).eps.numpy()) <= 1e-15
        many = left.draw_noise(KEY, 5, samples=4).eps
        assert many.shape == (5, 4, 3)
        assert normwise(many, right.draw_noise(KEY, 5, samples=4).eps.numpy()) <= 1e-15
        np.testing.assert_array_equal(eps, left.draw_noise(KEY, 5, samples=1).eps[:, 0])
        for whole, count in ((eps, {}), (many, {"samples": 4})):
            # the part of the batch that one of several ranks draws
            ours, part = (m.draw_noise(KEY, 2, first=2, **count).eps for m in (left, right))
            np.testing.assert_array_equal(ours, whole[2:4])
            assert normwise(part.numpy(), whole[2:4]) <= 1e-15


@pytest.mark.parametrize("recon_type", ["mse", LEARNED])
def test_a_hundred_steps_end_in_the_same_weights_and_statistics(recon_type):
    config = small_conv_config(recon_type=recon_type)
    left, right = make(config)
    start = left.state_dict()
    ours = optim.Adam(left.named_parameters(), lr=1e-3)
    theirs = torch.optim.Adam(right.parameters(), lr=1e-3)
    for step in range(100):
        key = KEY.fold_in(step)
        x, noise = images(config, 6, key=key), left.draw_noise(key, 6)
        left.zero_grad()
        left.loss(x, noise)[1]()
        ours.step()
        theirs.zero_grad()
        right.loss(torch.from_numpy(x), right.draw_noise(key, 6)).total.backward()
        theirs.step()
    ends = right.state_dict()
    for name, array in left.state_dict().items():
        assert normwise(array, ends[name].numpy()) <= 1e-10, name
        assert normwise(array, start[name]) > 1e-3, name


# Witnesses other than the panels


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(o.values()))
def test_every_parameter_gradient_by_finite_difference(options, rng):
    channels = 3 if options["recon_type"] == MIXTURE else 2
    config = small_conv_config(in_channels=channels, **options)
    left, _ = make(config)
    x, noise = images(config, 3), left.draw_noise(KEY, 3)
    # A short step, so that no ReLU passes its kink; longer for a mixture, whose loss of thousands
    # of nats is rounded to 1e-12 and divided by the step.
    step = 4e-6 if options["recon_type"] == MIXTURE else 1e-6
    errors = derivative_errors(total_loss(left), (x, noise), left.named_parameters(), rng, step)
    assert errors.keys() == left.gradients().keys()
    assert max(errors.values()) < 1e-6, errors


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(o.values()))
def test_the_loss_terms_are_those_of_torch(options):
    """Computed by torch.nn.functional and torch.distributions from the outputs of forward."""
    config = small_conv_config(**options)
    left, _ = make(config)
    x, noise = images(config, 4), left.draw_noise(KEY, 4)
    result, _ = left.loss(x, noise)
    out, _ = left(x, noise)
    recon, target = torch.from_numpy(out.recon), torch.from_numpy(x)
    if config.recon_type == MIXTURE:
        p = plain_mixtures.probability(left.decode(out.z)[0], x)
        expected = getattr(-torch.from_numpy(np.log(p)).sum((1, 2)), config.reduction)()
    elif config.recon_type in ("gaussian", LEARNED):
        std = np.array(config.gaussian_std)
        if config.recon_type == LEARNED:
            std = floored_sigma(np.split(left.decode(out.z)[0], 2, 1)[1], config.min_logvar)
        nll = -td.Normal(recon, torch.from_numpy(std)).log_prob(target).sum((1, 2, 3))
        expected = getattr(nll, config.reduction)()
    else:
        function = F.mse_loss if config.recon_type == "mse" else F.binary_cross_entropy
        expected = function(recon, target, reduction=config.reduction)
    mu, logvar = (torch.from_numpy(a) for a in (out.mu, out.logvar))
    q, prior = td.Normal(mu, (0.5 * logvar).exp()), td.Normal(0.0, 1.0)
    kl = getattr(td.kl_divergence(q, prior).sum(1), config.reduction)()
    assert result.recon == pytest.approx(expected.item(), rel=1e-12)
    assert result.kl == pytest.approx(kl.item(), rel=1e-12)
    assert result.total == pytest.approx(result.recon + 0.7 * result.kl, rel=1e-15)
    np.testing.assert_allclose(out.z, out.mu + np.exp(out.logvar / 2) * noise.eps, rtol=1e-14)


@pytest.mark.parametrize("sample_posterior", [True, False])
def test_forward_and_its_vjp_agree_with_torch(sample_posterior, rng):
    config = small_conv_config(out_activation="tanh")
    left, right = make(config)
    x, noise = images(config, 3), left.draw_noise(KEY, 3) if sample_posterior else None
    out, vjp = left(x, noise, sample_posterior=sample_posterior)
    there = None if noise is None else ConvVAENoise(torch.from_numpy(noise.eps))
    theirs = right(torch.from_numpy(x), there, sample_posterior=sample_posterior)
    cotangents = [rng.standard_normal(part.shape) for part in out]
    vjp(*cotangents)
    torch.autograd.backward(list(theirs), [torch.from_numpy(c) for c in cotangents])
    for ours, part in zip(out, theirs, strict=True):
        assert normwise(ours, part.detach().numpy()) <= 1e-13
    for name, parameter in right.named_parameters():
        assert normwise(left.gradients()[name], parameter.grad.numpy()) <= 1e-13, name
    assert sample_posterior or np.array_equal(out.z, out.mu)


def test_samples_and_reconstructions_are_the_same_images():
    config = small_conv_config()
    left, right = (model.eval() for model in make(config))
    samples = left.sample(KEY, 5)
    assert normwise(samples, right.sample(KEY, 5).numpy()) <= 1e-13
    assert samples.std(0).max() > 0.01
    x = images(config, 2)
    theirs = right.reconstruct(torch.from_numpy(x)).numpy()
    assert normwise(left.reconstruct(x), theirs) <= 1e-13
    assert normwise(left.reconstruct(x[:1]), left.reconstruct(x)[:1]) <= 1e-13
    (mu, _), _ = left.encode(x)
    np.testing.assert_array_equal(left.reconstruct(x), left.activate(left.decode(mu)[0])[0])


@pytest.mark.parametrize("recon_type", ["gaussian", "bce"])
def test_log_weight_is_the_one_by_torch_distributions(recon_type):
    config = small_conv_config(recon_type=recon_type)
    left, right = (model.eval() for model in make(config))
    x, noise = np.round(images(config, 3)), left.draw_noise(KEY, 3, samples=4)
    ours = left.log_weight(x, noise)
    theirs = right.log_weight(torch.from_numpy(x), right.draw_noise(KEY, 3, samples=4))
    assert ours.shape == (3, 4) and normwise(ours, theirs.numpy()) <= 1e-13
    for k in range(4):
        out, _ = left(x, ConvVAENoise(noise.eps[:, k]))
        recon, mu, logvar, z = (torch.from_numpy(part) for part in out)
        p = td.Bernoulli(recon) if recon_type == "bce" else td.Normal(recon, config.gaussian_std)
        q, prior = td.Normal(mu, (0.5 * logvar).exp()), td.Normal(0.0, 1.0)
        log_w = p.log_prob(torch.from_numpy(x)).sum((1, 2, 3))
        log_w += (prior.log_prob(z) - q.log_prob(z)).sum(1)
        assert normwise(ours[:, k], log_w.numpy()) <= 1e-12


def test_samples_have_the_mean_and_standard_deviation_of_their_density():
    """The same samples on both panels; 30720 values each."""
    for recon_type in ("gaussian", "bce"):
        config = small_conv_config(recon_type=recon_type)
        left, right = (model.eval() for model in make(config))
        samples, means = left.sample(KEY, 40, mean=False), left.sample(KEY, 40)
        theirs = right.sample(KEY, 40, mean=False).numpy()
        if recon_type == "bce":
            np.testing.assert_array_equal(samples, theirs)
            assert set(np.unique(samples)) == {0, 1}
            std = np.sqrt(means * (1 - means))
        else:
            assert normwise(samples, theirs) <= 1e-13
            std = config.gaussian_std
        scores = (samples - means) / std
        assert abs(scores.mean()) < 4 / np.sqrt(scores.size)
        assert scores.std() == pytest.approx(1, abs=0.03)


def test_a_squared_error_is_not_a_density():
    for model in make(small_conv_config()):
        with pytest.raises(ValueError, match="mean: got False, takes True for recon_type mse"):
            model.sample(KEY, 2, mean=False)
        noise = model.draw_noise(KEY, 2, samples=3)
        with pytest.raises(
            ValueError, match="recon_type: got 'mse', which is not a likelihood; takes"
        ):
            model.log_weight(images(model.config, 2), noise)
        with pytest.raises(ValueError, match="count: got 0"):
            model.sample(KEY, 0)


# Bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 40}, "image_size: got 40, takes a multiple of 16"),
        ({"out_activation": "relu"}, "out_activation: got 'relu'"),
        ({"recon_type": "bce", "out_activation": "tanh"}, "out_activation: got 'tanh', bce takes"),
        ({"recon_type": "l1"}, "recon_type: got 'l1'"),
        ({"recon_type": MIXTURE, "in_channels": 2}, "in_channels: got 2, the mixture takes 1 or 3"),
        ({"recon_type": MIXTURE, "components": 0}, "components: got 0"),
        ({"components": 5}, "components: got 5 with recon_type 'mse', takes 10"),
        (
            {"recon_type": MIXTURE, "out_activation": "none"},
            f"out_activation: got 'none', {MIXTURE} takes 'sigmoid'",
        ),
        ({"latent_dim": 0}, "latent_dim: got 0"),
        ({"beta": -1}, "beta: got -1"),
        ({"recon_type": LEARNED, "min_logvar": 100}, "min_logvar: got 100, takes None or a number"),
        ({"min_logvar": -1.0}, "min_logvar: got -1 with recon_type 'mse', takes -9"),
    ],
)
def test_impossible_configs_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        ConvVAEConfig(**fields)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :2], r"x: got shape \(3, 2, 16, 16\), takes \(any, 3, 16, 16\)"),
        (lambda x: x[:, :, :8], "x: got shape"),
        (lambda x: x * 2 - 1, r"x: got values from -.*, takes \[0, 1\]"),
        (lambda x: x * np.nan, "x: got NaN or inf"),
    ],
)
def test_bad_images_are_named_on_both_panels(spoil, message):
    config = small_conv_config()
    left, right = make(config)
    x = np.ascontiguousarray(spoil(images(config, 3)))
    with pytest.raises(ValueError, match=message):
        left.loss(x, left.draw_noise(KEY, 3))
    with pytest.raises(ValueError, match=message):
        right.loss(torch.from_numpy(x), right.draw_noise(KEY, 3))
    for model in (left, right):
        with pytest.raises(ValueError, match="noise: got None"):
            model(images(config, 3) if model is left else torch.from_numpy(images(config, 3)))
