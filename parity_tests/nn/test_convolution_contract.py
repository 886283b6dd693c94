"""The contract of both convolutions: sums of gradients, unchanged arguments, bounds, errors."""

import numpy as np
import pytest
import torch
from helpers.compare_image_layers import PAIRS
from helpers.random_weights import randomized
from torch import nn

from diptych import parity, weights
from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures.bounds import ELEMENTWISE, rounding_bound
from diptych.parity.measures.rows import normwise
from diptych.parity.running.trace import Call
from model_specs.common.key import Key
from numpy_ref.nn import init
from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d
from numpy_ref.nn.functional import ReLU
from numpy_ref.nn.module import Sequential
from torch_impl.nn import convolution as torch_layers
from torch_impl.nn import init as torch_init


@pytest.mark.parametrize("kind", PAIRS)
def test_gradients_add_up(kind, rng):
    layer = randomized(kind(2, 3, 3, 2, 1), rng)
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
    layers = [kind(2, 3, 3, 2, 1, input_grad=expected) for expected in (True, False)]
    randomized(layers[0], rng)
    layers[1].load_state_dict(layers[0].state_dict())
    result = []
    for layer in layers:
        layer.zero_grad()
        y, vjp = layer(x)
        result.append((vjp(np.cos(y)), layer.gradients()))
    assert result[0][0].shape == x.shape and result[1][0] is None
    for name, grad in result[0][1].items():
        np.testing.assert_array_equal(grad, result[1][1][name])


@pytest.mark.parametrize("kind", PAIRS)
def test_arguments_are_not_changed(kind, rng):
    layer = randomized(kind(2, 3, 3, 1, 1), rng)
    x = rng.normal(size=(2, 2, 5, 6))
    original = x.copy()
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    kept_dy, kept_y = dy.copy(), y.copy()
    vjp(dy)
    for now, before in ((x, original), (dy, kept_dy), (y, kept_y)):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("order", ["transposed", "every other"])
@pytest.mark.parametrize("kind", PAIRS)
def test_strided_arrays_give_the_same_result(kind, order, rng):
    layer = randomized(kind(2, 3, 3, 2, 1), rng)
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
    layer = randomized(kind(*setting), rng)
    x = rng.normal(size=(5, setting[0], 9, 8))
    y, vjp = layer(x)
    dy = rng.normal(size=y.shape)
    single = layer.astype("float32")
    expected = {"y": y, "dx": vjp(dy)} | layer.gradients()
    y32, vjp32 = single(x.astype(np.float32))
    result = {"y": y32, "dx": vjp32(dy.astype(np.float32))} | single.gradients()
    longest = max(x.size, y.size) // min(setting[:2])
    bound = rounding_bound(np.dtype("float32"), longest)
    for name, array in result.items():
        assert array.dtype == np.float32
        assert normwise(array.astype(np.float64), expected[name]) <= bound, name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity_of_a_chain(dtype, rng, device):
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
    randomized(left, rng)
    weights.transfer(left, right)
    parity.assert_parity(left, right.to(device), rng.normal(size=(5, 3, 10, 8)).astype(dtype))


@pytest.mark.parametrize("name", ["fan_in_uniform", "normal"])
@pytest.mark.parametrize("bias", [True, False])
def test_initial_weights_are_those_of_the_right_panel(name, bias):
    """Uniforms bit for bit; normals up to the last bits of the libraries' log, cos and sin."""
    for kind in ("Conv2d", "ConvTranspose2d"):
        ours = {c.__name__: c for c in PAIRS}[kind](3, 5, (3, 2), 2, 1, bias=bias)
        theirs = getattr(torch_layers, kind)(3, 5, (3, 2), 2, 1, bias=bias)
        getattr(init, name)(ours, Key(4)), getattr(torch_init, name)(theirs, Key(4))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for entry, array in ours.state_dict().items():
            bound = 0 if name == "fan_in_uniform" else 4 * np.finfo(array.dtype).eps
            expected = theirs.state_dict()[entry].numpy()
            np.testing.assert_allclose(array, expected, rtol=bound, atol=0)
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
        (np.zeros((0, 3, 5, 5)), "sizes >= 1"),
        (np.zeros((2, 3, 5, 5), np.float32), "x: got dtype float32, takes float64"),
        (torch.zeros(2, 3, 5, 5).double(), "x: got Tensor, takes numpy.ndarray"),
    ],
)
def test_inputs_that_do_not_fit(kind, x, message):
    with pytest.raises(ValueError, match=message):
        kind(3, 2, 3)(x)


def test_images_that_are_too_small():
    """The layers raise where torch raises."""
    small = np.zeros((1, 3, 2, 4))
    with pytest.raises(ValueError, match=r"x: got images of \(2, 4\), padded by \(0, 0\)"):
        Conv2d(3, 2, 3)(small)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        nn.Conv2d(3, 2, 3).double()(torch.from_numpy(small))
    with pytest.raises(ValueError, match=r"padding \(3, 3\) has size \(-2, 0\)"):
        ConvTranspose2d(3, 2, 3, 1, 3)(small)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        nn.ConvTranspose2d(3, 2, 3, 1, 3).double()(torch.from_numpy(small))


def test_the_bound_counts_the_sums_of_each_convolution():
    """The longest sums: over the kernel and input channels, over the kernel and output channels,
    and over all positions."""
    x, y = np.zeros((2, 3, 8, 8)), np.zeros((2, 5, 4, 4))
    for layer, into, out in ((Conv2d(3, 5, 4, 2, 1), x, y), (ConvTranspose2d(5, 3, 4, 2, 1), y, x)):
        call = Call("layer", "", "forward", None, inputs={"0": into}, outputs={"": out})
        kernel = 4 * 4 * layer.in_channels
        assert roundings(call, layer, "forward") == kernel + ELEMENTWISE
        longest = max(4 * 4 * layer.out_channels, y.size // 5)
        assert roundings(call, layer, "vjp") == longest + ELEMENTWISE
