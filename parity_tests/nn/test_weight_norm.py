"""Weight-normalised layers: parity, torch's weight normalisation, derivatives, masks."""

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import (
    LAYERS,
    PANELS,
    assert_same_state,
    layer_class,
    make_layer_pair,
    small_config,
    with_same_weights,
)
from helpers.run_layers import normwise_errors, outputs_and_gradients
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

import numpy_ref.nn.init
import torch_impl.nn.init
from diptych import weights
from diptych.parity.measures.bounds import rounding_bound
from diptych.parity.measures.rows import normwise
from model_specs.autoregressive.windows import Window
from model_specs.common.key import Key
from numpy_ref.autoregressive.pixel_cnn import PixelCNN
from numpy_ref.nn import random
from numpy_ref.nn import weight_norm as left_side
from torch_impl.autoregressive.pixel_cnn import PixelCNN as TorchPixelCNN
from torch_impl.nn import weight_norm as right_side

each_layer = pytest.mark.parametrize("name", LAYERS)
MASKED = [name for name in LAYERS if name.startswith("masked")]
TORCH_LAYERS = {
    "WNLinear": nn.Linear,
    "WNConv2d": nn.Conv2d,
    "WNConvTranspose2d": nn.ConvTranspose2d,
}


# Parity


@pytest.mark.parametrize("images", ["one", "several"])
@each_layer
def test_parity(name, images, rng):
    left, right, x = make_layer_pair(name, rng)
    x = x[:1] if images == "one" else x
    result = normwise_errors(left, right, (x,), rng)
    assert result.keys() == {"y0", "dx0", "bias", "weight_g", "weight_v"}
    assert max(result.values()) <= 1e-13, result


def test_a_linear_layer_takes_any_leading_axes(rng):
    pair = with_same_weights(left_side.WNLinear(5, 3), right_side.WNLinear(5, 3), rng)
    assert max(normwise_errors(*pair, (rng.normal(size=(2, 4, 5)),), rng).values()) <= 1e-13


@each_layer
def test_float32_stays_within_its_bound(name, rng):
    left, right, x = make_layer_pair(name, rng, "float32")
    dy = [(0.5 + rng.normal(size=y.shape)) for y in [left(x)[0]]]
    wanted = outputs_and_gradients(left.astype("float64"), (x.astype("float64"),), dy)
    bound = rounding_bound(np.dtype("float32"), x.size)
    for side in (left, right):
        result = outputs_and_gradients(side, (x,), [dy[0].astype("float32")])
        for leaf, array in result.items():
            assert array.dtype == np.float32
            assert normwise(array.astype("float64"), wanted[leaf]) <= bound, leaf


@each_layer
def test_state_has_the_same_names_layouts_and_order(name, rng):
    for dtype in ("float64", "float32"):
        left, right, _ = make_layer_pair(name, rng, dtype)
        assert list(left.state_dict()) == ["bias", "weight_g", "weight_v"]
        assert_same_state(left, right)


@each_layer
def test_lengths_begin_as_1_and_biases_as_0(name):
    kind, arguments, _ = LAYERS[name]
    for side in PANELS:
        state = weights.to_arrays(layer_class(side, kind)(*arguments).state_dict())
        assert (state["weight_g"] == 1).all() and not state["bias"].any()


# Witnesses other than the panels


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in MASKED])
def test_torchs_own_weight_normalisation(name, rng):
    """torch's own layers give the same y and gradients from the same g and v."""
    left, right, x = make_layer_pair(name, rng)
    kind, arguments, _ = LAYERS[name]
    witness = weight_norm(TORCH_LAYERS[kind](*arguments).double(), dim=left.outputs)
    names = {
        "bias": "bias",
        "weight_g": "parametrizations.weight.original0",
        "weight_v": "parametrizations.weight.original1",
    }
    state = left.state_dict()
    witness.load_state_dict({names[n]: torch.from_numpy(a) for n, a in state.items()})
    dy = [rng.normal(size=left(x)[0].shape)]
    wanted = outputs_and_gradients(witness, (x,), dy)
    for side in (left, right):
        for leaf, array in outputs_and_gradients(side, (x,), dy).items():
            assert normwise(array, wanted[names.get(leaf, leaf)]) <= 1e-13, leaf


