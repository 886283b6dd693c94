"""Pixel decoders of colour: causality over pixels and channels, grey context, parity."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.pixel_dependence import dependence, expected_dependence
from helpers.run_layers import tensors
from helpers.small_pixel_decoders import (
    DECODERS,
    GATED,
    OUTPUTS,
    decoder_config,
    decoder_inputs,
    make_decoders,
    params_of,
)
from torch import nn

from diptych import parity
from model_specs.autoregressive.gated_layers import gated_reaches, gated_receptive_field
from model_specs.autoregressive.pixel_layers import LUMA
from model_specs.autoregressive.receptive_field import (
    minkowski_sum,
    receptive_field,
    stacked_receptive_field,
)
from model_specs.autoregressive.windows import Window
from numpy_ref.autoregressive import pixel_cnn as left_side
from torch_impl.autoregressive import pixel_cnn as right_side

PANELS = ("numpy", "torch")
MASKED = [name for name in DECODERS if name not in GATED]
READERS = [name for name in DECODERS if name != "none"]
each_decoder = pytest.mark.parametrize("name", DECODERS)
each_reader = pytest.mark.parametrize("name", READERS)
each_panel = pytest.mark.parametrize("panel", PANELS)


def field(config):
    """Offsets of the pixels that a pixel's parameters see, by the definition of the context."""
    if config.context == "none":
        return frozenset()
    if config.context in ("local", "gated") and config.window_width:
        return Window.local(config.window_width, config.window_rows).offsets
    if config.context == "gated":
        return gated_receptive_field(gated_reaches(0, 1, config.decoder_blocks)).offsets
    types = ["A"] + ["B"] * (config.masked_layers - 1)
    if config.context == "stacks":
        return stacked_receptive_field([(3, mask_type) for mask_type in types]).offsets
    return receptive_field([(Window.raster(3), mask_type) for mask_type in types]).offsets


class Params(nn.Module):
    """The parameters of a decoder of the right panel as a function of the images."""

    def __init__(self, decoder, maps):
        super().__init__()
        self.decoder, self.maps = decoder, maps

    def forward(self, x):
        return torch.from_numpy(params_of(self.decoder, x.numpy(), self.maps))


def params_function(decoder, maps):
    """x -> params at one set of maps, on the panel of the decoder."""
    if isinstance(decoder, nn.Module):
        return Params(decoder, maps)
    return lambda x: (params_of(decoder, x, maps), None)


# Parity


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("choice", ["all", "grey"])
@pytest.mark.parametrize("name", MASKED)
def test_parity_of_the_masked_decoders(name, choice, dtype, rng):
    config = decoder_config(name, context_channels=choice)
    decoders = make_decoders(config, rng, dtype)
    x, maps = decoder_inputs(config, rng, 3, dtype)
    report = parity.assert_parity(*decoders.values(), (x, maps), allow_unused=name == "none")
    assert params_of(decoders["numpy"], x, maps).shape == (3, OUTPUTS, 5, 7)
    assert {"last.0", "last.1"} <= {row.name for row in report.rows}


@pytest.mark.parametrize("choice", ["all", "grey"])
@pytest.mark.parametrize("name", ["local 4 x 2", "raster", "stacks"])
def test_finite_differences_of_the_masked_decoders(name, choice, rng):
    """A small step, as the curvature of an ELU jumps where its argument changes its sign."""
    config = decoder_config(name, context_channels=choice)
    decoder = make_decoders(config, rng)["numpy"]
    inputs = decoder_inputs(config, rng, 2)
    result = derivative_errors(decoder, inputs, decoder.named_parameters(), rng, step=3e-6)
    assert {"[0]", "[1]"} < result.keys()
    assert max(result.values()) < 1e-7, result


# Causality


@each_panel
@each_decoder
def test_each_channel_of_the_window_changes_the_parameters_and_no_other_pixel(name, panel, rng):
    """One channel of one pixel is changed at a time, for every pixel of the output."""
    H, W = 6, 9
    config = decoder_config(name, height=H, width=W)
    decoder = make_decoders(config, rng)[panel]
    _, maps = decoder_inputs(config, rng, 1)
    expected = expected_dependence(field(config), H, W)
    assert not np.triu(expected).any()
    for channel in range(3):
        channels = slice(channel, channel + 1)
        function = params_function(decoder, maps)
        result = dependence(function, config.example_shape, channels, rng)
        np.testing.assert_array_equal(result, expected)


