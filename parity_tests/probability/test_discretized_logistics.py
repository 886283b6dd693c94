"""The discretised mixture of logistics: parity, sums of 1, and witnesses by SciPy and mpmath."""

from __future__ import annotations

import math
import re

import mpmath as mp
import numpy as np
import pytest
import torch
from helpers import plain_mixtures
from helpers.logistic_mixtures import LEVELS, PANELS, log_prob, mixture, nll
from scipy import stats

from diptych.parity.measures.errors import normwise
from model_specs.common.levels import (
    LOG_SCALE_MIN,
    bits_per_dim,
    mixture_components,
    mixture_outputs,
)
from numpy_ref.probability import discretized_logistics as left
from torch_impl.probability import discretized_logistics as right

MEANS = (-1e6, -30.0, -1.5, -1.0, -0.3, 0.0, 0.2, 1.0, 1.5, 30.0, 1e6)
LOG_SCALES = (-20.0, -7.0, -6.5, -5.0, -1.0, 0.0, 3.0, 7.0, 40.0, 800.0)
PIXELS = LEVELS / 255
SIZES = [(1, 1), (1, 5), (3, 1), (3, 4)]
SHAPES = [(3, 5, 7), (1, 1, 1), (2,), (5, 3)]


# Parity


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("channels", "components"), SIZES)
def test_both_panels_compute_the_same_nats_and_gradients(rng, channels, components, shape):
    params, x = mixture(rng, channels, components, *shape)
    dnll = rng.normal(size=shape[0])
    ours, vjp = left.discretized_logistic_mixture_nll(params, x)
    ours = ours, vjp(dnll)
    tensor = torch.tensor(params, requires_grad=True)
    value = right.discretized_logistic_mixture_nll(tensor, torch.from_numpy(x))
    value.backward(torch.from_numpy(dnll))
    for array, theirs in zip(ours, (value.detach(), tensor.grad), strict=True):
        assert array.shape == theirs.shape and normwise(array, theirs.numpy()) <= 1e-13
    # the arbiter of float32 is the left panel in float64
    params, x, dnll = (a.astype(np.float32) for a in (params, x, dnll))
    half, half_vjp = left.discretized_logistic_mixture_nll(params, x)
    tensor = torch.tensor(params, requires_grad=True)
    value = right.discretized_logistic_mixture_nll(tensor, torch.from_numpy(x))
    value.backward(torch.from_numpy(dnll))
    for array, exact in zip((half, half_vjp(dnll)), ours, strict=True):
        assert array.dtype == np.float32 and normwise(array, exact) <= 2e-6
    for theirs, exact in zip((value.detach(), tensor.grad), ours, strict=True):
        assert theirs.dtype == torch.float32 and normwise(theirs.numpy(), exact) <= 2e-6


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_computed_alone_and_a_pixel_as_one_of_an_image(rng, panel, channels):
    params, x = mixture(rng, channels, 4, 6, 3, 5)
    whole = nll(panel, params, x)
    np.testing.assert_array_equal(nll(panel, params[2:4], x[2:4]), whole[2:4])
    pixels = [
        nll(panel, *(np.ascontiguousarray(a[:, :, i, j]) for a in (params, x)))
        for i in range(3)
        for j in range(5)
    ]
    np.testing.assert_allclose(np.sum(pixels, 0), whole, rtol=1e-14)


@pytest.mark.parametrize("panel", PANELS)
def test_pixels_rounded_to_float32_are_the_same_levels(rng, panel):
    params, x = mixture(rng, 3, 2, 2, 3, 5)
    rounded = x.astype(np.float32).astype(np.float64)
    assert (rounded != x).any()
    np.testing.assert_array_equal(nll(panel, params, rounded), nll(panel, params, x))


# Sums of 1


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("log_scale", LOG_SCALES)
def test_the_probabilities_of_the_256_levels_have_the_sum_1(panel, mean, log_scale):
    p = np.exp(log_prob(panel, np.full(256, mean), np.full(256, log_scale), PIXELS))
    assert math.fsum(p) == pytest.approx(1, rel=0, abs=1e-12)


