"""Dropout in recurrent networks: each scheme on both cells agrees, and each mask has its effect.

The masks themselves are tested in test_dropout_masks.py.
"""

import itertools
import math

import numpy as np
import pytest
from helpers.dropout_schemes import DRAWN, RATE, on_both_cells, with_each_scheme, with_masks
from helpers.finite_differences import derivative_errors
from helpers.small_recurrent_networks import (
    KEY,
    B,
    H,
    T,
    both_ways,
    make_config,
    make_layers,
    make_masks,
    make_window,
    tensors,
)

import numpy_ref.recurrent.network
import torch_impl.recurrent.network
from diptych import parity
from diptych.arrays import leaves, map_arrays
from model_specs.recurrent.dropout import SCHEMES, Masks

# Parity

# (rate, rate on h_{t-1}, kernel, carried state and weights, batch size): any two of the first four
# meet, under each scheme in each depth of each cell; at rate 0 no scheme draws masks
GRID = (
    (RATE, None, "fused", True, B),
    (RATE, None, "loop", False, 1),
    (0.65, RATE, "fused", False, B),
    (0.65, RATE, "loop", True, B),
    (0.0, None, "fused", True, B),
)


@pytest.mark.parametrize("layers", [1, 2, 3])
@on_both_cells
@with_each_scheme
def test_losses_agree_over_the_grid(make_pair, cell, scheme, layers, device):
    """float64: every row within 1e-13. float32: within the bound from dtype and size."""
    for rate, through, kernel, carried, size in GRID:
        options = {"rate": rate, "recurrent_rate": through}
        config = make_config(cell, num_layers=layers, scheme=scheme, **options)
        for dtype in ("float64", "float32")[: 2 if layers == 2 and size == 1 else 1]:
            left, right = make_pair(config, dtype, cell, kernel=kernel)
            window = make_window(cell, config, size, dtype, carried=carried)
            report = parity.assert_parity(
                left, right.to(device), window, left.draw_noise(KEY, size)
            )
            assert dtype == "float32" or all(row.error <= 1e-13 for row in report.rows), report
            gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
            assert gradients == set(left.state_dict())


@pytest.mark.parametrize("kernel", ["fused", "loop"])
@on_both_cells
@with_each_scheme
def test_layers_agree_in_the_gradients_of_input_and_state(cell, scheme, kernel, device):
    """The layers alone, with random cotangents on y and on every part of the last state."""
    for layers, size in ((1, B), (2, 1), (3, B)):
        config = make_config(cell, num_layers=layers, scheme=scheme, rate=RATE)
        left, right, arguments = make_layers(cell, config, size, kernel)
        report = parity.assert_parity(left, right.to(device), arguments)
        assert all(row.error <= 1e-13 for row in report.rows), report
        gradients = {row.name for row in report.rows if row.kind == "input gradient"}
        states = {f"forward(state.{name})" for name in arguments[1]._fields}
        assert {"forward(x)"} | states <= gradients


# The effect of a mask


@pytest.mark.parametrize("steps", [1, T])
def test_dropout_keeps_the_expectation_and_its_vjp_is_true(rng, steps):
    """x m / (1 - p): 0 or x / (1 - p), and x on average; x itself without a mask."""
    ours, theirs = (
        numpy_ref.recurrent.network.Dropout(RATE),
        torch_impl.recurrent.network.Dropout(RATE),
    )
    x, mask = rng.normal(size=(T, B, H)), rng.random((steps, B, H)) >= RATE
    y, _ = ours(x, mask)
    np.testing.assert_allclose(y, np.where(mask, x / 0.7, 0), rtol=1e-15)
    np.testing.assert_array_equal(y, theirs(*tensors((x, mask))).numpy())
    assert derivative_errors(ours, (x, mask), {}, rng)["[0]"] < 1e-8
    assert ours(x, None)[0] is x
    many = make_masks(make_config("rnn", hidden_dim=300, scheme="per_step", rate=RATE), 50)
    mean = ours(np.ones(many.inputs[1].shape), many.inputs[1])[0].mean()
    assert abs(mean - 1) < 5 * math.sqrt(RATE / (1 - RATE) / many.inputs[1].size)


@on_both_cells
@with_masks
def test_the_memory_itself_is_dropped_by_the_recurrent_schemes_alone(make_pair, cell, scheme):
    """With nothing read in, the last state is that of the first, whatever is dropped on the L + 1
    connections outside of time; where h_{t-1} is dropped it is another."""
    config = make_config(cell, num_layers=3, scheme=scheme, rate=0.65)
    left, right = make_pair(config, name=cell)
    state = left.state_dict()
    state |= {name: 0 * array for name, array in state.items() if "weight_ih" in name}
    left.load_state_dict(state), right.load_state_dict(state)
    window, noise = make_window(cell, config), left.draw_noise(KEY, B)
    for model, (x, first, masks) in both_ways(left, right, window.x, window.state, noise):
        result = [model.predict(x, first, drawn)[1] for drawn in (masks, Masks())]
        for (_, dropped), (_, plain) in zip(*map(leaves, result), strict=True):
            assert bool((dropped == plain).all()) != DRAWN[scheme][2]


@pytest.mark.parametrize(
    ("cell", "scheme"),
    [
        *(("rnn", scheme) for scheme in SCHEMES),
        *(("lstm", scheme) for scheme in ("none", "per_step", "variational")),
    ],
)
def test_noise_crosses_a_path_as_often_as_the_scheme_says(cell, scheme):
    """L + 1 times outside of time, however long the path; T - 1 times where h_{t-1} is dropped.

    Masks that keep all scale each crossing by 1 / (1 - p). At x = h = b = 0 the network is linear,
    so d y_T / d x_1, a sum over all paths, is scaled by as many of them as there are crossings.
    (Through an LSTM's c a path may avoid any h, so there it is shown for the L + 1 alone.)
    """
    p, q = RATE, 0.65
    for layers, length in itertools.product((1, 3), (2, 7)):
        sizes = {"num_layers": layers, "seq_len": length, "rate": p, "recurrent_rate": q}
        config = make_config(cell, scheme=scheme, **sizes)
        left, right, (x, state, masks) = make_layers(cell, config)
        weights = {n: a * ("bias" not in n) for n, a in left.state_dict().items()}
        left.load_state_dict(weights), right.load_state_dict(tensors(weights))
        zero, dy = type(state)(*map(np.zeros_like, state)), np.zeros((length, B, H))
        dy[-1] = np.random.default_rng(2).normal(size=(B, H))
        _, inputs, recurrent = DRAWN[scheme]
        scale = (1 - p) ** (-(layers + 1) * inputs) * (1 - q) ** (-(length - 1) * recurrent)
        kept = map_arrays(np.ones_like, masks)
        plain = left(0 * x, zero, Masks())[1](dy, *(None for _ in zero))[0][0]
        ours = left(0 * x, zero, kept)[1](dy, *(None for _ in zero))[0][0]
        np.testing.assert_allclose(ours, scale * plain, rtol=1e-12)
        read, first, kept, dright = tensors((0 * x, zero, kept, dy))
        right(read.requires_grad_(), first, kept)[0].backward(dright)
        np.testing.assert_allclose(read.grad[0].numpy(), scale * plain, rtol=1e-12)
