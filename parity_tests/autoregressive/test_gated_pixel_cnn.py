"""The gated decoder and its parts: parity, finite differences, witnesses, initialisation."""

import numpy as np
import pytest
import torch
from helpers.check_initialisation import (
    assert_all_normalised,
    assert_same_lengths_and_biases,
)
from helpers.finite_differences import derivative_errors
from helpers.layers_with_same_weights import (
    assert_same_state,
    normalised_layers,
    record_layer_outputs,
    with_same_weights,
)
from helpers.run_layers import normwise_errors, outputs_of, tensors
from helpers.small_pixel_decoders import (
    GATED,
    OUTPUTS,
    decoder_config,
    decoder_inputs,
    make_decoders,
    params_of,
)
from scipy.special import logsumexp
from torch.nn import functional as F

from diptych import parity
from diptych.parity.measures.rows import normwise
from model_specs.autoregressive.gated_layers import Reach
from model_specs.common.key import Key
from numpy_ref.autoregressive import gated_pixel_cnn as left_side
from numpy_ref.nn import init
from numpy_ref.nn.weight_norm import data_dependent_init
from torch_impl.autoregressive import gated_pixel_cnn as right_side
from torch_impl.nn import init as torch_init
from torch_impl.nn.weight_norm import data_dependent_init as torch_data_dependent_init

each_window = pytest.mark.parametrize("name", GATED)
REACHES = {
    "2 x 3 and 1 x 2": Reach(1, 1, 1, 1),
    "wide": Reach(2, 3, 3, 2),
    "one column further to the left": Reach(1, 1, 0, 1),
    "one row": Reach(0, 2, 2, 1),
    "the pixel alone": Reach(0, 0, 0, 0),
}
each_reach = pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
STACKS = "vertical", "horizontal", "link"
SIZES = ((1, 5, 7), (4, 6, 3), (3, 1, 4), (2, 3, 1))
"""(N, H, W)"""


def make_pair(rng, name, *arguments, dtype="float64"):
    """A class of both panels with the same random weights."""
    left, right = (getattr(side, name)(*arguments, dtype=dtype) for side in (left_side, right_side))
    left, right = with_same_weights(left, right, rng)
    return left.astype(dtype), right


def make_block(rng, reach, features=3, maps=2, dtype="float64"):
    return make_pair(rng, "GatedBlock", features, maps, reach, dtype=dtype)


# Parity


