"""The random numbers of a loss: which elements of which stream they are, and that each is used."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import plain_random
from helpers.call_either_panel import call
from helpers.random_vae_batches import KEY, batch, odd_config
from helpers.small_conv_vaes import images, small_conv_config
from helpers.small_conv_vaes import make as make_conv
from helpers.small_recurrent_networks import CELLS, WIDTH, H, T, V, make_config, make_window
from helpers.small_vlaes import binary_images, make_models
from helpers.small_vlaes import make_config as make_vlae_config

from diptych import pairs
from diptych.arrays import leaves, to_numpy
from diptych.parity.measures.rows import normwise

N, L = 4, 3
ATOL = 4 * np.finfo(float).eps


def vaes(make_pair):
    """Yield (model, images) of each VAE, on either panel, in evaluation mode."""
    for model in make_pair(odd_config(samples=L)):
        yield model.eval(), batch(N, 13)
    for model in make_conv(small_conv_config(recon_type="bce")):
        yield model.eval(), images(model.config, N)
    for latent in ("gaussian", "af_prior", "iaf_posterior"):
        for model in make_models(make_vlae_config(latent, free_bits_of="none")):
            yield model.eval(), binary_images(model.config, N)


def test_eps_is_the_stream_eps_in_the_order_of_images_then_samples(make_pair):
    """No number is drawn twice, neither for two samples of an image nor for two images."""
    for model, _ in vaes(make_pair):
        Z = model.config.latent_dim
        (eps,) = call(model, "draw_noise", KEY, N, samples=L)
        expected = plain_random.normal(KEY.fold_in("eps"), (N, L, Z))
        np.testing.assert_allclose(eps, expected, rtol=0, atol=ATOL)
        assert len(np.unique(eps)) == N * L * Z
        (other,) = call(model, "draw_noise", KEY.fold_in(1), N, samples=L)
        assert not np.isin(other, eps).any()
        (default,) = call(model, "draw_noise", KEY, N)
        shape = (N, L, Z) if default.ndim == 3 else (N, Z)
        expected = plain_random.normal(KEY.fold_in("eps"), shape)
        np.testing.assert_allclose(default, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("estimator", ["analytic", "sampled"])
@pytest.mark.parametrize("posterior", ["logvar", "sigma"])
def test_each_of_the_l_samples_has_its_own_part_in_the_loss(make_pair, estimator, posterior):
    """A loss of L samples is the mean of the losses of each sample alone, which all differ."""
    options = {"estimator": estimator, "posterior": posterior, "samples": L}
    for model in make_pair(odd_config(**options)):
        x, noise = batch(N, 13), call(model, "draw_noise", KEY, N)
        assert noise.eps.shape == (N, L, 3)
        whole = call(model, "loss", x, noise)
        alone = [
            call(model, "loss", x, type(noise)(noise.eps[:, k : k + 1].copy())) for k in range(L)
        ]
        for i in range(3):
            values = [float(loss[i]) for loss in alone]
            assert float(whole[i]) == pytest.approx(np.mean(values), rel=1e-13)
        for name in ("recon", "kl") if estimator == "sampled" else ("recon",):
            values = [float(getattr(loss, name)) for loss in alone]
            assert np.abs(np.diff(values)).min() > 1e-4


def test_each_number_of_the_noise_changes_the_loss(make_pair):
    """Each image, sample and dimension by itself."""
    for model, x in vaes(make_pair):
        noise = call(model, "draw_noise", KEY, N)
        total = float(call(model, "loss", x, noise).total)
        for index in np.ndindex(noise.eps.shape):
            eps = noise.eps.copy()
            eps[index] += 0.5
            assert float(call(model, "loss", x, type(noise)(eps)).total) != total, index


def test_each_importance_sample_has_its_own_noise(make_pair):
    """Weight (n, k) depends on eps[n, k] and on no other sample."""
    for model, x in vaes(make_pair):
        noise = call(model, "draw_noise", KEY, N, samples=L)
        whole = call(model, "log_weight", x, noise)
        assert len(np.unique(whole)) == N * L
        for k in range(L):
            eps = noise.eps.copy()
            eps[1, k] += 0.5
            result = call(model, "log_weight", x, type(noise)(eps))
            others = np.ones((N, L), bool)
            others[1, k] = False
            assert result[1, k] != whole[1, k]
            assert normwise(result[others], whole[others]) <= 1e-13


# Dropout masks


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "scheme", ["per_step", "variational", "variational_recurrent", "recurrent"]
)
def test_masks_are_streams_by_name_and_layer(cell, scheme):
    """Element (n, t, unit) of a batch of B examples, and of one that starts at example 5.

    The rate of the inputs differs from that of the state, and both from 1/2.
    """
    rates = {"rate": 0.3, "recurrent_rate": 0.2} | ({"word_rate": 0.4} if cell == "lstm" else {})
    config = make_config(cell, scheme=scheme, num_layers=2, **rates)
    steps = 1 if scheme.startswith("variational") else T
    for side in ("left", "right"):
        model = getattr(pairs.get(cell), side)(config)
        for first in (0, 5):
            masks = model.draw_noise(KEY, 2, first=first)
            fields = []
            if scheme != "recurrent":
                fields += [("inputs", i, w, 0.3) for i, w in enumerate((WIDTH, H, H))]
            if "recurrent" in scheme:
                fields += [("recurrent", i, H, 0.2) for i in range(2)]
            for name, i, width, rate in fields:
                key, start = KEY.fold_in(name).fold_in(i), first * steps * width
                expected = plain_random.mask(key, (2, steps, width), rate, start)
                result = to_numpy(getattr(masks, name)[i])
                np.testing.assert_array_equal(result, expected.swapaxes(0, 1))
            if cell == "lstm":
                expected = plain_random.mask(KEY.fold_in("words"), (2, V), 0.4, first * V)
                np.testing.assert_array_equal(to_numpy(masks.words), expected)
            assert len(list(leaves(masks))) == len(fields) + (cell == "lstm")


@pytest.mark.parametrize("cell", CELLS)
def test_each_mask_is_used(cell):
    """Turning one whole mask around changes the loss; every word that occurs has a mask."""
    rates = {"rate": 0.3, "recurrent_rate": 0.2} | ({"word_rate": 0.4} if cell == "lstm" else {})
    config = make_config(cell, scheme="variational_recurrent", num_layers=2, **rates)
    for side in ("left", "right"):
        model = getattr(pairs.get(cell), side)(config)
        window = make_window(cell, config, 3)
        masks = call(model, "draw_noise", KEY, 3)
        total = float(call(model, "loss", window, masks).total)
        for name in ("inputs", "recurrent"):
            for i, mask in enumerate(getattr(masks, name)):
                parts = list(getattr(masks, name))
                parts[i] = ~mask
                other = masks._replace(**{name: tuple(parts)})
                assert float(call(model, "loss", window, other).total) != total, (name, i)
        if cell == "lstm":
            other = masks._replace(words=~masks.words)
            assert float(call(model, "loss", window, other).total) != total
