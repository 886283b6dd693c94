"""Masked convolution: parity, torch's convolution with a masked weight, causality."""

import ast
import math
from itertools import product

import numpy as np
import pytest
import torch
from helpers.compare_image_layers import torch_errors
from helpers.finite_differences import derivative_errors
from helpers.pixel_dependence import dependence, expected_dependence
from helpers.random_weights import randomized
from torch import nn
from torch.nn import functional as F

from diptych import parity, weights
from diptych.parity.measures.rows import normwise
from model_specs.autoregressive.windows import MASK_TYPES, Window
from numpy_ref.autoregressive.pixel_cnn import MaskedConv2d
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.module import Sequential
from torch_impl.autoregressive.pixel_cnn import MaskedConv2d as TorchMaskedConv2d

WINDOWS = {
    "raster(1)": Window.raster(1),
    "raster(3)": Window.raster(3),
    "raster(5)": Window.raster(5),
    "raster((1, 3))": Window.raster((1, 3)),
    "raster((3, 1))": Window.raster((3, 1)),
    "raster((3, 7))": Window.raster((3, 7)),
    "local(4, 2)": Window.local(4, 2),
    "local(5, 2)": Window.local(5, 2),
    "local(2, 1)": Window.local(2, 1),
    "local(1, 2)": Window.local(1, 2),
    "local(4, 0)": Window.local(4, 0),
    "by hand": Window(frozenset({(-2, 1), (0, -3)})),
}
LAYERS = [(n, t) for n, t in product(WINDOWS, MASK_TYPES) if (n, t) != ("raster(1)", "A")]
PANELS = {"numpy": MaskedConv2d, "torch": TorchMaskedConv2d}


