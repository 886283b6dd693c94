"""The VLAE in colour: probabilities over all images, or all values of some channels, sum up."""

import numpy as np
import pytest
from helpers import plain_mixtures
from helpers.small_vlaes import KEY, colour_config, make_models

from numpy_ref.nn import random


@pytest.mark.parametrize("context", ["local", "raster", "stacks", "gated", "gated raster"])
def test_the_probabilities_of_all_grey_images_of_two_pixels_sum_to_1(context):
    """65536 images of 1 x 2 pixels and 256 levels, without a latent."""
    window = {"window_rows": 1} if context in ("local", "gated") else {}
    config = colour_config("levels", context, "none", 0, height=1, width=2, **window)
    left, _ = make_models(config)
    x = np.array([*np.ndindex(256, 256)]).reshape(-1, 1, 1, 2) / 255
    params, _ = left.decode(np.zeros((len(x), 0)), x)
    nll, _ = left.likelihood.nll(params, x)
    assert np.exp(-nll).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("pixels", ["colour", "grey context"])
def test_the_probabilities_of_colour_images_sum_to_that_of_their_first_pixel_and_red(pixels, rng):
    """65536 images of 1 x 2 pixels, all values of green and blue in the second one.

    The sum is p(pixel 1) p(R of pixel 2 | pixel 1), and the latter is a mixture by SciPy.
    """
    window = {"window_rows": 1}
    left, _ = make_models(
        colour_config(pixels, "gated", "gaussian", 0, height=1, width=2, **window)
    )
    M = left.config.components
    first, red = rng.integers(0, 256, 3), int(rng.integers(0, 256))
    x = np.empty((256 * 256, 3, 1, 2))
    x[:, :, 0, 0], x[:, 0, 0, 1] = first / 255, red / 255
    x[:, 1:, 0, 1] = np.array([*np.ndindex(256, 256)]) / 255
    code = rng.normal(size=(1, left.code_dim)).repeat(len(x), 0)
    params, _ = left.decode(code, x)
    nll, _ = left.likelihood.nll(params, x)
    before, after = params[:1, :, 0, 0], params[:1, : 3 * M, 0, 1]  # M logits, means, log-scales
    expected = plain_mixtures.probability(before, x[:1, :, 0, 0])
    expected = expected * plain_mixtures.probability(after, x[:1, :1, 0, 1])
    assert np.exp(-nll).sum() == pytest.approx(float(expected[0]), rel=1e-9, abs=0)


@pytest.mark.parametrize("context", ["gated", "gated raster"])
@pytest.mark.parametrize("latent", ["none", "af_prior"])
def test_the_probabilities_of_all_binary_images_sum_to_1(context, latent):
    """512 images of 3 x 3 binary pixels given one code."""
    left, _ = make_models(colour_config("binary", context, latent, 0, height=3, width=3))
    x = np.array([*np.ndindex((2,) * 9)], float).reshape(-1, 1, 3, 3)
    code = random.normal(KEY, (1, left.code_dim)).repeat(len(x), 0)
    nll, _ = left.likelihood.nll(left.decode(code, x)[0], x)
    assert np.exp(-nll).sum() == pytest.approx(1, abs=1e-13)