@each_window
@pytest.mark.parametrize("grey", [False, True], ids=["all", "grey"])
@pytest.mark.parametrize("latent", ["none", "gaussian"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parity(name, grey, latent, dtype, rng):
    """Of the output, and in every module of it: outputs, gradients of inputs and parameters."""
    config = decoder_config(name, latent=latent, context_channels="grey" if grey else "all")
    decoders = make_decoders(config, rng, dtype)
    report = parity.assert_parity(*decoders.values(), decoder_inputs(config, rng, 3, dtype))
    names = {row.name for row in report.rows if row.kind == "output gradient"}
    stacks = {f"body.{k}.{stack}" for k in range(config.decoder_blocks) for stack in STACKS}
    assert stacks | {"first.vertical", "first.link", "last", "rescale"} <= names


@each_reach
def test_parity_of_a_block(reach, rng):
    worst = {}
    for (N, H, W), features, maps in ((s, f, m) for s in SIZES for f, m in ((1, 3), (4, 2))):
        pair = make_block(rng, reach, features, maps)
        v, h = rng.normal(size=(2, N, features, H, W))
        errors = normwise_errors(*pair, (v, h, rng.normal(size=(N, maps, H, W))), rng)
        worst |= {(name, N, H, W, features): error for name, error in errors.items()}
    assert max(worst.values()) <= 1e-13, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("reach", [reach for reach in REACHES.values() if reach.up])
def test_parity_of_the_first_layer(reach, rng):
    for N, H, W in SIZES:
        pair = make_pair(rng, "GatedInput", 4, 3, reach)
        errors = normwise_errors(*pair, (rng.normal(size=(N, 4, H, W)),), rng)
        assert max(errors.values()) <= 1e-13, errors


@pytest.mark.parametrize("function", ["concat_elu", "gate"])
def test_parity_of_the_functions(function, rng):
    x = 3 * rng.normal(size=(3, 6, 4, 5))
    x[0, :, 0, 0] = 0, 0, 40, -40, 800, -800  # at 0 and where exponentials underflow
    y, vjp = getattr(left_side, function)(x)
    read = torch.tensor(x, requires_grad=True)
    theirs = getattr(right_side, function)(read)
    dy = rng.normal(size=y.shape)
    theirs.backward(torch.from_numpy(dy))
    assert normwise(y, theirs.detach().numpy()) <= 1e-15
    assert normwise(vjp(dy), read.grad.numpy()) <= 1e-15


# Witnesses other than the panels


def plain_block(layers, x, maps, link, reach):
    """A gated residual block by torch's functions alone, with zeros around the image."""
    up, left, right = reach
    padded = F.pad(F.elu(torch.cat((x, -x), 1)), (left, right, up, 0))
    c = F.conv2d(padded, layers.conv.weight(), layers.conv.bias) + link
    gates = plain_pointwise(layers.gates, F.elu(torch.cat((c, -c), 1)))
    return x + F.glu(gates + plain_pointwise(layers.context, maps), 1)


def plain_pointwise(layer, x):
    weight = layer.weight_g[:, :, 0, 0] * F.normalize(layer.weight_v[:, :, 0, 0])
    return torch.einsum("oi,nihw->nohw", weight, x) + layer.bias[:, None, None]


@each_reach
@torch.no_grad()
def test_a_block_is_that_of_torchs_functions(reach, rng):
    left, right = make_block(rng, reach)
    v, h = rng.normal(size=(2, 2, 3, 5, 6))
    maps = rng.normal(size=(2, 2, 5, 6))
    read_v, read_h, read_maps = tensors(v, h, maps)
    v_out = plain_block(right.vertical, read_v, read_maps, 0, reach[:3])
    link = plain_pointwise(right.link, F.elu(torch.cat((v_out, -v_out), 1)))
    h_out = plain_block(right.horizontal, read_h, read_maps, link, (0, reach.before, 0))
    for result in (outputs_of(left, v, h, maps), outputs_of(right, v, h, maps)):
        assert normwise(result[0], v_out.numpy()) <= 1e-13
        assert normwise(result[1], h_out.numpy()) <= 1e-13


@each_reach
def test_finite_differences_of_a_block(reach, rng):
    left, _ = make_block(rng, reach)
    v, h = rng.normal(size=(2, 2, 3, 5, 4))
    inputs = v, h, rng.normal(size=(2, 2, 5, 4))
    result = derivative_errors(left, inputs, left.named_parameters(), rng)
    assert {"[0]", "[1]", "[2]"} < result.keys()
    assert max(result.values()) < 1e-8, result


@pytest.mark.parametrize("choice", ["all", "grey"])
@pytest.mark.parametrize("name", ["gated 1 x 1", "gated 4 x 2", "gated, raster"])
def test_finite_differences_of_the_decoder(name, choice, rng):
    """A small step, as the curvature of an ELU jumps where its argument changes its sign."""
    config = decoder_config(name, context_channels=choice)
    decoder = make_decoders(config, rng)["numpy"]
    inputs = decoder_inputs(config, rng, 2)
    result = derivative_errors(decoder, inputs, decoder.named_parameters(), rng, step=3e-6)
    assert {"[0]", "[1]"} < result.keys()
    assert max(result.values()) < 1e-7, result


@pytest.mark.parametrize("name", ["gated 1 x 1", "gated 4 x 2", "gated, raster"])
@pytest.mark.parametrize("latent", ["none", "gaussian"])
def test_probabilities_of_all_binary_images_add_up_to_one(name, latent, rng):
    binary = {"channels": 1, "likelihood": "bernoulli", "height": 3, "width": 3}
    config = decoder_config(name, latent=latent, **binary)
    _, maps = decoder_inputs(config, rng, 1)
    every = np.array(list(np.ndindex(*(2,) * 9)), float).reshape(-1, 1, 3, 3)
    for decoder in make_decoders(config, rng, outputs=1).values():
        logits = params_of(decoder, every, maps)
        log_p = -np.logaddexp(0, np.where(every == 1, -logits, logits)).sum((1, 2, 3))
        assert len(np.unique(np.round(log_p, 9))) > 9
        assert logsumexp(log_p) == pytest.approx(0, abs=1e-12)


# Initialisation and contract


@each_window
def test_data_dependent_initialisation(name, rng):
    """Every layer's output has mean 0, if it has a bias, and variance 1; g and b agree."""
    config = decoder_config(name)
    decoders = make_decoders(config, rng)
    x, maps = decoder_inputs(config, rng, 6)
    left, right = decoders.values()
    outputs = record_layer_outputs(left, lambda: data_dependent_init(left, lambda: left(x, maps)))
    torch_data_dependent_init(right, lambda: right(*tensors(x, maps)))
    assert_all_normalised(left, outputs)
    assert_same_lengths_and_biases(left, right)
    assert normwise(params_of(left, x, maps), params_of(right, x, maps)) <= 1e-12


@each_window
def test_state_has_the_same_names_and_initial_weights_on_both_sides(name, rng):
    state = torch.get_rng_state()
    left, right = make_decoders(decoder_config(name), rng).values()
    init.init_weight_v(left, Key(4))
    torch_init.init_weight_v(right, Key(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_state(left, right)
    for leaf, array in left.state_dict().items():
        assert normwise(array, right.state_dict()[leaf].numpy()) <= 1e-15
    assert len(normalised_layers(left)) == len(normalised_layers(right))
    assert left.last(np.zeros((1, 3, 2, 2)))[0].shape == (1, OUTPUTS, 2, 2)


def test_a_window_of_one_column_has_no_layer_to_the_left():
    for side in (left_side, right_side):
        names = [n for n, _ in side.GatedInput(2, 3, Reach(1, 0, 0, 0)).named_parameters()]
        assert not any("horizontal" in n for n in names) and "link.weight_v" in names


def test_gradients_add_up_and_arguments_are_left_alone(rng):
    config = decoder_config("gated 5 x 3", context_channels="grey")
    decoder = make_decoders(config, rng)["numpy"]
    x, maps = decoder_inputs(config, rng)
    params, vjp = decoder(x, maps)
    dparams = rng.normal(size=params.shape)
    kept = [array.copy() for array in (x, maps, params, dparams)]
    once = vjp(dparams)
    gradients = {name: grad.copy() for name, grad in decoder.gradients().items()}
    for again, first in zip(vjp(dparams), once, strict=True):
        np.testing.assert_array_equal(again, first)
    for name, grad in decoder.gradients().items():
        np.testing.assert_array_equal(grad, 2 * gradients[name])
    for now, before in zip((x, maps, params, dparams), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_inputs_that_do_not_fit(rng):
    config = decoder_config("gated 4 x 2")
    x, maps = decoder_inputs(config, rng)
    left, right = make_decoders(config, rng).values()
    with pytest.raises(ValueError, match="x: got shape"):
        left(x[:, :2], maps)
    with pytest.raises(ValueError, match="x: got shape"):
        left(x, maps[:, :1])
    with pytest.raises(RuntimeError):
        right(*tensors(x[:, :2], maps))
