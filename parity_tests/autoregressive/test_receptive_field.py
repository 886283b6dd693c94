"""Receptive fields: the pictures, and nets of either panel that see exactly these pixels."""

import re
from itertools import product

import numpy as np
import pytest
import torch
from helpers.pixel_dependence import dependence, expected_dependence
from helpers.random_weights import randomized
from helpers.small_stacked_nets import make_nets

from diptych import weights
from model_specs.autoregressive import receptive_field as module
from model_specs.autoregressive.receptive_field import receptive_field, stacked_receptive_field
from model_specs.autoregressive.windows import Window
from numpy_ref.autoregressive.pixel_cnn import MaskedConv2d
from numpy_ref.nn.functional import Tanh
from numpy_ref.nn.module import Sequential
from torch_impl.autoregressive.pixel_cnn import MaskedConv2d as TorchMaskedConv2d

RASTER = [Window.raster(3)] * 6
STACKS = {
    "3 x 3": [3, 3, 3],
    "rows of 5": [(3, 5), 3, (3, 5)],
    "5 up": [(5, 3), 3, (5, 3)],
    "5 x 5, then along the row, then up": [5, (1, 3), (3, 1)],
    "pointwise": [3, 1, 1],
}
WINDOWS = {
    "raster": [Window.raster(3)] * 3,
    "local": [Window.local(4, 2), Window.local(2, 1), Window.raster(1)],
    "wide, high": [Window.raster((3, 5)), Window.raster((1, 3)), Window.raster((5, 1))],
}
PANELS = ["numpy", "torch"]


def typed(layers):
    return [(layer, "B" if depth else "A") for depth, layer in enumerate(layers)]


def rectangle(up, side):
    return {(-i, j) for i in range(1, up + 1) for j in range(-side, side + 1)}


def row(side):
    return {(0, -j) for j in range(1, side + 1)}


# The fields


def test_six_layers_of_3_x_3():
    """Chen et al. (2016): 69 pixels, six rows up, a blind spot at the upper right."""
    raster = receptive_field(typed(RASTER)).offsets
    assert len(raster) == 69
    assert raster == {(-k, j) for k in range(7) for j in range(-6, k + 1 if k else 0)}
    stacked = stacked_receptive_field(typed([3] * 6)).offsets
    assert stacked == rectangle(6, 6) | row(6)
    assert stacked - raster == {(-k, j) for k in range(1, 6) for j in range(k + 1, 7)}


def test_the_drawings_are_the_fields():
    rows = [line for line in module.__doc__.splitlines() if re.fullmatch(r"[ #@.]+", line)]
    heads = module.__doc__.splitlines()
    (head,) = (line for line in heads if line.lstrip().startswith("Window.raster(3):"))
    middle = head.index("the two stacks")
    fields = receptive_field(typed(RASTER)), stacked_receptive_field(typed([3] * 6))
    pictures = [line[:middle] for line in rows], [line[middle:] for line in rows]
    counts = map(int, re.findall(r": (\d+)", head))
    for field, picture, count in zip(fields, pictures, counts, strict=True):
        drawn = str(field).splitlines()
        assert [line.strip() for line in picture] == drawn[:7]
        assert {*"".join(drawn[7:])} == {".", " "}
        assert len(field.offsets) == count == "".join(picture).count("#")


@pytest.mark.parametrize(("width", "rows"), list(product(range(2, 8), range(4))))
def test_pixelwise_layers_add_nothing_to_a_window(width, rows):
    window, pixel = Window.local(width, rows), Window.raster(1)
    assert receptive_field([(window, "A"), (pixel, "B"), (pixel, "B")]) == window