@pytest.mark.parametrize("panel", PANELS)
def test_the_probabilities_of_a_grey_mixture_have_the_sum_1(rng, panel):
    for scale in (1.0, 5.0, 40.0):
        params, _ = mixture(rng, 1, 7, 1, scale=scale)
        p = np.exp(-nll(panel, np.repeat(params, 256, 0), PIXELS[:, None]))
        assert math.fsum(p) == pytest.approx(1, rel=0, abs=1e-12)


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_channels_of_a_colour_pixel_have_the_sum_1_in_turn(rng, panel, scale):
    """Over G and B the sum is the probability of R alone, and over R it is then 1."""
    M = 2
    params, _ = mixture(rng, 3, M, 1, scale=scale)
    red_params = params[:, : 3 * M]  # logits, and the means and log-scales of R
    p_red = np.exp(-nll(panel, np.repeat(red_params, 256, 0), PIXELS[:, None]))
    assert math.fsum(p_red) == pytest.approx(1, rel=0, abs=1e-12)
    green, blue = (axis.ravel() for axis in np.meshgrid(PIXELS, PIXELS))
    many = np.repeat(params, 256 * 256, 0)
    for level in (0, int(p_red.argmax()), 201, 255):
        x = np.stack((np.full(256 * 256, PIXELS[level]), green, blue), 1)
        total = math.fsum(np.exp(-nll(panel, many, x)))
        assert total == pytest.approx(p_red[level], rel=1e-11, abs=1e-14)


# SciPy and mpmath


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mixture_is_the_one_of_scipys_logistic_distributions(rng, panel, channels):
    params, x = mixture(rng, channels, 3, 60)
    expected = plain_mixtures.probability(params, x)
    np.testing.assert_allclose(np.exp(-nll(panel, params, x)), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("panel", PANELS)
def test_the_open_ends_are_scipys_distribution_functions(panel):
    mean, log_scale = (a.ravel() for a in np.meshgrid(MEANS[1:-1], LOG_SCALES[1:-2]))
    logistic = stats.logistic(mean, np.exp(log_scale))
    for x, expected in ((0.0, logistic.logcdf(-254 / 255)), (1.0, logistic.logsf(254 / 255))):
        result = log_prob(panel, mean, log_scale, np.full(len(mean), x))
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-300)


def by_mpmath(mean, log_scale, level):
    """log P and its derivatives by mean and log-scale, from the difference of two sigmoids."""
    sign = 1 if 2 * level / 255 - 1 < mean else -1  # reflected, so that both are below 1/2

    def log_p(m, log_s):
        s, y, half = mp.exp(log_s), 2 * mp.mpf(level) / 255 - 1, mp.mpf(1) / 255
        edges = [-mp.inf if level == 0 else y - half, mp.inf if level == 255 else y + half]
        low, high = sorted(1 / (1 + mp.exp(-sign * (edge - m) / s)) for edge in edges)
        return mp.log(high - low)

    m, log_s = mp.mpf(mean), max(mp.mpf(log_scale), LOG_SCALE_MIN)
    return (
        log_p(m, log_s),
        mp.diff(log_p, (m, log_s), (1, 0)),
        mp.diff(log_p, (m, log_s), (0, 1)) if log_scale >= LOG_SCALE_MIN else mp.mpf(0),
    )


@pytest.mark.parametrize("level", [0, 1, 127, 200, 254, 255])
@pytest.mark.parametrize("log_scale", [-20.0, -6.9, -5.0, 0.0, 6.0, 30.0])
def test_probabilities_and_gradients_by_mpmath_at_the_edges_and_in_the_far_tails(level, log_scale):
    """Down to e^-33000, where both sigmoids round to 0 or to 1."""
    means = [-30.0, -1.01, -1.0, -0.2, 0.5, 0.995, 30.0]
    with mp.workdps(120):
        expected = [[float(v) for v in by_mpmath(mean, log_scale, level)] for mean in means]
    values, dmeans, dlog_scales = np.array(expected).T
    mean, scale, x = np.array(means), np.full(7, log_scale), np.full(7, level / 255)
    value, vjp = left.discretized_logistic(mean, scale, x)
    ours = value, *vjp(np.ones(7))
    tensors = [torch.tensor(a, requires_grad=True) for a in (mean, scale)]
    theirs = right.discretized_logistic(*tensors, torch.from_numpy(x))
    theirs.sum().backward()
    theirs = theirs.detach().numpy(), *(t.grad.numpy() for t in tensors)
    inverse = math.exp(-max(log_scale, LOG_SCALE_MIN))  # an edge has an error of eps / s
    for result in (ours, theirs):
        np.testing.assert_allclose(result[0], values, rtol=1e-13, atol=1e-15 * (1 + inverse))
        np.testing.assert_allclose(
            result[1], dmeans, rtol=1e-12, atol=1e-15 * inverse * (1 + inverse)
        )
        np.testing.assert_allclose(result[2], dlog_scales, rtol=1e-12, atol=3e-15 * (1 + inverse))


# The floor, extreme outputs, and bad input


