"""Decoders with a learned variance: parity with and without a floor, densities, draws, commands."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from helpers.call_either_panel import call
from helpers.finite_differences import derivative_errors, total_loss
from helpers.floored_sigma import floored_sigma
from helpers.random_vae_batches import KEY, batch, odd_config
from helpers.small_conv_vaes import images, make, small_conv_config
from torch import distributions as td

from diptych import parity
from diptych.parity.measures.rows import normwise
from model_specs.conv_vae import LEARNED, ConvVAENoise
from numpy_ref.nn import random
from numpy_ref.nn.optim import Adam

FLOORS = (None, -9.0, -1.0)
MARGIN = {"in_channels": 2, "height": 9, "width": 12}


def mlp_config(floor, **changes):
    return odd_config(likelihood="gaussian_learned", min_logvar=floor, **changes)


def conv_config(floor, **changes):
    return small_conv_config(recon_type=LEARNED, min_logvar=floor, **changes)


def density(outputs, mean, floor, axis):
    """N(mean, sigma^2) with the log variances in the second half of the outputs."""
    std = floored_sigma(np.split(outputs, 2, axis)[1], floor)
    return td.Normal(torch.from_numpy(mean), torch.from_numpy(std))


@pytest.mark.parametrize("floor", FLOORS)
def test_parity_of_both_models(make_pair, floor, device):
    """In float64 to 1e-13 and in float32 to its bound; the odd sizes include a black margin."""
    for dtype in ("float64", "float32"):
        cases = [
            (make_pair(mlp_config(floor), dtype), batch(5, 13, dtype), 5),
            (make(conv_config(floor, **MARGIN), dtype), None, 3),
        ]
        for (left, right), x, size in cases:
            x = images(left.config, size, dtype) if x is None else x  # noqa: PLW2901
            report = parity.assert_parity(left, right.to(device), x, left.draw_noise(KEY, size))
            assert dtype == "float32" or all(row.error <= 1e-13 for row in report.rows)


def test_the_decoder_has_a_mean_and_a_log_variance_for_each_pixel(make_pair):
    """The rows of one weight: first those of the means, then those of the log variances."""
    for model in make_pair(mlp_config(-9.0)):
        assert dict(model.state_dict())["decoder_logits.weight"].shape == (26, 11)
    for model in make(conv_config(-9.0)):
        assert dict(model.state_dict())["decoder.9.weight"].shape == (2, 6, 4, 4)
    left, _ = make_pair(mlp_config(-1.0))
    z = np.linspace(-1, 1, 3)[None, None]
    before, _ = left.decode(z)
    left.decoder_logits.bias.data[13:] += 1
    after, _ = left.decode(z)
    np.testing.assert_array_equal(left.likelihood.mean(after), left.likelihood.mean(before))
    np.testing.assert_allclose(after[..., 13:], before[..., 13:] + 1, rtol=1e-14)


@pytest.mark.parametrize("floor", FLOORS)
def test_the_loss_and_the_importance_weights_of_the_mlp_vae_by_torch(make_pair, floor):
    left, right = make_pair(mlp_config(floor, beta=1.0, estimator="sampled", samples=3))
    x, noise = 3 * batch(5, 13) - 1, left.draw_noise(KEY, 5)  # outside [0, 1] too
    (mu, logvar), _ = left.encode(x)
    z = mu[:, None] + np.exp(logvar / 2)[:, None] * noise.eps
    outputs, _ = left.decode(z)
    p = density(outputs, outputs[..., :13], floor, -1)
    q = td.Normal(torch.from_numpy(mu)[:, None], torch.from_numpy(np.exp(logvar / 2))[:, None])
    prior, codes = td.Normal(0.0, 1.0), torch.from_numpy(z)
    log_px = p.log_prob(torch.from_numpy(x)[:, None]).sum(-1)
    log_w = log_px + (prior.log_prob(codes) - q.log_prob(codes)).sum(-1)
    for model in (left, right):
        loss = call(model, "loss", x, noise)
        assert float(loss.recon) == pytest.approx(-log_px.mean().item(), rel=1e-12)
        assert float(loss.total) == pytest.approx(-log_w.mean().item(), rel=1e-12)
        result = call(model, "log_weight", x, noise)
        np.testing.assert_allclose(result, log_w.numpy(), rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_the_loss_and_the_importance_weights_within_a_margin_by_torch(activation, reduction):
    floor = -1.0
    config = conv_config(floor, **MARGIN, out_activation=activation, reduction=reduction)
    left, right = (model.eval() for model in make(config))
    x, noise = images(config, 3), left.draw_noise(KEY, 3)
    out, _ = left(x, noise)
    p = density(left.decode(out.z)[0], out.recon, floor, 1)
    log_p = p.log_prob(torch.from_numpy(x))[..., *config.window].sum((1, 2, 3)).numpy()
    eps = noise.eps[:, None]
    log_prior = 0.5 * (noise.eps**2 - out.z**2 + out.logvar).sum(1)  # log p(z) - log q(z|x)
    for model in (left, right):
        loss = call(model, "loss", x, noise)
        assert float(loss.recon) == pytest.approx(getattr(np, reduction)(-log_p), rel=1e-12)
        result = call(model, "log_weight", x, ConvVAENoise(eps))
        np.testing.assert_allclose(result[:, 0], log_p + log_prior, rtol=1e-12)


def test_gradients_of_the_images_by_finite_difference(rng):
    """With a floor at which half of the log variances are, and a margin."""
    left, _ = make(conv_config(-1.0, **MARGIN))
    x, noise = images(left.config, 3), left.draw_noise(KEY, 3)
    errors = derivative_errors(total_loss(left), (x, noise), left.named_parameters(), rng, 1e-6)
    assert max(errors.values()) < 1e-6, errors


@pytest.mark.parametrize("floor", FLOORS)
def test_draws_have_the_learned_sigma_and_pictures_show_the_mean(make_pair, floor):
    """The same draws on both panels; of 2600 pixels and of 61440 values."""
    cases = [
        (make_pair(mlp_config(floor)), 200, -1),
        ([model.eval() for model in make(conv_config(floor, in_channels=3))], 80, 1),
    ]
    for (left, right), count, axis in cases:
        draws = left.sample(KEY, count, mean=False)
        assert normwise(draws, call(right, "sample", KEY, count, mean=False)) <= 1e-13
        means = left.sample(KEY, count, mean=True)
        assert normwise(means, call(right, "sample", KEY, count, mean=True)) <= 1e-13
        outputs = decoded(left, count)
        std = density(outputs, means, floor, axis).stddev.numpy()
        assert std.max() > 1.2 * std.min(), "sigma differs between pixels"
        scores = (draws - means) / std
        assert abs(scores.mean()) < 4 / scores.size**0.5
        assert scores.std() == pytest.approx(1, abs=4 / (2 * scores.size) ** 0.5)


def decoded(model, count):
    """The decoder's outputs at the codes of `sample`."""
    z = random.normal(KEY.fold_in("z"), (count, model.config.latent_dim))
    return model.decode(z)[0]


