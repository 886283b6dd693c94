"""Convolutions of two stacks: parity, torch's convolution with masked weights, contract."""

import re
from itertools import product

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.random_weights import randomized
from helpers.run_layers import outputs_and_gradients, outputs_of
from helpers.small_stacked_nets import StackedNet, make_nets, make_pair
from torch.nn import functional as F

from diptych import parity
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from numpy_ref.autoregressive.stacked_pixel_cnn import StackedConv2d
from numpy_ref.nn import init
from torch_impl.autoregressive.stacked_pixel_cnn import StackedConv2d as TorchStackedConv2d
from torch_impl.nn import init as torch_init

PANELS = (StackedConv2d, TorchStackedConv2d)
KERNELS = [3, 5, (3, 5), (5, 3), (7, 3), 1, (1, 3), (3, 1)]
LAYERS = [(k, t) for k, t in product(KERNELS, "AB") if t == "B" or 1 not in np.broadcast_to(k, 2)]
NAMES = {"vertical.weight", "vertical.bias", "horizontal.weight", "horizontal.bias", "link.weight"}


def cotangents(y, rng):
    # not of mean 0: a bias of one channel is one sum, which may cancel by chance
    return [0.5 + rng.normal(size=part.shape) for part in y]


@pytest.mark.parametrize(("kernel", "mask_type"), LAYERS)
def test_parity(kernel, mask_type, rng):
    worst = {}
    channels = ((1, 3, 0), (5, 2, 4), (3, 4, 1), (9, 1, 0), (1, 1, 0))
    for (into, out, free), size, images in product(channels, ((5, 7), (6, 4), (1, 3)), (1, 4)):
        bias = (into + images) % 4 != 0
        pair = make_pair(rng, into, out, kernel, mask_type, free, bias=bias)
        v, h = rng.normal(size=(2, images, into, *size))
        dys = cotangents(outputs_of(pair[0], v, h), rng)
        left, right = (outputs_and_gradients(layer, (v, h), dys) for layer in pair)
        names = NAMES if bias else {name for name in NAMES if name.endswith("weight")}
        assert left.keys() == right.keys() == {"y0", "y1", "dx0", "dx1"} | names
        for name, array in left.items():
            assert array.shape == right[name].shape
            worst[(name, into, out, free, size, images)] = normwise(array, right[name])
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity_of_a_net(dtype, rng):
    nets = make_nets(rng, [(5, 3), 3, (3, 5)], channels=4, free=3, dtype=dtype)
    report = parity.assert_parity(*nets.values(), rng.normal(size=(3, 4, 7, 6)).astype(dtype))
    names = {row.name for row in report.rows if row.kind == "parameter gradient"}
    assert names == {f"layers.{i}.{name}" for i in range(3) for name in NAMES}


# Witnesses other than the panels


def embedded(weight, mask_type):
    """The vertical weight padded by zero rows to an odd kernel around the pixel."""
    up = weight.shape[2] - (mask_type == "B")
    below = up + (mask_type == "A")
    return F.pad(weight, (0, 0, 0, below))