@pytest.mark.parametrize("panel", PANELS)
def test_a_log_scale_below_the_floor_acts_as_the_floor_and_has_no_gradient(panel):
    mean, x = np.linspace(-1, 1, 9), np.full(9, 0.4)
    below, floor = (np.full(9, value) for value in (-9.0, LOG_SCALE_MIN))
    np.testing.assert_array_equal(log_prob(panel, mean, below, x), log_prob(panel, mean, floor, x))
    for log_scale, nonzero in ((below, 0), (floor, 9)):
        if panel == "left":
            _, gradient = left.discretized_logistic(mean, log_scale, x)[1](np.ones(9))
        else:
            tensor = torch.tensor(log_scale, requires_grad=True)
            right.discretized_logistic(torch.tensor(mean), tensor, torch.tensor(x)).sum().backward()
            gradient = tensor.grad.numpy()
        assert np.count_nonzero(gradient) == nonzero


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_of_a_diverging_decoder_have_finite_nats_and_gradients(dtype):
    """Up to 1e30 in the means; the layout of a colour pixel is that of the docstring, M = 1."""
    size = np.array([-1e30, -100.0, 0.0, 100.0, 1e30], dtype)
    mean, log_scale, x = (
        a.ravel() for a in np.meshgrid(size, size[1:4], np.array([0, 0.4, 1], dtype))
    )
    params = np.zeros((len(mean), 10), dtype)
    params[:, 0], params[:, 3], params[:, 6], params[:, 9] = mean, 50, -50, 1e30  # not used alike
    params[:, 1::3], params[:, 2::3] = mean[:, None], log_scale[:, None]
    pixels = np.repeat(x[:, None], 3, 1)
    value, vjp = left.discretized_logistic_mixture_nll(params, pixels)
    gradient = vjp(np.ones_like(value))
    tensor = torch.tensor(params, requires_grad=True)
    theirs = right.discretized_logistic_mixture_nll(tensor, torch.from_numpy(pixels))
    theirs.sum().backward()
    for array in (value, gradient, theirs.detach().numpy(), tensor.grad.numpy()):
        assert array.dtype == dtype and np.isfinite(array).all()
    np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_a_component_of_no_weight_and_a_level_of_no_probability_do_no_harm():
    """A logit of -1e4 in float32, whose component is the only one near the pixel."""
    params = np.array([[0.0, -1e4, 1.0, -1.0, -7.0, -7.0]], np.float32)
    value, vjp = left.discretized_logistic_mixture_nll(params, np.array([[0.0]], np.float32))
    assert value == pytest.approx(math.exp(7) * (2 - 1 / 255), rel=1e-5)
    assert np.isfinite(vjp(np.ones(1, np.float32))).all()


def test_sizes_and_bits():
    for channels, one in ((1, 3), (3, 10)):
        for M in (1, 7):
            assert mixture_outputs(channels, M) == M * one
            assert mixture_components(M * one, channels) == M
    assert bits_per_dim(256 * 3 * 8 * math.log(2), 256 * 3) == pytest.approx(8, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixture_outputs(2, 5), "channels: got 2, the mixture takes 1 or 3"),
        (lambda: mixture_outputs(3, 0), "components: got 0"),
        (lambda: mixture_components(31, 3), "params: got 31 a pixel, takes a multiple of 10"),
        (lambda: mixture_components(0, 1), "params: got 0 a pixel, takes a multiple of 3"),
    ],
)
def test_impossible_sizes_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("module", [left, right], ids=PANELS)
@pytest.mark.parametrize(
    ("function", "argument", "shape"),
    [("sample", "u", shape) for shape in ((2,), (2, 1), (2, 0, 3, 3), (2, 3), (2, 5))]
    + [("nll", "x", shape) for shape in ((2,), (2, 0), (2, 2, 3, 3), (2, 4))],
)
def test_other_channels_are_one_line_that_names_the_argument(module, function, argument, shape):
    """Of uniforms there is one more than of channels, for the component."""
    make = np.zeros if module is left else lambda s: torch.zeros(s, dtype=torch.float64)
    call = getattr(module, f"discretized_logistic_mixture_{function}")
    takes = "(N, 2, ...) or (N, 4, ...)" if argument == "u" else "(N, 1, ...) or (N, 3, ...)"
    message = re.escape(f"{argument}: got shape {shape}, takes {takes}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        call(make((2, 6, *shape[2:])), make(shape))


@pytest.mark.parametrize("panel", PANELS)
def test_grey_parameters_do_not_fit_a_colour_image(rng, panel):
    params, _ = mixture(rng, 1, 5, 2)
    with pytest.raises(ValueError, match="params: got 15 a pixel, takes a multiple of 10"):
        nll(panel, params, np.zeros((2, 3)))
