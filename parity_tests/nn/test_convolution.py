"""Convolution and its transpose against torch.nn, loops, finite differences and each other."""

from itertools import product

import numpy as np
import pytest
from helpers.compare_image_layers import PAIRS, torch_errors
from helpers.finite_differences import derivative_errors
from helpers.random_weights import randomized
from torch import nn

from diptych import weights
from diptych.parity.measures.rows import normwise
from numpy_ref.nn import correlation
from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d

KERNELS = (1, 2, 3, (3, 2), 4)
STRIDES = (1, 2, 3, (2, 1))
PADDINGS = (0, 1, (2, 0), 3)
CHANNELS = ((3, 2), (1, 5), (7, 1))


def fits(kernel, padding, size):
    kernel, padding = np.broadcast_to(kernel, 2), np.broadcast_to(padding, 2)
    return (np.array(size) + 2 * padding >= kernel).all()


def leaves_images(kernel, stride, padding, extra, size):
    """True if the output of a transposed convolution has at least one pixel."""
    kernel, stride, padding, extra = (
        np.broadcast_to(n, 2) for n in (kernel, stride, padding, extra)
    )
    return ((np.array(size) - 1) * stride - 2 * padding + kernel + extra >= 1).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_conv2d_agrees_with_torch(kernel, stride, rng):
    worst, count = {}, 0
    for padding, channels, size, images in product(
        PADDINGS, CHANNELS, ((5, 7), (6, 4), (1, 3)), (1, 4)
    ):
        if not fits(kernel, padding, size):
            continue
        setting = (*channels, kernel, stride, padding)
        bias = count % 4 != 0
        count += 1
        layer = randomized(Conv2d(*setting, bias=bias), rng)
        theirs = nn.Conv2d(*setting, bias=bias).double()
        weights.transfer(layer, theirs)
        result = torch_errors(layer, theirs, rng.normal(size=(images, channels[0], *size)), rng)
        worst[(setting, size, images)] = max(result.values())
    assert count > 40
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_conv_transpose2d_agrees_with_torch(kernel, stride, rng):
    worst, count = {}, 0
    extras = [e for e in (0, 1, 2, (1, 0)) if (np.array(e) < np.array(stride)).all()]
    for padding, channels, size, images, extra in product(
        PADDINGS, CHANNELS, ((5, 7), (6, 4), (1, 3)), (1, 4), extras
    ):
        setting = (*channels, kernel, stride, padding, extra)
        if not leaves_images(kernel, stride, padding, extra, size):
            continue
        layer = randomized(ConvTranspose2d(*setting, bias=count % 4 != 0), rng)
        theirs = nn.ConvTranspose2d(*setting, bias=count % 4 != 0).double()
        weights.transfer(layer, theirs)
        count += 1
        result = torch_errors(layer, theirs, rng.normal(size=(images, channels[0], *size)), rng)
        worst[(setting, size, images)] = max(result.values())
    assert count > 40
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("block", [1, 30_000, 2**20])
def test_the_block_size_does_not_change_the_result(block, rng, monkeypatch):
    """Blocks of one image, of two or six of the seven, and of all."""
    monkeypatch.setattr(correlation, "BLOCK", block)
    for kind, theirs in PAIRS.items():
        for setting in ((3, 4, 3, 1, 1), (3, 4, 4, 2, 1), (8, 1, 3, 1, 1), (1, 8, 3, 1, 1)):
            layer = randomized(kind(*setting), rng)
            twin = theirs(*setting).double()
            weights.transfer(layer, twin)
            result = torch_errors(layer, twin, rng.normal(size=(7, setting[0], 8, 6)), rng)
            assert max(result.values()) <= 1e-13, (setting, result)


# Witnesses other than torch


def looped(x, w, b, stride, padding):
    """The sum in the docstring of conv2d, one product at a time."""
    (N, C, H, W), (out, _, kH, kW) = x.shape, w.shape
    (sH, sW), (pH, pW) = stride, padding
    OH, OW = (H + 2 * pH - kH) // sH + 1, (W + 2 * pW - kW) // sW + 1
    y = np.zeros((N, out, OH, OW)) + b[:, None, None]
    for n, o, h, v in np.ndindex(y.shape):
        for c, i, j in np.ndindex(C, kH, kW):
            row, column = sH * h + i - pH, sW * v + j - pW
            if 0 <= row < H and 0 <= column < W:
                y[n, o, h, v] += w[o, c, i, j] * x[n, c, row, column]
    return y


def looped_transpose(x, w, b, stride, padding, size):
    """The sum in the docstring of conv_transpose2d, one product at a time."""
    _, out, kH, kW = w.shape
    (sH, sW), (pH, pW) = stride, padding
    y = np.zeros((len(x), out, *size)) + b[:, None, None]
    for n, c, h, v in np.ndindex(x.shape):
        for o, i, j in np.ndindex(out, kH, kW):
            row, column = sH * h + i - pH, sW * v + j - pW
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[n, o, row, column] += w[c, o, i, j] * x[n, c, h, v]
    return y


@pytest.mark.parametrize(
    "setting",
    [((3, 2), (1, 1), (1, 0)), ((3, 3), (2, 3), (1, 2)), ((1, 4), (2, 1), (0, 3))],
    ids=str,
)
def test_loops_over_the_defining_sums_agree(setting, rng):
    conv = randomized(Conv2d(3, 2, *setting), rng)
    x = rng.normal(size=(2, 3, 5, 6))
    expected = looped(x, conv.weight.data, conv.bias.data, *setting[1:])
    assert normwise(conv(x)[0], expected) <= 1e-14
    transposed = randomized(ConvTranspose2d(3, 2, *setting), rng)
    y = transposed(x)[0]
    expected = looped_transpose(
        x, transposed.weight.data, transposed.bias.data, *setting[1:], y.shape[2:]
    )
    assert normwise(y, expected) <= 1e-14


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("kind", PAIRS)
def test_finite_differences(kind, stride, rng):
    """The layers are linear in x and in each parameter, so that the step may be large."""
    layer = randomized(kind(2, 3, (3, 2), stride, (1, 0)), rng)
    x = rng.normal(size=(2, 2, 6, 5))
    result = derivative_errors(layer, (x,), layer.named_parameters(), rng, step=0.5)
    assert result.keys() == {"[0]", "weight", "bias"}
    assert max(result.values()) < 1e-11, result


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_the_transpose_is_the_adjoint(kernel, stride, rng):
    """<Conv2d(x), y> = <x, ConvTranspose2d(y)> with one weight, and no biases."""
    conv = randomized(Conv2d(3, 4, kernel, stride, 1, bias=False), rng)
    x = rng.normal(size=(2, 3, 8, 7))
    out = conv(x)[0]
    sizes = zip(x.shape[2:], conv.kernel_size, conv.stride, strict=True)
    extra = tuple((n + 2 - k) % s for n, k, s in sizes)
    transposed = ConvTranspose2d(4, 3, kernel, stride, 1, extra, bias=False)
    transposed.load_state_dict(conv.state_dict())
    y = rng.normal(size=out.shape)
    back = transposed(y)[0]
    assert back.shape == x.shape
    assert (out * y).sum() == pytest.approx((x * back).sum(), rel=1e-12)
