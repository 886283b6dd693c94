"""Residual blocks, the encoder and the decoder: parity, image sizes, derivatives."""

from itertools import product

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import assert_same_state, small_config, with_same_weights
from helpers.run_layers import normwise_errors, outputs_and_gradients, outputs_of
from torch.nn import functional as F

from diptych import weights
from diptych.arrays import to_numpy
from diptych.parity.measures.rows import normwise
from numpy_ref.autoregressive import resnet as left_side
from torch_impl.autoregressive import resnet as right_side

BLOCKS = {
    "flat": (lambda side: side.flat_block(3), (2, 3, 5, 7)),
    "flat 1 x 1": (lambda side: side.flat_block(4, 1), (1, 4, 3, 2)),
    "first": (lambda side: side.input_block(1, 4), (3, 1, 5, 6)),
    "down": (lambda side: side.down_block(3, 4), (2, 3, 5, 6)),
    "down of one image": (lambda side: side.down_block(2, 5), (1, 2, 1, 3)),
    "up to odd x even": (lambda side: side.up_block(4, 3, (5, 6)), (2, 4, 3, 3)),
    "up to even x odd": (lambda side: side.up_block(2, 5, (2, 7)), (1, 2, 1, 4)),
}
each_block = pytest.mark.parametrize("name", BLOCKS)
COLOUR = {"channels": 3, "likelihood": "discretized_logistic_mixture", "components": 2}
CONFIGS = {
    "5 x 7": {},
    "1 x 1": {"height": 1, "width": 1, "context": "none"},
    "9 x 4": {"height": 9, "width": 4, "latent_dim": 1, "hidden_dim": 2},
    "8 x 8": {"height": 8, "width": 8, "maps": 1, "context_maps": 1},
    "one stride": {"strides": 1, "latent_dim": 3, "hidden_dim": 6},
    "four strides": {"height": 9, "width": 17, "strides": 4},
    "maps": {"latent_maps": 2, "strides": 2},
    "maps, one stride, colour": {"latent_maps": 5, "strides": 1} | COLOUR,
    "maps, four strides": {"height": 9, "width": 10, "latent_maps": 1, "strides": 4},
}
each_config = pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)


def make_blocks(name, rng):
    make, shape = BLOCKS[name]
    pair = with_same_weights(make(left_side), make(right_side), rng)
    x = rng.normal(size=shape)
    return *pair, (x < 0).astype(float) if name == "first" else x


def make_nets(name, changes, rng, count=3):
    """(left, right, x) of an Encoder or a Decoder with the same weights."""
    config = small_config(**changes)
    left, right = (
        side.make_networks(config)[name == "Decoder"] for side in (left_side, right_side)
    )
    with_same_weights(left, right, rng)
    images = (rng.random((count, *config.example_shape)) < 0.4).astype(float)
    return left, right, images if name == "Encoder" else rng.normal(size=(count, config.code_dim))


# Blocks


@each_block
def test_blocks_agree(name, rng):
    left, right, x = make_blocks(name, rng)
    result = normwise_errors(left, right, (x,), rng)
    assert ("dx0" in result) == (name != "first")  # which reads data
    assert max(result.values()) <= 1e-13, result
    assert_same_state(left, right)


def weight_of(state, layer, axis=0):
    """The weight g v / |v| of a layer, by its definition, and its bias."""
    g, v = (state[f"{layer}.{leaf}"] for leaf in ("weight_g", "weight_v"))
    others = tuple(a for a in range(4) if a != axis)
    return g * v / torch.linalg.vector_norm(v, dim=others, keepdim=True), state[f"{layer}.bias"]


@each_block
def test_blocks_are_their_equation(name, rng):
    """skip(x) + f2(elu(f1(elu(x)))) in torch's functions, one by one; `first` without inner elu."""
    left, right, x = make_blocks(name, rng)
    state = {n: torch.from_numpy(a).requires_grad_() for n, a in left.state_dict().items()}
    read = torch.from_numpy(x.copy()).requires_grad_()
    kind = name.split()[0]

    def strided(x, layer):
        if kind == "up":
            extra = tuple(1 - n % 2 for n in outputs_of(left, to_numpy(read))[0].shape[2:])
            return F.conv_transpose2d(x, *weight_of(state, layer, 1), 2, 1, extra)
        if kind == "flat":
            return F.conv2d(x, *weight_of(state, layer), padding=0 if "1 x 1" in name else 1)
        return F.conv2d(x, *weight_of(state, layer), stride=2, padding=1)

    layers = [n.removesuffix(".weight_v") for n in state if n.endswith("weight_v")]
    inner = read if kind == "first" else F.elu(read)
    h = F.elu(strided(inner, layers[0]))
    padding = 0 if "1 x 1" in name else 1
    out = F.conv2d(h, *weight_of(state, layers[1]), padding=padding)
    out = out + (read if kind == "flat" else strided(read, "skip"))
    dy = rng.normal(size=tuple(out.shape))
    out.backward(torch.from_numpy(dy))
    wanted = {"y0": out.detach(), "dx0": read.grad} | {n: t.grad for n, t in state.items()}
    for side in (left, right):
        for leaf, array in outputs_and_gradients(side, (x,), [dy]).items():
            if array is not None:
                assert normwise(array, wanted[leaf].numpy()) <= 1e-13, leaf