def test_a_reconstruction_is_the_mean_and_not_a_draw(make_pair):
    left, right = make_pair(mlp_config(-9.0))
    x = batch(4, 13)
    (mu, _), _ = left.encode(x)
    for model in (left, right):
        result = call(model, "reconstruct", x)
        np.testing.assert_allclose(result, left.decode(mu)[0][:, :13], rtol=1e-12)


def test_training_finds_the_noise_of_each_pixel(make_pair):
    """Pixels of constant mean and known noise; one has no noise, and its sigma meets the floor."""
    noise_std = np.array([0.05, 0.2, 1.0, 0.0])
    config = dataclasses.replace(mlp_config(-6.0), input_dim=4, hidden_dim=3, latent_dim=1, beta=1)
    left, _ = make_pair(config)
    x = 0.5 + noise_std * np.random.default_rng(3).normal(size=(500, 4))
    optimizer = Adam(left.named_parameters(), lr=0.02)
    for step in range(400):
        left.zero_grad()
        left.loss(x, left.draw_noise(KEY.fold_in(step), 500))[1]()
        optimizer.step()
    outputs, _ = left.decode(np.zeros((1, 1)))
    std = density(outputs, outputs[:, :4], -6.0, -1).stddev.numpy()[0]
    np.testing.assert_allclose(std[:3], noise_std[:3], rtol=0.2)
    assert math.exp(-3) < std[3] < 1.2 * math.exp(-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_no_number_is_one_clear_error(make_pair, value):
    for models in (make_pair(mlp_config(None)), make(conv_config(None, out_activation="none"))):
        for model in models:
            x = np.zeros((2, *model.config.example_shape))
            x.flat[3] = value
            noise = call(model, "draw_noise", KEY, 2)
            with pytest.raises(ValueError, match=r"^x: got NaN or inf") as error:
                call(model, "loss", x, noise)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("floor", ["None", "-7.5"])
@pytest.mark.parametrize(("name", "field"), [("mlp_vae", "likelihood"), ("conv_vae", "recon_type")])
def test_the_commands_take_a_floor_or_none(run, tmp_path, name, field, floor):
    """`--set min_logvar=None` is no floor; the run is evaluated and draws samples."""
    train = ["train", name, "--data", "digits", "--epochs", 1, "--batch-size", 256]
    train += ["--set", f"{field}=gaussian_learned", "--set", f"min_logvar={floor}"]
    train += ["--set", "base_channels=2"] if name == "conv_vae" else []
    assert run(*train, "--out", tmp_path / "run")[0] == 0
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["model_config"]
    assert config["min_logvar"] == (None if floor == "None" else -7.5)
    status, message, _ = run("evaluate", tmp_path / "run", "--samples", 4, "--examples", 20)
    assert status == 0 and "NLL" in message
    assert run("sample", tmp_path / "run", "--count", 2)[0] == 0
