"""Convolution and its transpose against torch.nn, loops, finite differences and each other."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity, weights
from diptych.parity.bounds import ELEMENTWISE, rounding_bound, roundings
from diptych.parity.report import normwise
from diptych.parity.trace import Call
from model_specs.key import Key
from numpy_ref import correlation, init
from numpy_ref.convolution import Conv2d, ConvTranspose2d
from numpy_ref.layers import ReLU
from numpy_ref.module import Sequential
from torch_impl import init as torch_init
from torch_impl import layers as torch_layers

KERNELS = (1, 2, 3, (3, 2), 4)
STRIDES = (1, 2, 3, (2, 1))
PADDINGS = (0, 1, (2, 0), 3)
CHANNELS = ((3, 2), (1, 5), (7, 1))
PAIRS = {Conv2d: nn.Conv2d, ConvTranspose2d: nn.ConvTranspose2d}


def random_weights(layer, rng):
    """Biases too: zeros would hide a missing or doubled one."""
    for parameter in layer.parameters():
        parameter.data[...] = rng.normal(size=parameter.data.shape)
        parameter.zero_grad()
    return layer


def errors(layer, theirs, x, rng):
    """Normwise errors of y, dx and each parameter's gradient, against a torch layer."""
    theirs.load_state_dict({n: torch.from_numpy(a) for n, a in layer.state_dict().items()})
    y, vjp = layer(x)
    # not of mean 0: a bias of one channel is one sum, which may cancel by chance
    dy = 0.5 + rng.normal(size=y.shape)
    found = {"y": y, "dx": vjp(dy)} | layer.gradients()
    read = torch.from_numpy(x).requires_grad_()
    out = theirs(read)
    out.backward(torch.from_numpy(dy))
    wanted = {"y": out.detach(), "dx": read.grad} | {
        n: p.grad for n, p in theirs.named_parameters()
    }
    assert {n: a.shape for n, a in found.items()} == {n: tuple(a.shape) for n, a in wanted.items()}
    return {name: normwise(array, wanted[name].numpy()) for name, array in found.items()}


def fits(kernel, padding, size):
    kernel, padding = np.broadcast_to(kernel, 2), np.broadcast_to(padding, 2)
    return (np.array(size) + 2 * padding >= kernel).all()


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
        layer = random_weights(Conv2d(*setting, bias=bias), rng)
        theirs = nn.Conv2d(*setting, bias=bias).double()
        found = errors(layer, theirs, rng.normal(size=(images, channels[0], *size)), rng)
        worst[(setting, size, images)] = max(found.values())
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
        layer = ConvTranspose2d(*setting, bias=count % 4 != 0)
        if min(layer._output_size(size)) < 1:
            continue
        theirs = nn.ConvTranspose2d(*setting, bias=count % 4 != 0).double()
        count += 1
        x = rng.normal(size=(images, channels[0], *size))
        found = errors(random_weights(layer, rng), theirs, x, rng)
        worst[(setting, size, images)] = max(found.values())
    assert count > 40
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("block", [1, 30_000, 2**20])
def test_blocks_of_any_size_give_the_same(block, rng, monkeypatch):
    """One image at a time, two or six of the seven and the last, all at once."""
    monkeypatch.setattr(correlation, "BLOCK", block)
    for kind, theirs in PAIRS.items():
        for setting in ((3, 4, 3, 1, 1), (3, 4, 4, 2, 1), (8, 1, 3, 1, 1), (1, 8, 3, 1, 1)):
            layer = random_weights(kind(*setting), rng)
            x = rng.normal(size=(7, setting[0], 8, 6))
            found = errors(layer, theirs(*setting).double(), x, rng)
            assert max(found.values()) <= 1e-13, (setting, found)


# Witnesses other than torch


def looped(x, w, b, stride, padding):
    """The sum of the docstring, one product at a time."""
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


def painted(x, w, b, stride, padding, size):
    """Each pixel of x paints the kernel."""
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
def test_loops_agree(setting, rng):
    conv = random_weights(Conv2d(3, 2, *setting), rng)
    x = rng.normal(size=(2, 3, 5, 6))
    wanted = looped(x, conv.weight.data, conv.bias.data, *setting[1:])
    assert normwise(conv(x)[0], wanted) <= 1e-14
    transposed = random_weights(ConvTranspose2d(3, 2, *setting), rng)
    y = transposed(x)[0]
    wanted = painted(x, transposed.weight.data, transposed.bias.data, *setting[1:], y.shape[2:])
    assert normwise(y, wanted) <= 1e-14


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("kind", PAIRS)
def test_finite_differences(kind, stride, rng):
    """Along a random direction in x and in each parameter; linear, so the step may be large."""
    layer = random_weights(kind(2, 3, (3, 2), stride, (1, 0)), rng)
    x = rng.normal(size=(2, 2, 6, 5))
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    gradients = {"x": (x, vjp(dy))} | {n: (p.data, p.grad) for n, p in layer.named_parameters()}
    for name, (data, gradient) in gradients.items():
        direction, kept, values = rng.normal(size=data.shape), data.copy(), []
        for step in (0.5, -0.5):
            data[...] = kept + step * direction
            values.append((dy * layer(x)[0]).sum())
        data[...] = kept
        claimed = (gradient * direction).sum()
        assert values[0] - values[1] == pytest.approx(claimed, rel=1e-11, abs=1e-11), name


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_the_transpose_is_the_adjoint(kernel, stride, rng):
    """<Conv2d(x), y> = <x, ConvTranspose2d(y)> with one weight, and no biases."""
    conv = random_weights(Conv2d(3, 4, kernel, stride, 1, bias=False), rng)
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


