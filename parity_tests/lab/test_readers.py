"""The readers of colour, digit and texture: which images and which factors belong together."""

import numpy as np
import pytest
from helpers.quick_experiments import few_colour_digits

from diptych import data as data_sets
from diptych.data.colour_digits import load_factors
from diptych.lab.readers import THINNING, FactorReaders, explained, fit_regression, thinned
from diptych.lab.windows import subset


@pytest.mark.parametrize("size", [16, 32])
def test_thinned_images_keep_their_factors(size):
    """Each pixel that is left is the same, and so are its texture, the colour and the digit."""
    data = few_colour_digits(size=size)
    thin = thinned(data)
    assert thin.image_shape == (3, size // 2, size // 2)
    for name in ("train", "test"):
        x, y = (getattr(d, name).x.reshape(-1, *d.image_shape) for d in (data, thin))
        np.testing.assert_array_equal(x[:, :, ::2, ::2], y)
        factors = getattr(FactorReaders(thin, 50, THINNING), name)
        rows = subset(data, name)[: len(factors.digit)]
        luma = 0.299 * y[rows, 0] + 0.587 * y[rows, 1] + 0.114 * y[rows, 2]
        strokes = 255 * luma - 90 - factors.texture
        assert strokes.min() > -0.01 and strokes.max() < 72.01
        np.testing.assert_array_equal(factors.digit, getattr(data, name).y[rows])


@pytest.fixture(scope="module")
def whole():
    """Return readers of all images, and the factors of the images in the readers' order."""
    data = data_sets.load("colour_digits")
    factors = load_factors(16)
    rows = {name: subset(data, name) for name in ("train", "test")}
    ordered = {name: [values[rows[name]] for values in factors[name]] for name in ("train", "test")}
    return FactorReaders(data, 1297), ordered


def test_colour_and_digit_are_read_from_pixels(whole):
    readers, _ = whole
    scores = readers.read_pixels()
    assert scores["colour"] > 0.999 and scores["digit"] > 0.85 and scores["texture"] > 25


def test_a_code_reveals_the_factors_that_are_planted_in_it(whole, rng):
    """The texture of four pixels, the colour, the digit, or noise alone."""
    readers, ordered = whole

    def code(name, make):
        digit, hue, texture = ordered[name]
        noise = rng.normal(size=(len(digit), 16))
        return make(digit, hue, texture.reshape(len(digit), -1), noise)

    def scores(make):
        return readers.read(code("train", make), code("test", make))

    nothing = scores(lambda digit, hue, texture, noise: noise)
    assert abs(nothing["colour"]) < 0.05 and nothing["digit"] < 0.2
    assert abs(nothing["texture"]) < 0.5
    of_texture = scores(lambda digit, hue, texture, noise: texture[:, :4] + 0.01 * noise[:, :4])
    assert of_texture["texture"] == pytest.approx(4, abs=0.5) and of_texture["colour"] < 0.05
    of_colour = scores(lambda digit, hue, texture, noise: hue + noise[:, :2])
    assert of_colour["colour"] == pytest.approx(2 / 3, abs=0.05)  # the variance is 2, of noise 1
    assert abs(of_colour["texture"]) < 0.5
    of_digit = scores(lambda digit, hue, texture, noise: np.eye(10)[digit] + 0.1 * noise[:, :10])
    assert of_digit["digit"] > 0.99 and abs(of_digit["colour"]) < 0.05


def test_the_share_of_the_variance_is_that_of_held_out_targets(rng):
    x, noise = rng.normal(size=(400, 3)), rng.normal(size=(400, 2))
    targets = np.stack([x[:, 0], x[:, 1] + x[:, 2]], 1) + noise
    model = fit_regression(x[:200], targets[:200])
    mean = targets[:200].mean(0)
    shares = explained(model, x[200:], targets[200:], mean)
    assert shares == pytest.approx([1 / 2, 2 / 3], abs=0.1)
    constant = fit_regression(0 * x[:200], targets[:200])
    assert explained(constant, 0 * x[200:], targets[200:], mean) == pytest.approx([0, 0], abs=1e-12)