@pytest.mark.parametrize("name", MASKED)
def test_torchs_convolution_with_a_masked_direction(name, rng):
    """w = g (v m) / |v m|, one output after the other."""
    left, right, x = make_layer_pair(name, rng)
    dy = [rng.normal(size=left(x)[0].shape)]
    leaf = {n: torch.from_numpy(a).requires_grad_() for n, a in left.state_dict().items()}
    read = torch.from_numpy(x).requires_grad_()
    mask = torch.from_numpy(left.mask)
    rows = [
        g * torch.where(mask, v, 0) / torch.linalg.vector_norm(v[mask])
        for g, v in zip(leaf["weight_g"], leaf["weight_v"], strict=True)
    ]
    padding = [n // 2 for n in left.mask.shape[1:]]
    out = F.conv2d(read, torch.stack(rows), leaf["bias"], padding=padding)
    out.backward(torch.from_numpy(dy[0]))
    wanted = {"y0": out.detach(), "dx0": read.grad} | {n: t.grad for n, t in leaf.items()}
    for side in (left, right):
        for part, array in outputs_and_gradients(side, (x,), dy).items():
            assert normwise(array, wanted[part].numpy()) <= 1e-13, part


@each_layer
def test_finite_differences(name, rng):
    left, _, x = make_layer_pair(name, rng)
    result = derivative_errors(left, (x,), left.named_parameters(), rng)
    assert result.keys() == {"[0]", "bias", "weight_g", "weight_v"}
    assert max(result.values()) < 1e-8, result


@each_layer
def test_only_the_direction_of_v_counts(name, rng):
    """y is the same for 4 v, and for -g and -v; dv is orthogonal to v."""
    for side in make_layer_pair(name, rng)[:2]:
        left, _, x = make_layer_pair(name, rng)
        dy = [rng.normal(size=left(x)[0].shape)]
        state = weights.to_arrays(side.state_dict())
        state = {n: a.copy() for n, a in state.items()}
        before = outputs_and_gradients(side, (x,), dy)
        others = tuple(a for a in range(state["weight_v"].ndim) if a != side.outputs)
        along = (before["weight_v"] * state["weight_v"]).sum(others)
        size = np.abs(before["weight_v"] * state["weight_v"]).sum(others)
        assert (np.abs(along) <= 1e-12 * np.maximum(size, 1)).all()

        weights.load_state(side, state | {"weight_v": 4 * state["weight_v"]}, "")
        longer = outputs_and_gradients(side, (x,), dy)
        np.testing.assert_array_equal(longer["y0"], before["y0"])
        np.testing.assert_array_equal(4 * longer["weight_v"], before["weight_v"])
        negated = {n: -state[n] for n in ("weight_g", "weight_v")}
        weights.load_state(side, state | negated, "")
        np.testing.assert_array_equal(outputs_and_gradients(side, (x,), dy)["y0"], before["y0"])


@pytest.mark.parametrize("name", MASKED)
def test_hidden_weights_get_no_gradient_and_move_nothing(name, rng):
    """Masked weights do not enter |v| either."""
    *pair, x = make_layer_pair(name, rng)
    dy = [rng.normal(size=pair[0](x)[0].shape)]
    for side in pair:
        state = {n: a.copy() for n, a in weights.to_arrays(side.state_dict()).items()}
        hidden = np.broadcast_to(~pair[0].mask, state["weight_v"].shape)
        assert hidden.any() and not hidden.all()
        before = outputs_and_gradients(side, (x,), dy)
        assert (before["weight_v"][hidden] == 0).all()
        assert (before["weight_v"][~hidden] != 0).all()
        changed = np.where(hidden, 1e3 * rng.normal(size=hidden.shape), state["weight_v"])
        weights.load_state(side, state | {"weight_v": changed}, "")
        for leaf, array in outputs_and_gradients(side, (x,), dy).items():
            np.testing.assert_array_equal(array, before[leaf])
        kept = weights.to_arrays(side.state_dict())["weight_v"]
        np.testing.assert_array_equal(kept, changed)


# Directions drawn from a key


def test_directions_are_drawn_by_name_and_other_parameters_stay(rng):
    """A tied layer draws its direction under its first name."""
    left, right = with_same_weights(PixelCNN(small_config()), TorchPixelCNN(small_config()), rng)
    before = left.state_dict()
    numpy_ref.nn.init.init_weight_v(left, Key(5), 0.3)
    torch_impl.nn.init.init_weight_v(right, Key(5), 0.3)
    ours, theirs = (weights.to_arrays(side.state_dict()) for side in (left, right))
    named = {name for name, _ in left.named_parameters()}
    assert len(named) < len(ours)
    for name, array in ours.items():
        assert normwise(theirs[name], array) <= 1e-15
        if not name.endswith("weight_v"):
            np.testing.assert_array_equal(array, before[name])
        elif name in named:
            draw = random.normal(Key(5).fold_in(name), array.shape)
            np.testing.assert_array_equal(array, 0.3 * draw)
    numpy_ref.nn.init.init_weight_v(left, Key(5))
    torch_impl.nn.init.init_weight_v(right, Key(5))
    name = "first.weight_v"
    draw = random.normal(Key(5).fold_in(name), ours[name].shape)
    for side in (left, right):
        assert normwise(weights.to_arrays(side.state_dict())[name], 0.05 * draw) <= 1e-15


# Refusals


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("WNConv2d", (0, 2, 3), "in_channels: got 0"),
        ("WNConv2d", (2, 0, 3), "out_channels: got 0"),
        ("WNConv2d", (2, 2, 0), "kernel_size: got 0"),
        ("WNConvTranspose2d", (2, 3, 3, 2, 1, 2), "output_padding: got 2, takes less than"),
        ("WNMaskedConv2d", (2, 3, Window.raster(1), "A"), "window"),
        ("WNMaskedConv2d", (2, 3, Window.raster(3), "C"), "mask_type: got 'C'"),
        ("WNMaskedConv2d", (2, 3, Window.raster(3), "A", 2), "free_channels: got 2"),
    ],
)
def test_impossible_settings(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_class(PANELS[0], kind)(*arguments)
    if kind == "WNMaskedConv2d":
        with pytest.raises(ValueError, match=message):
            layer_class(PANELS[1], kind)(*arguments)


def test_impossible_dtypes():
    for side in (left_side, right_side):
        with pytest.raises(ValueError, match="dtype: got 'float16', takes float32 or float64"):
            side.WNLinear(2, 3, dtype="float16")


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 4, 5, 5), r"x: got shape \(2, 4, 5, 5\)"), ((2, 3), r"x: got shape \(2, 3\)")],
)
def test_inputs_that_do_not_fit(shape, message, rng):
    left, _, _ = make_layer_pair("conv", rng)
    with pytest.raises(ValueError, match=message):
        left(np.zeros(shape))
