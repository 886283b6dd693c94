"""Ancestral sampling of colour: both panels draw the naive loop's images to the last bit."""

import numpy as np
import pytest
import torch
from helpers.run_layers import tensors
from helpers.small_pixel_decoders import (
    DECODERS,
    decoder_config,
    decoder_inputs,
    make_decoders,
    naive_images,
)

import numpy_ref.autoregressive.ancestral
import torch_impl.autoregressive.ancestral
from diptych.parity.measures.rows import normwise

each_decoder = pytest.mark.parametrize("name", DECODERS)
KINDS = [(n, z) for n in DECODERS for z in ("none", "gaussian") if n != z]
"""All pairs of a decoder and a latent, but for a model with neither."""
SAMPLERS = {
    "numpy": (numpy_ref.autoregressive.ancestral.sample_pixels, np),
    "torch": (torch_impl.autoregressive.ancestral.sample_pixels, torch),
}


def draw_with(library):
    """A likelihood of 3 channels by 7 parameters and 4 uniforms: logistic noise of a random scale,
    rounded to the 256 levels."""

    def draw(params, u):
        means = 1 / (1 + library.exp(-params[:, :3]))
        scales = 0.2 * u[:, :1] * library.tanh(params[:, 3:4] + params[:, 4:])
        noise = library.log(u[:, 1:]) - library.log(1 - u[:, 1:])
        x = library.clip(means + scales * noise, 0, 1)
        return library.round(255 * x) / 255, means

    return draw


def drawn_by(panel, decoder, maps, u, progress=None):
    """Images and means of the cached sampler of a panel."""
    sample_pixels, library = SAMPLERS[panel]
    draw = draw_with(library)
    if panel == "numpy":
        return sample_pixels(decoder, maps, u, progress, draw)
    with torch.no_grad():
        result = sample_pixels(decoder, *tensors(maps, u), progress, draw)
    return tuple(a.numpy() for a in result)


@pytest.mark.parametrize("choice", ["all", "grey"])
@pytest.mark.parametrize(("name", "latent"), KINDS)
def test_samples_are_those_of_the_naive_loop_on_both_panels(name, choice, latent, rng):
    config = decoder_config(name, latent=latent, context_channels=choice)
    decoders = make_decoders(config, rng)
    _, maps = decoder_inputs(config, rng, 4)
    u = rng.random((4, 4, 5, 7))
    x, means = naive_images(decoders["numpy"], maps, u, draw_with(np), config.channels)
    assert len(np.unique(x)) > 60 and (x[0] != x[1]).any()
    for panel, decoder in decoders.items():
        result, result_means = drawn_by(panel, decoder, maps, u)
        assert result.shape == (4, 3, 5, 7) and result.dtype == np.float64
        np.testing.assert_array_equal(result, x)
        assert normwise(result_means, means) <= 1e-13


@each_decoder
def test_an_image_does_not_depend_on_the_number_of_images(name, rng):
    config = decoder_config(name)
    _, maps = decoder_inputs(config, rng, 5)
    u = rng.random((5, 4, 5, 7))
    for panel, decoder in make_decoders(config, rng).items():
        five, _ = drawn_by(panel, decoder, maps, u)
        for count in (1, 2):
            few, _ = drawn_by(panel, decoder, maps[:count], u[:count])
            np.testing.assert_array_equal(few, five[:count])


@each_decoder
def test_float32_stays_and_progress_counts_the_pixels(name, rng):
    config = decoder_config(name)
    _, maps = decoder_inputs(config, rng, 2, "float32")
    u = rng.random((2, 4, 5, 7)).astype(np.float32)
    for panel, decoder in make_decoders(config, rng, "float32").items():
        counts = []
        x, means = drawn_by(panel, decoder, maps, u, counts.append)
        assert x.dtype == means.dtype == np.float32
        assert counts == ([35] if name == "none" else [7] * 5)


@pytest.mark.parametrize("panel", SAMPLERS)
def test_a_module_that_is_no_decoder_is_refused(panel, rng):
    decoder = make_decoders(decoder_config("raster"), rng)[panel].last
    with pytest.raises(TypeError, match="decoder: got Sequential, takes a decoder of pixels"):
        drawn_by(panel, decoder, *rng.random((2, 1, 4, 2, 2)))
