"""Pixel decoders: the receptive field of each logit, and probabilities that add up to one."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers.pixel_dependence import dependence, expected_dependence
from helpers.run_layers import tensors
from helpers.small_vlaes import KEY, make_config, make_models
from scipy.special import logsumexp
from torch import nn

from model_specs.autoregressive.receptive_field import receptive_field, stacked_receptive_field
from model_specs.autoregressive.windows import Window
from numpy_ref.nn import random

DECODERS = {
    "none": {"context": "none"},
    "raster": {"context": "raster"},
    "raster, untied": {"context": "raster", "tied": False},
    "raster, 1 layer": {"context": "raster", "masked_layers": 1},
    "stacks": {"context": "stacks"},
    "stacks, untied, 5 layers": {"context": "stacks", "tied": False, "masked_layers": 5},
    "local 1 x 1": {"context": "local", "window_width": 1, "window_rows": 1},
    "local 2 x 0": {"context": "local", "window_width": 2, "window_rows": 0},
    "local 4 x 2": {"context": "local", "window_width": 4, "window_rows": 2},
    "local 5 x 3": {"context": "local", "window_width": 5, "window_rows": 3},
}
PANELS = ["numpy", "torch"]
each_decoder = pytest.mark.parametrize("name", DECODERS)
each_panel = pytest.mark.parametrize("panel", PANELS)


def field(config):
    """Offsets of the pixels that a logit sees, by the definition of the config's context."""
    if config.context == "none":
        return frozenset()
    if config.context == "local":
        return Window.local(config.window_width, config.window_rows).offsets
    types = ["A"] + ["B"] * (config.masked_layers - 1)
    if config.context == "stacks":
        return stacked_receptive_field([(3, mask_type) for mask_type in types]).offsets
    layers = [(Window.raster(3), mask_type) for mask_type in types]
    return receptive_field(layers).offsets