@each_panel
@pytest.mark.parametrize("name", GATED)
def test_the_jacobian_of_a_larger_image_is_as_sparse(name, panel, rng):
    """The batch is one copy of an image per pixel; copy n gives the gradient at pixel n."""
    H, W, M = 11, 13, 2
    config = decoder_config(name, height=H, width=W)
    decoder = make_decoders(config, rng)[panel]
    x, maps = (np.repeat(a, H * W, 0) for a in decoder_inputs(config, rng, 1))
    dparams = np.eye(H * W).reshape(-1, 1, H, W) * rng.normal(size=(1, OUTPUTS, 1, 1))
    if panel == "numpy":
        dx, dmaps = decoder(x, maps)[1](dparams)
    else:
        read = [a.requires_grad_() for a in tensors(x, maps)]
        gradients = torch.autograd.grad(decoder(*read), read, *tensors(dparams))
        dx, dmaps = (a.numpy() for a in gradients)
    expected = expected_dependence(field(config), H, W)
    for channel in range(3):
        np.testing.assert_array_equal(dx[:, channel].reshape(H * W, -1) != 0, expected)
    for channel in range(M):
        result = dmaps[:, channel].reshape(H * W, -1) != 0
        around = expected_dependence(maps_field(config), H, W)
        np.testing.assert_array_equal(result, around)


def maps_field(config):
    """Offsets of the maps that the parameters see: a block reads them at the pixel itself, and
    later blocks read its features in their own reach."""
    _, _, *later = gated_reaches(config.window_width, config.window_rows, config.decoder_blocks)
    v = h = frozenset({(0, 0)})
    for up, left, right, before in later:
        columns = range(-left, right + 1)
        v = minkowski_sum(v, frozenset((-i, j) for i in range(up + 1) for j in columns))
        h = minkowski_sum(h, frozenset((0, -j) for j in range(before + 1))) | v
    return h


# Grey context


def same_luma(rng, count, shape):
    """`count` colours of equal luma, to the last bit, for each pixel of an image of `shape`."""
    colours = np.empty((count, 3, *shape))
    for i, j in np.ndindex(shape):
        y = rng.uniform(0.4, 0.6)
        pixels = []
        while len(pixels) < count:
            red, green = rng.random((2, 200))
            blue = (y - LUMA[0] * red - LUMA[1] * green) / LUMA[2]
            pixel = np.stack([red, green, blue], 1)
            grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
            inside = (grey == y) & (blue >= 0) & (blue <= 1)
            pixels += list(pixel[inside])
        colours[:, :, i, j] = pixels[:count]
    return colours


@each_panel
@each_reader
def test_a_grey_context_does_not_depend_on_the_chroma(name, panel, rng):
    """All pixels change their colour at constant luma: not one bit of the parameters changes."""
    x = same_luma(rng, 6, (5, 7))
    assert np.abs(x[0] - x[1]).max() > 0.3
    for choice in ("grey", "all"):
        config = decoder_config(name, context_channels=choice)
        decoder = make_decoders(config, rng)[panel]
        _, maps = decoder_inputs(config, rng, 1)
        first, *others = (params_of(decoder, image[None], maps) for image in x)
        for params in others:
            assert (params == first).all() == (choice == "grey")
        assert (params_of(decoder, 0.9 * x[:1], maps) != first).any()  # of another luma


@each_panel
@each_reader
def test_the_gradient_of_a_grey_context_is_along_the_luma(name, panel, rng):
    config = decoder_config(name, context_channels="grey")
    decoder = make_decoders(config, rng)[panel]
    x, maps = decoder_inputs(config, rng)
    dparams = rng.normal(size=(3, OUTPUTS, 5, 7))
    if panel == "numpy":
        dx, _ = decoder(x, maps)[1](dparams)
    else:
        read = torch.from_numpy(x).requires_grad_()
        decoder(read, torch.from_numpy(maps)).backward(torch.from_numpy(dparams))
        dx = read.grad.numpy()
    grey = dx[:, :1] / LUMA[0]
    assert (grey != 0).any()
    expected = grey * np.reshape(LUMA, (1, 3, 1, 1))
    np.testing.assert_allclose(dx, expected, rtol=1e-14, atol=1e-15 * np.abs(grey).max())


def test_the_luma_is_that_of_the_paper_on_both_panels(rng):
    assert LUMA == (0.299, 0.587, 0.114) and sum(LUMA) == pytest.approx(1, abs=1e-15)
    x = rng.random((4, 3, 5, 7))
    ours, theirs = left_side.luma(x)[0], right_side.luma(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(ours, theirs)
    expected = np.einsum("c,nchw->nhw", np.array(LUMA), x)
    np.testing.assert_allclose(ours[:, 0], expected, rtol=1e-14)