@each_block
def test_finite_differences_of_blocks(name, rng):
    left, _, x = make_blocks(name, rng)
    result = derivative_errors(left, (x,), left.named_parameters(), rng)
    assert len(result) == len(list(left.parameters())) + (name != "first")
    assert max(result.values()) < 1e-8, result


@pytest.mark.parametrize("panel", ["numpy", "torch"])
def test_every_size_comes_back(panel, rng):
    """Images from 1 x 1 to 9 x 9 are halved, rounded up, and get their size back."""
    side = {"numpy": left_side, "torch": right_side}[panel]
    for H, W in product(range(1, 10), repeat=2):
        there, back = side.down_block(1, 2), side.up_block(2, 1, (H, W))
        for block in (there, back):
            state = {n: rng.normal(size=a.shape) for n, a in block.state_dict().items()}
            weights.load_state(block, state, "")
        (half,) = outputs_of(there, rng.normal(size=(2, 1, H, W)))
        assert half.shape == (2, 2, (H + 1) // 2, (W + 1) // 2)
        (whole,) = outputs_of(back, half)
        assert whole.shape == (2, 1, H, W)
        assert small_config(height=H, width=W, context="none").sizes[:2] == [(H, W), half.shape[2:]]


def test_a_block_without_layers_doubles_what_it_reads(rng):
    x = rng.normal(size=(2, 3, 4, 5))
    for side in (left_side, right_side):
        result = outputs_and_gradients(side.Residual(), (x,), [np.ones_like(x)])
        np.testing.assert_array_equal(result["y0"], 2 * x)
        np.testing.assert_array_equal(result["dx0"], 2)


# Networks


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["Encoder", "Decoder"])
@each_config
def test_networks_agree(changes, name, count, rng):
    left, right, x = make_nets(name, changes, rng, count)
    result = normwise_errors(left, right, (x,), rng)
    assert ("dx0" in result) == (name == "Decoder")
    assert max(result.values()) <= 1e-13, result
    assert_same_state(left, right)


@pytest.mark.parametrize("name", ["Encoder", "Decoder"])
@each_config
def test_finite_differences_of_networks(changes, name, rng):
    left, _, x = make_nets(name, changes, rng, 2)
    for parameter in left.parameters():
        parameter.data *= 0.3  # fifteen layers deep, outputs of 1e5 would leave too few digits
    result = derivative_errors(left, (x,), left.named_parameters(), rng, step=5e-5)
    assert max(result.values()) < 1e-8, result


@each_config
def test_shapes(changes, rng):
    config = small_config(**changes)
    for side in (0, 1):
        encoder = make_nets("Encoder", changes, rng)[side]
        decoder = make_nets("Decoder", changes, rng)[side]
        images = make_nets("Encoder", changes, rng)[2]
        mu, logvar = outputs_of(encoder, images)
        assert mu.shape == logvar.shape == (3, config.code_dim)
        assert (mu != logvar).all()
        (maps,) = outputs_of(decoder, mu)
        assert maps.shape == (3, config.context_maps, config.height, config.width)


def test_images_of_a_batch_do_not_see_each_other(rng):
    for name in ("Encoder", "Decoder"):
        *pair, x = make_nets(name, {}, rng)
        for net in pair:
            together = outputs_of(net, x)
            for n in range(3):
                for whole, part in zip(together, outputs_of(net, x[n : n + 1]), strict=True):
                    assert normwise(part[0], whole[n]) <= 1e-13


def test_names_of_the_encoder():
    """Names follow the forward pass: three strides, flat blocks between them, three layers."""
    left = left_side.Encoder(small_config())
    layers = [n.removesuffix(".weight_v") for n in left.state_dict() if n.endswith("weight_v")]
    strided = "branch.{} branch.{} skip"
    first, down, flat = strided.format(0, 2), strided.format(1, 3), "branch.1 branch.3"
    wanted = [
        f"blocks.{i}.{layer}"
        for i, block in enumerate((first, flat, down, flat, down))
        for layer in block.split()
    ]
    assert layers == [*wanted, "hidden.1", "mu", "logvar"]