# What a layer promises


@pytest.mark.parametrize("kind", PAIRS)
def test_gradients_add_up(kind, rng):
    layer = random_weights(kind(2, 3, 3, 2, 1), rng)
    y, vjp = layer(rng.normal(size=(2, 2, 5, 6)))
    dy, other = rng.normal(size=y.shape), rng.normal(size=y.shape)
    dx = vjp(dy)
    once = {name: grad.copy() for name, grad in layer.gradients().items()}
    np.testing.assert_array_equal(vjp(dy), dx)
    for name, grad in layer.gradients().items():
        np.testing.assert_array_equal(grad, 2 * once[name])
    vjp(other)
    layer.zero_grad()
    vjp(dy)
    for name, grad in layer.gradients().items():
        np.testing.assert_array_equal(grad, once[name])


@pytest.mark.parametrize("kind", PAIRS)
def test_no_input_gradient_for_data(kind, rng):
    x = rng.normal(size=(2, 2, 5, 6))
    layers = [kind(2, 3, 3, 2, 1, input_grad=wanted) for wanted in (True, False)]
    random_weights(layers[0], rng)
    layers[1].load_state_dict(layers[0].state_dict())
    found = []
    for layer in layers:
        layer.zero_grad()
        y, vjp = layer(x)
        found.append((vjp(np.cos(y)), layer.gradients()))
    assert found[0][0].shape == x.shape and found[1][0] is None
    for name, grad in found[0][1].items():
        np.testing.assert_array_equal(grad, found[1][1][name])


@pytest.mark.parametrize("kind", PAIRS)
def test_arguments_are_left_alone(kind, rng):
    layer = random_weights(kind(2, 3, 3, 1, 1), rng)
    x = rng.normal(size=(2, 2, 5, 6))
    kept = x.copy()
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    kept_dy, kept_y = dy.copy(), y.copy()
    vjp(dy)
    for now, before in ((x, kept), (dy, kept_dy), (y, kept_y)):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("order", ["transposed", "every other"])
@pytest.mark.parametrize("kind", PAIRS)
def test_strided_arrays_are_read_as_they_are(kind, order, rng):
    layer = random_weights(kind(2, 3, 3, 2, 1), rng)
    large = rng.normal(size=(6, 10, 4, 4))
    x = (
        large[:, :, :2].transpose(0, 2, 1, 3)
        if order == "transposed"
        else large[::2, :2, ::2, ::-1]
    )
    assert not x.flags.c_contiguous
    y, vjp = layer(x)
    dy = rng.normal(size=(*y.shape[:2], *y.shape[:1:-1])).swapaxes(2, 3)
    dx, plain = vjp(dy), layer(x.copy())
    np.testing.assert_array_equal(y, plain[0])
    np.testing.assert_array_equal(dx, plain[1](dy.copy()))


@pytest.mark.parametrize("setting", [(3, 8, 4, 2, 1), (8, 8, 3, 1, 1), (16, 5, 3, 1, 0)], ids=str)
@pytest.mark.parametrize("kind", PAIRS)
def test_float32_stays_within_its_bound(kind, setting, rng):
    layer = random_weights(kind(*setting), rng)
    x = rng.normal(size=(5, setting[0], 9, 8))
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    single = layer.astype("float32")
    wanted = {"y": y, "dx": vjp(dy)} | layer.gradients()
    y32, vjp32 = single(x.astype(np.float32))
    found = {"y": y32, "dx": vjp32(dy.astype(np.float32))} | single.gradients()
    longest = max(x.size, y.size) // min(setting[:2])
    bound = rounding_bound(np.dtype("float32"), longest)
    for name, array in found.items():
        assert array.dtype == np.float32
        assert normwise(array.astype(np.float64), wanted[name]) <= bound, name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity_of_a_chain(dtype, rng):
    kind = getattr(torch, dtype)
    left = Sequential(
        Conv2d(3, 6, 4, 2, 1, dtype=dtype),
        ReLU(),
        Conv2d(6, 5, 3, 1, 1, dtype=dtype),
        ConvTranspose2d(5, 3, (4, 3), (2, 1), 1, (1, 0), dtype=dtype),
    )
    right = nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, 1, 1),
        nn.ConvTranspose2d(5, 3, (4, 3), (2, 1), 1, (1, 0)),
    ).to(kind)
    random_weights(left, rng)
    weights.transfer(left, right)
    parity.assert_parity(left, right, rng.normal(size=(5, 3, 10, 8)).astype(dtype))


