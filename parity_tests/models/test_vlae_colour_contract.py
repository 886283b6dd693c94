"""The VLAE in colour refuses impossible fields and images with one line."""

import numpy as np
import pytest
import torch
from helpers.small_vlaes import KEY, colour_config, images, make_models

import numpy_ref.vlae
from model_specs.vlae import MIXTURE, VLAEConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 2}, r"channels: got 2, takes 1 \(grey\) or 3 \(colour\)"),
        ({"channels": 3}, "likelihood: got 'bernoulli' with channels 3, takes 'discretized_logis"),
        ({"components": 3}, "components: got 3 with likelihood 'bernoulli', takes 10"),
        ({"likelihood": MIXTURE, "components": 0}, "components: got 0, takes an int >= 1"),
        ({"context_channels": "grey"}, "context_channels: got 'grey' with channels 1, takes 'all'"),
        (
            {"likelihood": MIXTURE, "channels": 3, "context": "none", "context_channels": "grey"},
            "context_channels: got 'grey' with context 'none', takes 'all'",
        ),
        ({"context_channels": "red"}, "context_channels: got 'red', takes one of 'all', 'grey'"),
        ({"context": "gated", "window_rows": 0}, "window_rows: got 0 for the gated context"),
        (
            {"context": "gated", "window_width": -1},
            "window_width: got -1 for the gated context, takes an int >= 1, or 0 for the raster",
        ),
        (
            {"context": "gated", "window_rows": -1},
            "window_rows: got -1 for the gated context, takes an int >= 1",
        ),
        ({"context": "local", "window_width": 0}, "window_width: got 0, takes an int >= 1"),
        ({"context": "gated", "window_width": 57}, "window_width: got 57 for images of 28 x 28"),
        (
            {"context": "gated", "window_width": 0, "height": 1, "width": 1},
            "context: got gated for images of 1 x 1, takes a window with at least one pixel",
        ),
        ({"context": "gated", "masked_layers": 3}, "masked_layers: got 3 with context 'gated'"),
        ({"decoder_blocks": 2}, "decoder_blocks: got 2 with context 'raster', takes 4"),
        ({"strides": 5}, "strides: got 5, takes an int from 1 to 4"),
        ({"latent_maps": 2, "latent_dim": 3}, "latent_dim: got 3 with latent_maps 2, takes 64"),
        (
            {"latent_maps": 2, "strides": 4, "height": 7, "width": 8},
            "strides: got 4 for latent maps of images of 7 x 8, takes 3 at most",
        ),
    ],
)
def test_impossible_fields_are_one_clear_line(fields, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        VLAEConfig(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pixels", ["levels", "colour"])
def test_images_of_other_values_or_channels_are_one_clear_line(pixels):
    config = colour_config(pixels, "gated", "gaussian", 0)
    C = config.channels
    for model in make_models(config):
        is_left = isinstance(model, numpy_ref.vlae.VLAE)
        x, noise = images(config, 2), model.draw_noise(KEY, 2)
        x[0, 0, 1, 2], x[1, 0, 0, 0] = 0.5001, 0.7
        grey = np.zeros((2, 4 - C, 5, 7))
        for bad, message in (
            (x, r"^x: got 2 values such as 0\.5001, takes the 256 levels 0, 1/255, \.\.\., 1$"),
            (grey, rf"^x: got shape \(2, {4 - C}, 5, 7\), takes \(any, {C}, 5, 7\)"),
            (x + 1, "^x: got values from "),
            (np.where(x > 0.5, np.nan, x), "^x: got NaN or inf"),
        ):
            with pytest.raises(ValueError, match=message):
                model.loss(bad if is_left else torch.tensor(bad), noise)


def test_float32_levels_are_levels():
    config = colour_config("colour", "gated", "gaussian", 0)
    x = (np.arange(256) / np.float32(255)).astype("float32")
    for model in make_models(config, "float32"):
        for shift in (0, 105, 151):
            part = x[shift : shift + 105].reshape(1, 3, 5, 7)
            noise = model.draw_noise(KEY, 1)
            is_left = isinstance(model, numpy_ref.vlae.VLAE)
            model.loss(part if is_left else torch.tensor(part), noise)