def offsets(name):
    """The offsets of a window by its definition, without the code under test."""
    if name == "by hand":
        return {(-2, 1), (0, -3)}
    form, arguments = name.split("(", 1)
    sides = np.broadcast_to(ast.literal_eval(f"({arguments}"), 2)
    if form == "raster":
        kernel = list(np.ndindex(*sides))
        middle = len(kernel) // 2
        return {(i - sides[0] // 2, j - sides[1] // 2) for i, j in kernel[:middle]}
    width, rows = sides
    left = math.ceil((width - 1) / 2)
    columns = range(-left, -left + width)
    return {(-i - 1, j) for i in range(rows) for j in columns} | {(0, -j - 1) for j in range(left)}


def seen_by(name, mask_type):
    return offsets(name) | ({(0, 0)} if mask_type == "B" else set())


def make_pair(rng, *arguments, **options):
    left = randomized(MaskedConv2d(*arguments, **options), rng)
    right = TorchMaskedConv2d(*arguments, **options)
    weights.transfer(left, right)
    return left, right


@pytest.mark.parametrize(("name", "mask_type"), LAYERS)
def test_parity(name, mask_type, rng):
    worst = {}
    channels = ((1, 3, 0), (5, 2, 4), (3, 4, 1), (9, 1, 0), (1, 1, 0))
    for (into, out, free), size, images in product(channels, ((5, 7), (6, 4), (1, 3)), (1, 4)):
        bias = (into + images) % 4 != 0
        left, right = make_pair(rng, into, out, WINDOWS[name], mask_type, free, bias=bias)
        result = torch_errors(left, right, rng.normal(size=(images, into, *size)), rng)
        assert len(result) == (4 if bias else 3)
        worst[(into, out, free, size, images)] = max(result.values())
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity_of_a_stack(dtype, rng, device):
    settings = [(5, 6, "local(4, 2)", "A", 4), (6, 4, "raster(3)", "B"), (4, 3, "raster(1)", "B")]
    settings = [(i, o, WINDOWS[name], *rest) for i, o, name, *rest in settings]
    left = Sequential(*(MaskedConv2d(*s, dtype=dtype) for s in settings))
    right = nn.Sequential(*(TorchMaskedConv2d(*s, dtype=dtype) for s in settings))
    weights.transfer(randomized(left, rng), right)
    report = parity.assert_parity(
        left, right.to(device), rng.normal(size=(3, 5, 7, 6)).astype(dtype)
    )
    names = {row.name for row in report.rows if row.kind == "parameter gradient"}
    assert names == {f"{i}.{leaf}" for i in range(3) for leaf in ("weight", "bias")}


# Witnesses other than the panels


@pytest.mark.parametrize(("name", "mask_type"), LAYERS)
def test_torchs_convolution_with_a_masked_weight(name, mask_type, rng):
    layer = randomized(MaskedConv2d(5, 3, WINDOWS[name], mask_type, 2), rng)
    x = rng.normal(size=(2, 5, 6, 7))
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    result = {"y": y, "dx": vjp(dy)} | layer.gradients()

    w = torch.from_numpy(layer.weight.data.copy())
    up, side = (n // 2 for n in w.shape[2:])
    hidden = [
        (i + up, j + side)
        for i, j in product(range(-up, up + 1), range(-side, side + 1))
        if (i, j) not in seen_by(name, mask_type)
    ]
    for i, j in hidden:
        w[:, :3, i, j] = 0
    read, b = torch.from_numpy(x).requires_grad_(), torch.from_numpy(layer.bias.data.copy())
    out = F.conv2d(F.pad(read, (side, side, up, up)), w.requires_grad_(), b)
    out.backward(torch.from_numpy(dy))
    dw = w.grad.numpy()
    for i, j in hidden:
        dw[:, :3, i, j] = 0
    wanted = {
        "y": out.detach().numpy(),
        "dx": read.grad.numpy(),
        "weight": dw,
        "bias": dy.sum((0, 2, 3)),
    }
    for leaf, array in result.items():
        assert normwise(array, wanted[leaf]) <= 1e-13, leaf


@pytest.mark.parametrize(("name", "mask_type"), LAYERS)
def test_finite_differences(name, mask_type, rng):
    """The layer is linear in each argument, so the step may be large."""
    layer = randomized(MaskedConv2d(3, 2, WINDOWS[name], mask_type, 1), rng)
    x = rng.normal(size=(2, 3, 5, 6))
    result = derivative_errors(layer, (x,), layer.named_parameters(), rng, step=0.5)
    assert result.keys() == {"[0]", "weight", "bias"}
    assert max(result.values()) < 1e-11, result


# Causality


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize(("name", "mask_type"), LAYERS)
def test_each_pixel_depends_on_its_window_and_on_nothing_else(name, mask_type, panel, rng):
    layer = dict(zip(PANELS, make_pair(rng, 5, 2, WINDOWS[name], mask_type, 2), strict=True))[panel]
    H, W = 5, 6
    image = dependence(layer, (5, H, W), slice(0, 3), rng)
    np.testing.assert_array_equal(image, expected_dependence(seen_by(name, mask_type), H, W))
    for channel in range(5):  # and each channel by itself
        result = dependence(layer, (5, H, W), slice(channel, channel + 1), rng)
        up, side = (n // 2 for n in layer.kernel_size)
        whole = set(product(range(-up, up + 1), range(-side, side + 1)))
        read_pixels = seen_by(name, mask_type) if channel < 3 else whole
        np.testing.assert_array_equal(result, expected_dependence(read_pixels, H, W))


STACKS = {
    "raster": ["raster(3)"] * 3,
    "one wide, then small": ["raster(5)", "raster((1, 3))", "raster((3, 1))"],
    "local": ["local(4, 2)", "local(2, 1)", "raster(1)"],
    "to the left alone": ["local(4, 0)", "raster((1, 3))"],
}


def stack(names, rng):
    """A layer of type A and others of type B, with tanh between them."""
    layers = []
    for i, name in enumerate(names):
        layers += [MaskedConv2d(3 if i else 1, 3, WINDOWS[name], "B" if i else "A"), Tanh()]
    net = randomized(Sequential(*layers), rng)
    for parameter in net.parameters():
        parameter.data *= 0.3  # tanh stays off its ends
    return net


@pytest.mark.parametrize("name", STACKS)
def test_stacked_layers_see_the_composed_window(name, rng):
    """A pixel is seen if a path of one step per layer leads to it inside the image."""
    names, (H, W) = STACKS[name], (8, 9)
    paths = np.eye(H * W, dtype=int)
    for i, layer in enumerate(names):
        paths = (expected_dependence(seen_by(layer, "B" if i else "A"), H, W).T @ paths > 0).astype(
            int
        )
    result = dependence(stack(names, rng), (1, H, W), slice(0, 1), rng)
    np.testing.assert_array_equal(result, paths.T > 0)
    later = np.triu(np.ones((H * W, H * W), bool))
    assert not (result & later).any()
    earlier = H * W * (H * W - 1) // 2
    assert H * W <= result.sum() < earlier


def test_six_layers_of_3_x_3_see_69_pixels(rng):
    """The decoder of Chen et al. (2016): six rows up, and a blind spot at the upper right."""
    H, W, h, v = 8, 15, 6, 7
    net = stack(["raster(3)"] * 6, rng)
    result = dependence(net, (1, H, W), slice(0, 1), rng)[h * W + v].reshape(H, W)
    assert result.sum() == 69
    rows = [set(np.flatnonzero(result[h - k]) - v) for k in range(7)]
    assert rows == [set(range(-6, k + 1 if k else 0)) for k in range(7)]
    assert not result[h + 1 :].any()


# Masked weights


@pytest.mark.parametrize(("name", "mask_type"), LAYERS)
def test_hidden_weights_get_no_gradient_and_move_nothing(name, mask_type, rng):
    pair = make_pair(rng, 4, 3, WINDOWS[name], mask_type, 1)
    x, dy = rng.normal(size=(2, 4, 6, 5)), rng.normal(size=(2, 3, 6, 5))
    hidden = np.broadcast_to(~pair[0].mask, pair[0].weight.data.shape)
    shape = pair[0].kernel_size
    assert hidden.sum() == 3 * 3 * (math.prod(shape) - len(seen_by(name, mask_type)))
    result = []
    for change in (0.0, 7.5):
        for layer in pair:
            state = weights.to_arrays(layer.state_dict())
            weights.load_state(layer, state | {"weight": state["weight"] + change * hidden}, "")
            kept = weights.to_arrays(layer.state_dict())["weight"].copy()
            layer.zero_grad()
            if layer is pair[0]:
                y, vjp = layer(x)
                dx, dw = vjp(dy), layer.weight.grad.copy()
            else:
                read = torch.from_numpy(x).requires_grad_()
                y = layer(read)
                y.backward(torch.from_numpy(dy))
                y, dx, dw = y.detach().numpy(), read.grad.numpy(), layer.weight.grad.numpy().copy()
            assert (dw[hidden] == 0).all() and (dw[~hidden] != 0).mean() > 0.9
            now = weights.to_arrays(layer.state_dict())["weight"]
            np.testing.assert_array_equal(now, kept)
            result.append((y, dx, dw))
    for before, after in zip(result[:2], result[2:], strict=True):
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)
