"""The black margin around small images has no part in the likelihood of the convolutional VAE."""

import math

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors, total_loss
from helpers.small_conv_vaes import KEY, images, make, small_conv_config
from torch import distributions as td
from torch.nn import functional as F

import numpy_ref.conv_vae
from diptych import data, pairs, parity
from diptych.parity.measures.rows import normwise
from model_specs.conv_vae import ConvVAENoise

H, W = 9, 12
ROWS, COLUMNS = slice(3, 12), slice(2, 14)
MARGIN = {"in_channels": 2, "height": H, "width": W}
LOSSES = [
    {"recon_type": recon, "reduction": reduction}
    for recon in ("mse", "bce", "gaussian")
    for reduction in ("mean", "sum")
]


def cropped(x):
    """The pixels within the margin, as a torch tensor."""
    return torch.from_numpy(np.ascontiguousarray(x[:, :, ROWS, COLUMNS]))


@pytest.mark.parametrize("options", LOSSES, ids=lambda o: "-".join(o.values()))
def test_the_loss_is_that_of_the_cropped_images(options, device):
    """On both panels, by torch's own losses and densities."""
    config = small_conv_config(**MARGIN | options)
    left, right = (model.eval() for model in make(config))
    x, noise = images(config, 3), left.draw_noise(KEY, 3)
    report = parity.assert_parity(left, right.to(device), x, noise)
    assert all(row.error <= 1e-13 for row in report.rows)
    recon, target = cropped(left(x, noise)[0].recon), cropped(x)
    reduction = options["reduction"]
    if config.recon_type == "gaussian":
        error = -td.Normal(recon, config.gaussian_std).log_prob(target).sum()
        expected = error / 3 if reduction == "mean" else error
    else:
        torch_loss = {"mse": F.mse_loss, "bce": F.binary_cross_entropy}[config.recon_type]
        expected = torch_loss(recon, target, reduction=reduction)
    assert left.loss(x, noise)[0].recon == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("options", LOSSES, ids=lambda o: "-".join(o.values()))
def test_gradients_with_a_margin_by_finite_difference(options, rng):
    left, _ = make(small_conv_config(**MARGIN | options))
    x, noise = images(left.config, 3), left.draw_noise(KEY, 3)
    errors = derivative_errors(total_loss(left), (x, noise), left.named_parameters(), rng, 1e-6)
    assert max(errors.values()) < 1e-6, errors


@pytest.mark.parametrize("recon_type", ["gaussian", "bce"])
def test_the_importance_weights_are_those_of_the_cropped_images(recon_type):
    config = small_conv_config(**MARGIN, recon_type=recon_type)
    left, right = (model.eval() for model in make(config))
    x, noise = np.round(images(config, 3)), left.draw_noise(KEY, 3, samples=4)
    ours = left.log_weight(x, noise)
    theirs = right.log_weight(torch.from_numpy(x), right.draw_noise(KEY, 3, samples=4))
    assert normwise(ours, theirs.numpy()) <= 1e-13
    for k in range(4):
        out, _ = left(x, ConvVAENoise(noise.eps[:, k]))
        mu, logvar, z = (torch.from_numpy(part) for part in (out.mu, out.logvar, out.z))
        recon = cropped(out.recon)
        p = td.Bernoulli(recon) if recon_type == "bce" else td.Normal(recon, config.gaussian_std)
        q, prior = td.Normal(mu, (0.5 * logvar).exp()), td.Normal(0.0, 1.0)
        log_w = p.log_prob(cropped(x)).sum((1, 2, 3)) + (prior.log_prob(z) - q.log_prob(z)).sum(1)
        assert normwise(ours[:, k], log_w.numpy()) <= 1e-12


def test_outputs_in_the_margin_have_no_gradient(rng):
    x = rng.normal(size=(2, 3, 16, 16))
    y, vjp = numpy_ref.conv_vae.inside(x, (ROWS, COLUMNS))
    assert y.shape == (2, 3, H, W)
    dx = vjp(np.ones_like(y))
    assert dx.sum() == y.size and (dx[:, :, ROWS, COLUMNS] == 1).all()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("digits", {"image_size": 16, "height": 8, "width": 8}), ("digits16", {"image_size": 16})],
)
def test_the_config_for_a_data_set_knows_its_margin(name, sizes):
    """And the pixels inside are the image that `to_batch` put there."""
    digits, pair = data.load(name), pairs.get("conv_vae")
    config = pair.for_data(digits, {"base_channels": 2})
    own = {n: getattr(config, n) for n in ("image_size", "height", "width")}
    assert own == {"height": None, "width": None} | sizes
    rows = digits.test.x[:5]
    batch = pair.to_batch(config, rows, digits.image_shape)
    inner, _ = numpy_ref.conv_vae.inside(batch, config.window)
    np.testing.assert_array_equal(inner.reshape(rows.shape), rows)
    assert batch.sum() == rows.sum()
    share = 1 - rows[0].size / batch[0].size
    assert pair.traits(config).margin == share and pair.traits(config).values == rows[0].size


@pytest.mark.parametrize(
    ("recon_type", "activation", "nats"),
    [
        ("gaussian", "sigmoid", 0),
        ("gaussian", "tanh", math.log(2)),
        ("bce", "sigmoid", math.log(2)),
    ],
)
def test_the_uniform_distribution_is_over_the_values_inside(recon_type, activation, nats):
    config = small_conv_config(**MARGIN, recon_type=recon_type, out_activation=activation)
    traits = pairs.get("conv_vae").traits(config)
    assert traits.uniform == pytest.approx(2 * H * W * nats, rel=1e-15)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 17}, "height: got 17, takes less than image_size 16 or None"),
        ({"width": 16}, "width: got 16, takes less than image_size 16 or None"),
        ({"width": 0}, "width: got 0"),
        ({"width": 2.5}, "width: got 2.5"),
    ],
)
def test_an_image_larger_than_its_canvas_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        small_conv_config(**fields)
