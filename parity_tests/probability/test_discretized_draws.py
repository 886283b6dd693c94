"""Draws from the discretised mixture of logistics, and its mean, against exact probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from helpers import plain_mixtures
from helpers.logistic_mixtures import LEVELS, PANELS, mixture, nll, uniforms
from scipy import stats

from diptych.parity.measures.errors import normwise
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.probability import discretized_logistics as left
from torch_impl.probability import discretized_logistics as right

N = 200_000


def draws(panel, params, u):
    """discretized_logistic_mixture_sample of one panel, as an array."""
    if panel == "left":
        return left.discretized_logistic_mixture_sample(params, u)
    tensors = torch.from_numpy(params), torch.from_numpy(u)
    return right.discretized_logistic_mixture_sample(*tensors).numpy()


def mean(panel, params, channels):
    """discretized_logistic_mixture_mean of one panel, as an array."""
    if panel == "left":
        return left.discretized_logistic_mixture_mean(params, channels)
    return right.discretized_logistic_mixture_mean(torch.from_numpy(params), channels).numpy()


def chi_square(counts, probabilities):
    """The p-value of the counts, with the cells of fewer than five expected draws as one."""
    expected = counts.sum() * probabilities
    rare = expected < 5
    cells = np.append(expected[~rare], expected[rare].sum())
    got = np.append(counts[~rare], counts[rare].sum())
    if cells[-1] < 5:
        cells, got = cells[:-1] + cells[-1] / (len(cells) - 1), got[:-1]
    return stats.chisquare(got, cells * got.sum() / cells.sum()).pvalue


# Draws


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize(("centre", "scale"), [(0.0, 1.0), (0.9, 0.3), (-3.0, 2.0)])
def test_draws_of_a_grey_pixel_have_the_probabilities_of_the_256_levels(rng, panel, centre, scale):
    """With much, some and nearly all of the mass in the open intervals."""
    params, _ = mixture(rng, 1, 4, 1)
    params[:, 4:8] = centre + scale * params[:, 4:8]
    params[:, 8:] -= 2
    x = draws(panel, np.repeat(params, N, 0), uniforms(rng, N, 2))
    counts = np.bincount(np.rint(255 * x[:, 0]).astype(int), minlength=256)
    p = np.exp(-nll(panel, np.repeat(params, 256, 0), LEVELS[:, None] / 255))
    assert chi_square(counts, p) > 1e-3
    assert chi_square(np.roll(counts, 1), p) < 1e-6  # one level off


@pytest.mark.parametrize("panel", PANELS)
def test_draws_of_a_colour_pixel_have_the_joint_probabilities_of_its_channels(rng, panel):
    """Two narrow components, of which each has a few dozen colours."""
    M = 2
    params = np.zeros((1, 20))
    params[0, :M] = 0.4, -0.4
    parts = params[0, M:].reshape(3, 3, M)
    parts[:, 0] = [[-0.30, -0.2], [0.10, 0.3], [0.25, 0.0]]
    parts[:, 1] = [[-5.8, -6.3], [-6.1, -6.0], [-6.0, -7.5]]
    parts[:, 2] = [[0.8, -1.2], [0.4, 0.9], [-0.7, 0.6]]
    x = draws(panel, np.repeat(params, N, 0), uniforms(rng, N, 4))
    colours, counts = np.unique(np.rint(255 * x), axis=0, return_counts=True)
    ranges = [np.arange(c.min() - 1, c.max() + 2) for c in colours.T]
    grid = np.array(list(itertools.product(*ranges)))
    p = np.exp(-nll(panel, np.repeat(params, len(grid), 0), grid / 255))
    assert p.sum() == pytest.approx(1, abs=1e-4)
    observed = dict(zip(map(tuple, colours), counts, strict=True))
    table = np.array([observed.get(tuple(colour), 0) for colour in grid])
    assert table.sum() == N
    assert chi_square(table, p) > 1e-3
    params[0, 2:].reshape(3, 3, M)[:, 2] *= 0.9  # other coefficients
    assert (
        chi_square(table, np.exp(-nll(panel, np.repeat(params, len(grid), 0), grid / 255))) < 1e-6
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(6, 5, 3), (7,), (1, 1, 1)])
def test_the_same_uniforms_give_the_same_image_on_both_panels(rng, channels, shape):
    params, _ = mixture(rng, channels, 5, *shape)
    u = uniforms(rng, shape[0], 1 + channels, *shape[1:])
    x = draws("left", params, u)
    np.testing.assert_array_equal(x, draws("right", params, u))
    np.testing.assert_allclose(x, plain_mixtures.draw(params, u), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(np.rint(255 * x) / 255, x)
    part = slice(shape[0] // 3, shape[0] // 3 + 2)  # of a batch
    np.testing.assert_array_equal(draws("left", params[part], u[part]), x[part])


def test_a_pixel_is_drawn_alone_as_within_its_image(rng):
    params, _ = mixture(rng, 3, 5, 6, 4, 3)
    u = uniforms(rng, 6, 4, 4, 3)
    for panel in PANELS:
        x = draws(panel, params, u)
        for i, j in np.ndindex(4, 3):
            pixel = draws(panel, *(np.ascontiguousarray(a[..., i, j]) for a in (params, u)))
            np.testing.assert_array_equal(pixel, x[..., i, j])


@pytest.mark.parametrize("panel", PANELS)
def test_draws_of_float32_are_those_of_float64_rounded(rng, panel):
    params, _ = mixture(rng, 3, 4, 5, 3, 7)
    u, params = uniforms(rng, 5, 4, 3, 7), params.astype(np.float32)
    x = draws(panel, params, u.astype(np.float32))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, draws(panel, params.astype(np.float64), u).astype(np.float32))


@pytest.mark.parametrize("panel", PANELS)
def test_extreme_outputs_and_uniforms_give_pixels(panel):
    """Also u = 0 and the largest u, an infinite scale, and a component whose weight is 0."""
    ends = np.array([0.0, 1 - 2.0**-24])
    u = np.array(list(itertools.product(ends, repeat=4)))
    for outputs in (-1e30, -800.0, 800.0, 1e30):
        params = np.full((len(u), 20), outputs)
        params[:, :2] = 0, -1e30
        x = draws(panel, params, u)
        assert np.isin(x, LEVELS / 255).all()
    params = np.tile([-1e30, 0.0, -1e30, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0], (2, 1))
    x = draws(panel, params, np.array([[0.0, 0.5], [1 - 2.0**-24, 0.5]]))
    assert (x == 0).all()  # the component in the middle: the other two have no weight


# Means


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("scale", [0.5, 3.0, 20.0])
def test_the_mean_of_a_grey_pixel_is_the_sum_over_its_levels(rng, panel, scale):
    params, _ = mixture(rng, 1, 4, 9, scale=scale)
    p = [np.exp(-nll(panel, params, np.full((9, 1), level / 255))) for level in LEVELS]
    expected = LEVELS @ np.array(p) / 255
    np.testing.assert_allclose(mean(panel, params, 1)[:, 0], expected, rtol=0, atol=1e-13)


def test_the_means_of_a_colour_pixel(rng):
    """Exact for R; for G and B of draws inside the range, to the error of an average."""
    params, _ = mixture(rng, 3, 3, 1)
    red = np.repeat(params[:, :9], 256, 0)
    exact = LEVELS @ np.exp(-nll("left", red, LEVELS[:, None] / 255)) / 255
    assert mean("left", params, 3)[0, 0] == pytest.approx(exact, abs=1e-13)
    parts = params[0, 3:].reshape(3, 3, 3)
    parts[:, 0] *= 0.1
    parts[:, 1] = -3.5 + 0.3 * parts[:, 1]
    x = draws("left", np.repeat(params, N, 0), random.uniform(Key(3), (N, 4)))
    errors = x.std(0) / N**0.5
    assert (np.abs(mean("left", params, 3)[0] - x.mean(0)) < 4 * errors).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_both_panels_compute_the_same_means_between_0_and_1(rng, channels, scale):
    params, _ = mixture(rng, channels, 4, 2, 3, 5, scale=scale)
    ours = mean("left", params, channels)
    assert ours.shape == (2, channels, 3, 5) and ours.min() >= 0 and ours.max() <= 1 + 1e-15
    assert normwise(ours, mean("right", params, channels)) <= 1e-13
    assert normwise(ours, plain_mixtures.mean(params, channels)) <= 1e-13
    single = params.astype(np.float32)
    for panel in PANELS:
        assert mean(panel, single, channels).dtype == np.float32
        np.testing.assert_allclose(mean(panel, single, channels), ours, atol=3e-5)