@pytest.mark.parametrize("name", ["fan_in_uniform", "normal"])
@pytest.mark.parametrize("bias", [True, False])
def test_initial_weights_are_those_of_the_right_panel(name, bias):
    for kind in ("Conv2d", "ConvTranspose2d"):
        ours = {c.__name__: c for c in PAIRS}[kind](3, 5, (3, 2), 2, 1, bias=bias)
        theirs = getattr(torch_layers, kind)(3, 5, (3, 2), 2, 1, bias=bias)
        getattr(init, name)(ours, Key(4)), getattr(torch_init, name)(theirs, Key(4))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for entry, array in ours.state_dict().items():
            np.testing.assert_array_equal(array, theirs.state_dict()[entry].numpy())
        if name == "fan_in_uniform":
            torchs_own = getattr(nn, kind)(30, 50, 3)
            bound = getattr(torch_layers, kind)(30, 50, 3).weight[0].numel() ** -0.5
            assert 0.97 * bound < torchs_own.weight.abs().max() <= bound


# Refusals


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 3), "in_channels: got 0"),
        ((2, 1.5, 3), "out_channels: got 1.5"),
        ((2, 2, 0), "kernel_size: got 0, takes an int >= 1 or a pair"),
        ((2, 2, (3, 3, 3)), r"kernel_size: got \(3, 3, 3\)"),
        ((2, 2, 3, 0), "stride: got 0, takes an int >= 1"),
        ((2, 2, 3, (1, True)), "stride: got"),
        ((2, 2, 3, 1, -1), "padding: got -1, takes an int >= 0"),
        ((2, 2, 3, 1, "same"), "padding: got 'same'"),
    ],
)
def test_impossible_settings(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


@pytest.mark.parametrize(("stride", "extra"), [(1, 1), (2, 2), ((2, 1), (1, 1))])
def test_output_padding_is_less_than_the_stride_as_in_torch(stride, extra):
    with pytest.raises(ValueError, match=r"output_padding: got .*, takes less than the stride"):
        ConvTranspose2d(2, 3, 3, stride, 1, extra)
    with pytest.raises(RuntimeError, match="output padding must be smaller"):
        nn.ConvTranspose2d(2, 3, 3, stride, 1, extra)(torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4, 5, 5)), r"x: got shape \(2, 4, 5, 5\), takes \(any, 3, any, any\)"),
        (np.zeros((3, 5, 5)), r"x: got shape \(3, 5, 5\)"),
        (np.zeros((0, 3, 5, 5)), "none of them 0"),
        (np.zeros((2, 3, 5, 5), np.float32), "x: got dtype float32, takes float64"),
        (torch.zeros(2, 3, 5, 5).double(), "x: got Tensor, takes numpy.ndarray"),
    ],
)
def test_inputs_that_do_not_fit(kind, x, message):
    with pytest.raises(ValueError, match=message):
        kind(3, 2, 3)(x)


def test_images_that_leave_nothing():
    """Where torch raises, so do the layers."""
    small = np.zeros((1, 3, 2, 4))
    with pytest.raises(ValueError, match=r"x: got images of \(2, 4\), padded by \(0, 0\)"):
        Conv2d(3, 2, 3)(small)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        nn.Conv2d(3, 2, 3).double()(torch.from_numpy(small))
    with pytest.raises(ValueError, match=r"padding \(3, 3\) leaves of size \(-2, 0\)"):
        ConvTranspose2d(3, 2, 3, 1, 3)(small)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        nn.ConvTranspose2d(3, 2, 3, 1, 3).double()(torch.from_numpy(small))


def test_the_bound_counts_the_sums_of_each_convolution():
    """Longest sums: over the kernel and what it reads, over it and what reads, over all places."""
    x, y = np.zeros((2, 3, 8, 8)), np.zeros((2, 5, 4, 4))
    for layer, into, out in ((Conv2d(3, 5, 4, 2, 1), x, y), (ConvTranspose2d(5, 3, 4, 2, 1), y, x)):
        call = Call("layer", "", "forward", None, inputs={"0": into}, outputs={"": out})
        kernel = 4 * 4 * layer.in_channels
        assert roundings(call, layer, "forward") == kernel + ELEMENTWISE
        longest = max(4 * 4 * layer.out_channels, y.size // 5)
        assert roundings(call, layer, "vjp") == longest + ELEMENTWISE