def around(config):
    """Matrix (pixels of y, pixels of maps): the whole kernel of the first layer, then one step of
    each later layer, inside the image."""
    H, W = config.height, config.width
    if config.context == "none":
        return expected_dependence({(0, 0)}, H, W)
    if config.context == "stacks":
        return around_stacks(config)
    up, side = (n // 2 for n in config.window.kernel_size)
    read_pixels = expected_dependence(
        set(product(range(-up, up + 1), range(-side, side + 1))), H, W
    )
    step = expected_dependence(
        Window.raster(3 if config.context == "raster" else 1).read_offsets("B"), H, W
    )
    for _ in range(config.masked_layers - 1):
        read_pixels = step @ read_pixels
    return read_pixels


def around_stacks(config):
    """`around` for two stacks: h sees the whole kernel of its row, v the rows above."""
    H, W = config.height, config.width
    columns = (-1, 0, 1)
    v = expected_dependence(set(product((-1,), columns)), H, W)
    h = expected_dependence(set(product((0,), columns)), H, W) | v
    for _ in range(config.masked_layers - 1):
        v = expected_dependence(set(product((-1, 0), columns)), H, W) @ v
        h = expected_dependence({(0, -1), (0, 0)}, H, W) @ h | v
    return h


class Logits(nn.Module):
    """The right panel's logits as a function of the images or the codes, for `dependence`."""

    def __init__(self, model, code):
        super().__init__()
        self.model, self.code = model, code

    def forward(self, x):
        return self.model.decode(torch.from_numpy(self.code).expand(len(x), -1), x).detach()


def logits_of(model, code):
    """The function x -> logits at one code, on the panel of the model."""
    if isinstance(model, nn.Module):
        return Logits(model, code)
    return lambda x: model.decode(np.repeat(code, len(x), 0), x)


@each_panel
@each_decoder
def test_each_logit_depends_on_its_field_and_on_nothing_else(name, panel, rng):
    """One input pixel is changed at a time, for every pixel of the output."""
    config = make_config("gaussian", **DECODERS[name] | {"height": 6, "width": 7})
    model = dict(zip(PANELS, make_models(config), strict=True))[panel]
    code = rng.normal(size=(1, config.latent_dim))
    result = dependence(logits_of(model, code), config.example_shape, slice(0, 1), rng)
    np.testing.assert_array_equal(result, expected_dependence(field(config), 6, 7))
    assert not np.triu(result).any()


@each_panel
@pytest.mark.parametrize("latent", ["none", "af_prior"])
def test_a_flipped_pixel_changes_no_logit_before_it(latent, panel):
    """Pixels flip between 0 and 1, as in an image, and change the logits of their field."""
    config = make_config(latent, height=4, width=5)
    model = dict(zip(PANELS, make_models(config), strict=True))[panel]
    x = np.repeat((random.uniform(KEY, (1, 1, 4, 5)) < 0.5).astype(float), 20, 0)
    flipped = x.copy()
    flipped.reshape(20, 20)[np.diag_indices(20)] = 1 - x.reshape(20, 20).diagonal()
    logits = logits_of(model, random.normal(KEY, (1, config.code_dim)))
    outputs = [logits(a) if panel == "numpy" else logits(*tensors(a)) for a in (x, flipped)]
    before, after = (np.asarray(y[0] if panel == "numpy" else y) for y in outputs)
    changed = (before != after).reshape(20, 20).T
    np.testing.assert_array_equal(changed, expected_dependence(field(config), 4, 5))


@each_panel
@each_decoder
def test_the_jacobian_of_a_larger_image_is_as_sparse(name, panel, rng):
    """The batch is one copy of an image per pixel; copy n gives the gradient of logit n."""
    size, M = 12, 2
    config = make_config("gaussian", **DECODERS[name] | {"height": size, "width": size})
    model = dict(zip(PANELS, make_models(config), strict=True))[panel].pixels
    pixels = size * size
    x, maps = (
        np.repeat(rng.normal(size=(1, channels, size, size)), pixels, 0) for channels in (1, M)
    )
    dlogits = np.eye(pixels).reshape(-1, 1, size, size)
    if panel == "numpy":
        dx, dmaps = model(x, maps)[1](dlogits)
    else:
        read = [a.requires_grad_() for a in tensors(x, maps)]
        model_inputs = model(*read), read, *tensors(dlogits)
        gradients = torch.autograd.grad(*model_inputs, allow_unused=True, materialize_grads=True)
        dx, dmaps = (a.numpy() for a in gradients)
    result = dx.reshape(pixels, pixels) != 0
    np.testing.assert_array_equal(result, expected_dependence(field(config), size, size))
    for channel in range(M):
        result = dmaps[:, channel].reshape(pixels, pixels) != 0
        np.testing.assert_array_equal(result, around(config))


def test_the_recipe_sees_69_pixels():
    config = make_config(masked_layers=6)
    assert len(field(config)) == 69
    left, _ = make_models(make_config(masked_layers=6, height=8, width=15))
    x, maps = np.zeros((1, 1, 8, 15)), np.zeros((1, 2, 8, 15))
    _, vjp = left.pixels(x, maps)
    dlogits = np.zeros_like(x)
    dlogits[0, 0, 6, 7] = 1
    assert (vjp(dlogits)[0] != 0).sum() == 69


@pytest.mark.parametrize(
    ("name", "latent"), [(n, z) for n, z in product(DECODERS, ("none", "af_prior")) if n != z]
)
def test_probabilities_of_all_images_add_up_to_one(name, latent):
    """Over all 512 images of 3 x 3, at two codes for a model with a latent."""
    config = make_config(latent, **DECODERS[name] | {"height": 3, "width": 3})
    every = np.array(list(np.ndindex(*(2,) * 9)), float).reshape(-1, 1, 3, 3)
    left, right = make_models(config)
    for seed in range(2 if config.code_dim else 1):
        code = 2 * random.normal(KEY.fold_in(seed), (1, config.code_dim))
        ours = left.decode(np.repeat(code, 512, 0), every)[0]
        theirs = logits_of(right, code)(*tensors(every)).numpy()
        for logits in (ours, theirs):
            signed = np.where(every == 1, logits, -logits)
            log_p = -np.logaddexp(0, -signed).sum((1, 2, 3))
            assert len(np.unique(np.round(log_p, 9))) > 9
            assert logsumexp(log_p) == pytest.approx(0, abs=1e-12)
    if latent == "none":
        for model, model_inputs in ((left, every), (right, *tensors(every))):
            log_w = np.asarray(
                model.log_weight(model_inputs, model.draw_noise(KEY, 512, samples=1))
            )
            assert np.exp(log_w).sum() == pytest.approx(1, abs=1e-12)
