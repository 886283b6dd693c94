"""The convolutional VAE with the mixture of logistics: margin, draws, training and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import plain_mixtures
from helpers.finite_differences import derivative_errors, total_loss
from helpers.small_conv_vaes import KEY, images, make, small_conv_config

from diptych import pairs, parity
from model_specs.conv_vae import MIXTURE
from numpy_ref.nn import optim

H, W = 9, 12
ROWS, COLUMNS = slice(3, 12), slice(2, 14)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_nats_are_those_of_the_pixels_inside_the_margin(channels, reduction, device, rng):
    """By scipy's logistic distributions, and the gradients by finite differences."""
    options = {"recon_type": MIXTURE, "components": 3, "reduction": reduction}
    config = small_conv_config(**options, in_channels=channels, height=H, width=W)
    left, right = make(config)
    x, noise = images(config, 3), left.draw_noise(KEY, 3)
    report = parity.assert_parity(left, right.to(device), x, noise)
    assert all(row.error <= 1e-13 for row in report.rows)
    parameters = left.named_parameters()
    errors = derivative_errors(total_loss(left), (x, noise), parameters, rng, 1e-6)
    assert max(errors.values()) < 1e-6, errors
    left.eval()
    outputs, _ = left.decode(left(x, noise)[0].z)
    inner = (np.ascontiguousarray(a[..., ROWS, COLUMNS]) for a in (outputs, x))
    nats = -np.log(plain_mixtures.probability(*inner)).sum((1, 2))
    assert left.loss(x, noise)[0].recon == pytest.approx(getattr(nats, reduction)(), rel=1e-10)
    traits = pairs.get("conv_vae").traits(config)
    assert traits.values == channels * H * W
    assert traits.uniform == pytest.approx(traits.values * math.log(256), rel=1e-15)


def test_draws_are_levels_and_the_same_on_both_panels():
    config = small_conv_config(recon_type=MIXTURE)
    left, right = (model.eval() for model in make(config))
    x = left.sample(KEY, 6, mean=False)
    np.testing.assert_array_equal(x, right.sample(KEY, 6, mean=False).numpy())
    np.testing.assert_array_equal(np.rint(255 * x) / 255, x)
    assert len(np.unique(x)) > 100
    errors = (x - left.sample(KEY, 6)).mean((0, 2, 3))  # of the means of each channel
    assert (np.abs(errors) < 0.1).all()


def test_a_hundred_steps_end_in_the_same_weights():
    config = small_conv_config(recon_type=MIXTURE, components=2)
    left, right = make(config)
    start, x = left.state_dict(), images(config, 6)
    ours = optim.Adam(left.named_parameters(), lr=1e-3)
    theirs = torch.optim.Adam(right.parameters(), lr=1e-3)
    totals = []
    for step in range(100):
        key = KEY.fold_in(step)
        left.zero_grad()
        loss, backward = left.loss(x, left.draw_noise(key, 6))
        backward()
        ours.step()
        theirs.zero_grad()
        right.loss(torch.from_numpy(x), right.draw_noise(key, 6)).total.backward()
        theirs.step()
        totals.append(loss.total)
    ends = right.state_dict()
    for name, array in left.state_dict().items():
        error = np.linalg.norm(array - ends[name].numpy())
        assert error <= 1e-10 * np.linalg.norm(array), name
        assert np.linalg.norm(array - start[name]) > 1e-3 * np.linalg.norm(array), name
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_values_between_the_levels_and_other_channels_are_one_line_on_both_panels(channels):
    """Values of float32 are taken: they are off by a rounding error alone."""
    config = small_conv_config(recon_type=MIXTURE, in_channels=channels)
    left, right = make(config)
    x, noise = images(config, 2), left.draw_noise(KEY, 2)
    rounded = x.astype(np.float32).astype(np.float64)
    assert left.loss(rounded, noise)[0].recon == pytest.approx(left.loss(x, noise)[0].recon)
    between, others = x.copy(), np.repeat(x, 3, 1)[:, : 4 - channels]
    between[0, 0, 3, 5:8] = 0.5, 0.1, 0.7
    cases = [
        (between, "x: got 3 values such as 0.1, takes the 256 levels 0, 1/255, ..., 1"),
        (others, rf"x: got shape .*, takes \(any, {channels}, 16, 16\)"),
        (2 * x, r"x: got values from .* to .*, takes \[0, 1\]"),
    ]
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            left.loss(bad, noise)
        with pytest.raises(ValueError, match=message):
            right.loss(torch.from_numpy(bad), right.draw_noise(KEY, 2))