@pytest.mark.parametrize("strides", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_maps(channels, strides, rng):
    """Both have `strides` strided blocks; mu, logvar and the code are maps, one after the other."""
    changes = {"height": 16, "width": 9, "strides": strides, "latent_maps": 2}
    config = small_config(**changes | (COLOUR if channels == 3 else {}))
    h, w = 16 // 2**strides, -(-9 // 2**strides)
    assert config.code_shape == (2, h, w) and config.code_dim == 2 * h * w
    for side in (left_side, right_side):
        encoder, decoder = side.make_networks(config)
        assert (type(encoder), type(decoder)) == (side.MapEncoder, side.MapDecoder)
        for net, first in ((encoder, channels), (decoder, 2 * config.maps)):
            state = weights.to_arrays(net.state_dict())
            strided = [n for n in state if n.endswith("skip.weight_v")]
            assert len(strided) == strides
            assert state["blocks.0.skip.weight_v"].shape[net is encoder] in (first, config.maps)
            weights.load_state(net, {n: rng.normal(size=a.shape) for n, a in state.items()}, "")
        state = weights.to_arrays(encoder.state_dict())
        assert state["mu.weight_v"].shape == state["logvar.weight_v"].shape
        assert state["mu.weight_v"].shape[::2] == (2, 3)
        assert state["blocks.0.branch.0.weight_v"].shape[1] == channels
        mu, logvar = outputs_of(encoder, rng.random((3, *config.example_shape)))
        assert mu.shape == logvar.shape == (3, config.code_dim)
        (maps,) = outputs_of(decoder, mu)
        assert maps.shape == (3, config.context_maps, 16, 9)


def test_a_code_of_maps_keeps_its_place(rng):
    """The heads are 3 x 3 convolutions of the features, and the decoder reads their layout."""
    config = small_config(latent_maps=2, strides=2)
    for side in (left_side, right_side):
        encoder, decoder = side.make_networks(config)
        for net in (encoder, decoder):
            state = weights.to_arrays(net.state_dict())
            state = {n: rng.normal(size=a.shape) for n, a in state.items()}
            weights.load_state(net, state, "")
        x = rng.random((2, *config.example_shape))
        (features,) = outputs_of(encoder.blocks, x)
        state = {n: torch.from_numpy(a) for n, a in weights.to_arrays(encoder.state_dict()).items()}
        inner = F.elu(torch.from_numpy(features))
        for name, result in zip(("mu", "logvar"), outputs_of(encoder, x), strict=True):
            wanted = F.conv2d(inner, *weight_of(state, name), padding=1)
            assert wanted.shape[1:] == config.code_shape
            assert normwise(result, wanted.flatten(1).numpy()) <= 1e-13

        code = rng.normal(size=(2, config.code_dim))
        state = {n: torch.from_numpy(a) for n, a in weights.to_arrays(decoder.state_dict()).items()}
        maps = torch.from_numpy(code).reshape(2, *config.code_shape)
        h = F.conv2d(maps, *weight_of(state, "first"), padding=1)
        (wanted,) = outputs_of(decoder.blocks, h.numpy())
        assert normwise(outputs_of(decoder, code)[0], wanted) <= 1e-13


def test_a_model_without_a_latent_has_empty_networks(rng):
    config = small_config(latent="none")
    x = rng.random((3, 1, 5, 7))
    for net in (left_side, right_side):
        encoder, decoder = net.make_networks(config)
        assert (type(encoder), type(decoder)) == (net.NoEncoder, net.NoDecoder)
        assert not encoder.state_dict() and not decoder.state_dict()
        mu, logvar = outputs_of(encoder, x)
        assert mu.shape == logvar.shape == (3, 0) and mu.dtype == x.dtype
        (maps,) = outputs_of(decoder, mu)
        assert maps.shape == (3, 0, 5, 7) and maps.dtype == x.dtype
        both = net.make_networks(small_config())
        assert (type(both[0]), type(both[1])) == (net.Encoder, net.Decoder)
    _, vjp = left_side.NoEncoder()(x)
    np.testing.assert_array_equal(vjp(mu, mu), np.zeros_like(x))
    _, vjp = left_side.NoDecoder(config)(mu)
    assert vjp(maps).shape == mu.shape


def test_images_of_other_channels_are_refused(rng):
    left, _, _ = make_blocks("down", rng)
    with pytest.raises(
        ValueError, match=r"x: got shape \(2, 4, 5, 6\), takes \(any, 3, any, any\)"
    ):
        left(np.zeros((2, 4, 5, 6)))