@pytest.mark.parametrize(("k", "n"), list(product((3, 5, 7), range(1, 6))))
def test_stacks_see_whole_rows(k, n):
    up = n * (k // 2)
    read_pixels = stacked_receptive_field(typed([k] * n))
    assert read_pixels == Window(frozenset(rectangle(up, up) | row(up)))
    blind = read_pixels.offsets - receptive_field(typed([Window.raster(k)] * n)).offsets
    assert bool(blind) == (n > 1)


@pytest.mark.parametrize(("n", "window"), [(2, Window.local(5, 3)), (3, Window.local(7, 4))])
def test_layers_of_two_rows_see_the_windows_of_chen_et_al(n, window):
    """Their layers are PixelCNN++'s: 2 x 3 kernels, the first two rows up, and each later layer
    adds a row and 2 columns."""
    assert stacked_receptive_field(typed([(5, 3)] + [3] * (n - 1))) == window


def test_fields_of_no_layers_and_of_type_b():
    itself = Window(frozenset({(0, 0)}))
    assert receptive_field([]) == stacked_receptive_field([]) == itself
    left = Window(frozenset({(0, -1)}))
    assert receptive_field([(left, "B")] * 3).offsets == {(0, -j) for j in range(4)}
    assert receptive_field([(left, "A")] * 3).offsets == {(0, -3)}
    twice = stacked_receptive_field([(3, "A"), (3, "A")]).offsets  # v leaves its row out again
    assert twice == {(-2, j) for j in range(-2, 3)} | {(-1, j) for j in range(-2, 1)} | {(0, -2)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: receptive_field([(Window.raster(1), "A")]), "window: got an empty one"),
        (lambda: receptive_field([(Window.raster(3), "C")]), "mask_type: got 'C'"),
        (
            lambda: stacked_receptive_field([(3, "B")]),
            "layers: got mask type 'B' in the first layer, takes",
        ),
        (lambda: stacked_receptive_field([(1, "A")]), "kernel_size: got 1, type A takes at least"),
        (lambda: stacked_receptive_field([(3, "A"), (2, "B")]), "kernel_size: got 2, takes an odd"),
        (lambda: stacked_receptive_field([(3, "A"), (3, "b")]), "mask_type: got 'b'"),
    ],
)
def test_impossible_fields(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# The nets


def raster_nets(rng, windows):
    """Nets of one layer of type A and others of type B, of 3 maps, with tanh between them."""
    settings = [(3 if i else 1, 3, window, t) for i, (window, t) in enumerate(typed(windows))]
    left, right = [], []
    for arguments in settings:
        left += [MaskedConv2d(*arguments), Tanh()]
        right += [TorchMaskedConv2d(*arguments), torch.nn.Tanh()]
    nets = {
        "numpy": randomized(Sequential(*left), rng),
        "torch": torch.nn.Sequential(*right),
    }
    for parameter in nets["numpy"].parameters():
        parameter.data *= 0.3  # tanh stays off its ends
    weights.transfer(*nets.values())
    return nets


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("name", WINDOWS)
def test_masked_layers_see_their_field_and_nothing_else(name, panel, rng):
    H, W = 7, 8
    net = raster_nets(rng, WINDOWS[name])[panel]
    result = dependence(net, (1, H, W), slice(0, 1), rng)
    field = receptive_field(typed(WINDOWS[name]))
    np.testing.assert_array_equal(result, expected_dependence(field.offsets, H, W))


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("name", STACKS)
def test_stacks_see_their_field_and_nothing_else(name, panel, rng):
    """For each output pixel; v sees the rows above it alone."""
    H, W = 7, 8
    net = make_nets(rng, STACKS[name])[panel]
    v, h = dependence(net, (1, H, W), slice(0, 1), rng)
    read_pixels = stacked_receptive_field(typed(STACKS[name])).offsets
    np.testing.assert_array_equal(h, expected_dependence(read_pixels, H, W))
    reach = np.array([np.broadcast_to(kernel, 2) // 2 for kernel in STACKS[name]]).sum(0)
    np.testing.assert_array_equal(v, expected_dependence(rectangle(*reach), H, W))
    assert not np.triu(h).any()


@pytest.mark.parametrize("panel", PANELS)
def test_the_blind_spot_is_there_and_not_here(panel, rng):
    H, W, h, v = 5, 9, 4, 3
    masked = dependence(raster_nets(rng, RASTER[:4])[panel], (1, H, W), slice(0, 1), rng)
    _, stacked = dependence(make_nets(rng, [3] * 4)[panel], (1, H, W), slice(0, 1), rng)
    missed = np.argwhere((stacked & ~masked)[h * W + v].reshape(H, W)) - (h, v)
    assert {*map(tuple, missed.tolist())} == {(-k, j) for k in range(1, 4) for j in range(k + 1, 5)}
    assert not (masked & ~stacked).any()


@pytest.mark.parametrize("panel", PANELS)
def test_free_channels_are_seen_along_the_row(panel, rng):
    H, W = 5, 6
    nets = make_nets(rng, [(5, 3)], channels=3, free=2)
    for channel in range(3):
        v, h = dependence(nets[panel], (3, H, W), slice(channel, channel + 1), rng)
        np.testing.assert_array_equal(v, expected_dependence(rectangle(2, 1), H, W))
        along = {(0, -1)} if channel == 0 else {(0, -1), (0, 0), (0, 1)}
        np.testing.assert_array_equal(h, expected_dependence(rectangle(2, 1) | along, H, W))


@pytest.mark.parametrize("panel", PANELS)
def test_the_jacobian_of_a_larger_image_is_as_sparse(panel, rng):
    """The batch is one copy of an image per pixel; copy n gives the gradient of pixel n."""
    H, W, kernels = 13, 15, [(3, 5), 3, 3, 3]
    net, x = make_nets(rng, kernels)[panel], rng.normal(size=(1, 1, H, W))
    copies = np.repeat(x, H * W, 0)
    dh = np.broadcast_to(np.eye(H * W).reshape(-1, 1, H, W), (H * W, 3, H, W)).copy()
    if panel == "numpy":
        _, vjp = net(copies)
        jacobian = vjp(np.zeros_like(dh), dh)
    else:
        read = torch.from_numpy(copies).requires_grad_()
        (jacobian,) = torch.autograd.grad(net(read)[1], read, torch.from_numpy(dh))
        jacobian = jacobian.numpy()
    read_pixels = stacked_receptive_field(typed(kernels)).offsets
    np.testing.assert_array_equal(
        jacobian.reshape(H * W, H * W) != 0, expected_dependence(read_pixels, H, W)
    )