@pytest.mark.parametrize(("kernel", "mask_type"), LAYERS)
def test_torchs_convolution_with_masked_weights(kernel, mask_type, rng):
    layer = randomized(StackedConv2d(4, 3, kernel, mask_type, 2), rng)
    v, h = rng.normal(size=(2, 2, 4, 6, 5))
    dys = cotangents(outputs_of(layer, v, h), rng)
    result = outputs_and_gradients(layer, (v, h), dys)

    tensors = {n: torch.tensor(p.data).requires_grad_() for n, p in layer.named_parameters()}
    read_v, read_h = (torch.from_numpy(x).requires_grad_() for x in (v, h))
    kH, kW = np.broadcast_to(kernel, 2)
    whole = embedded(tensors["vertical.weight"], mask_type)
    assert whole.shape == (3, 4, kH, kW)
    row = torch.ones(3, 4, 1, kW, dtype=torch.float64)
    row[:, :2, :, kW // 2 + (mask_type == "B") :] = 0  # free channels are seen whole
    v_out = F.conv2d(read_v, whole, tensors["vertical.bias"], padding=(kH // 2, kW // 2))
    h_out = F.conv2d(read_h, tensors["horizontal.weight"] * row, padding=(0, kW // 2))
    h_out = h_out + tensors["horizontal.bias"][:, None, None]
    h_out = h_out + torch.einsum("oi,nihw->nohw", tensors["link.weight"][:, :, 0, 0], v_out)
    torch.autograd.backward((v_out, h_out), list(map(torch.from_numpy, dys)))
    wanted = {"y0": v_out, "y1": h_out, "dx0": read_v.grad, "dx1": read_h.grad}
    wanted |= {name: tensor.grad for name, tensor in tensors.items()}
    assert result.keys() == wanted.keys()
    for name, array in result.items():
        assert normwise(array, wanted[name].detach().numpy()) <= 1e-13, name


@pytest.mark.parametrize(("kernel", "mask_type"), LAYERS)
def test_finite_differences(kernel, mask_type, rng):
    """The layer is linear in each argument, so the step may be large."""
    layer = randomized(StackedConv2d(3, 2, kernel, mask_type, 1), rng)
    images = tuple(rng.normal(size=(2, 2, 3, 5, 4)))
    result = derivative_errors(layer, images, layer.named_parameters(), rng, step=0.5)
    assert result.keys() == {"[0]", "[1]"} | NAMES
    assert max(result.values()) < 1e-11, result


def test_finite_differences_of_a_net(rng):
    net = make_nets(rng, [3, (5, 3), 3], channels=2, free=1)["numpy"]
    x = (rng.normal(size=(2, 2, 5, 4)),)
    result = derivative_errors(net, x, net.named_parameters(), rng, step=1e-4)
    assert result.keys() == {"[0]"} | {f"layers.{i}.{name}" for i in range(3) for name in NAMES}
    assert max(result.values()) < 1e-9, result


# Contract


@pytest.mark.parametrize("kind", PANELS)
def test_the_drawing_is_what_a_layer_reads(kind):
    lines = (re.findall(r"\b[01]\b", line) for line in kind.__doc__.splitlines() if "   " in line)
    above, own = (np.array(digits, int) for digits in lines if len(digits) in (6, 12))
    for mask_type, top, (bottom, row) in zip(
        "AB", np.split(above, 2), own.reshape(2, 2, 3), strict=True
    ):
        layer = kind(1, 1, 3, mask_type)
        ones = torch.ones(tuple(layer.state_dict()["vertical.weight"].shape))
        drawn = np.array([top, bottom, np.zeros(3)])
        np.testing.assert_array_equal(embedded(ones, mask_type)[0, 0], drawn)
        np.testing.assert_array_equal(layer.horizontal.mask[0], [row])


def test_state_has_the_same_names_and_initial_weights_on_both_sides():
    state = torch.get_rng_state()
    left, right = (kind(4, 3, (5, 3), "B", 1) for kind in PANELS)
    init.fan_in_uniform(left, Key(4)), torch_init.fan_in_uniform(right, Key(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(left.state_dict()) == list(right.state_dict())
    assert left.state_dict().keys() == NAMES
    for name, array in left.state_dict().items():
        assert normwise(array, right.state_dict()[name].numpy()) <= 1e-15
    shapes = {name: array.shape for name, array in left.state_dict().items()}
    assert shapes["vertical.weight"] == (3, 4, 3, 3) and shapes["link.weight"] == (3, 3, 1, 1)
    assert StackedConv2d(4, 3, (5, 3), "A").vertical.weight.data.shape == (3, 4, 2, 3)


def test_gradients_add_up_and_arguments_are_left_alone(rng):
    layer = randomized(StackedConv2d(3, 2, 3, "B"), rng)
    v, h = rng.normal(size=(2, 2, 3, 5, 4))
    y, vjp = layer(v, h)
    dys = cotangents(y, rng)
    kept = [array.copy() for array in (v, h, *y, *dys)]
    once = vjp(*dys)
    gradients = {name: grad.copy() for name, grad in layer.gradients().items()}
    for again, first in zip(vjp(*dys), once, strict=True):
        np.testing.assert_array_equal(again, first)
    for name, grad in layer.gradients().items():
        np.testing.assert_array_equal(grad, 2 * gradients[name])
    for now, before in zip((v, h, *y, *dys), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_no_input_gradient_for_data(rng):
    layer = randomized(StackedConv2d(3, 2, 3, "A", 1), rng)
    blind = StackedConv2d(3, 2, 3, "A", 1, input_grad=False)
    blind.load_state_dict(layer.state_dict())
    x = rng.normal(size=(2, 3, 5, 4))
    (y, vjp), (same, other) = layer(x, x), blind(x, x)
    dys = cotangents(y, rng)
    assert [part.shape for part in vjp(*dys)] == [x.shape] * 2 and other(*dys) == (None, None)
    for part, twin in zip(y, same, strict=True):
        np.testing.assert_array_equal(part, twin)
    for name, grad in layer.gradients().items():
        # the same sums, in another order
        np.testing.assert_allclose(grad, blind.gradients()[name], rtol=1e-12, atol=1e-12)


def test_dtypes_stay(rng):
    single = StackedNet(StackedConv2d(3, 2, 3, "A", dtype="float32"), StackedConv2d(2, 2, 3, "B"))
    single = randomized(single, rng).astype("float32")
    y, vjp = single(rng.normal(size=(2, 3, 5, 4)).astype(np.float32))
    dx = vjp(*y)
    assert {a.dtype for a in (*y, dx, *single.gradients().values())} == {np.dtype("float32")}


@pytest.mark.parametrize("kind", PANELS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 3, 4, "B"), "kernel_size: got 4, takes an odd int >= 1"),
        ((2, 3, (3, 2), "A"), r"kernel_size: got \(3, 2\), takes an odd"),
        ((2, 3, 1, "A"), "kernel_size: got 1, type A takes at least 3 x 3"),
        ((2, 3, (1, 3), "A"), r"kernel_size: got \(1, 3\), type A takes at least 3 x 3"),
        ((2, 3, (3, 1), "A"), r"kernel_size: got \(3, 1\), type A takes at least 3 x 3"),
        ((2, 3, 3, "C"), "mask_type: got 'C', takes one of 'A', 'B'"),
        ((2, 3, 3, "A", 2), r"free_channels: got 2, takes an int in \[0, 2\)"),
        ((0, 3, 3, "A"), "in_channels: got 0"),
        ((2, 0, 3, "A"), "out_channels: got 0"),
    ],
)
def test_impossible_layers(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


def test_inputs_that_do_not_fit():
    left, right = (kind(3, 2, 3, "A") for kind in PANELS)
    x = np.zeros((2, 3, 5, 4))
    for v, h, message in (
        (x[:, :2], x, r"v: got shape \(2, 2, 5, 4\), takes \(any, 3, any, any\)"),
        (x, x[0], r"h: got shape \(3, 5, 4\)"),
        (x, x[:, :, 1:], r"h: got shape \(2, 3, 4, 4\), takes the shape of v, \(2, 3, 5, 4\)"),
        (x.astype(np.float32), x, "v: got dtype float32, takes float64"),
        (x, x.astype(np.float32), "h: got dtype float32, takes float64"),
    ):
        for layer, dys in ((left, (v, h)), (right, map(torch.from_numpy, (v, h)))):
            with pytest.raises(ValueError, match=message.replace("float", "(torch.)?float")):
                layer(*dys)
