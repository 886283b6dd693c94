"""The teaching RNN: parity of its options, trajectories, the contract, the witnesses.

Dropout and the layers of both cells are tested in parity_tests/recurrent.
"""

import math
import re

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors, total_loss
from helpers.random_weights import randomized
from helpers.small_recurrent_networks import (
    BAD_FIELDS,
    KEY,
    B,
    H,
    T,
    V,
    bad_windows,
    both_ways,
    make_config,
    make_window,
    memory_of_a_step,
    refusals,
    tensors,
    trajectories,
)
from scipy.special import log_softmax
from torch.nn import functional as F

import numpy_ref.rnn
import torch_impl.rnn
from diptych import pairs, parity
from diptych.arrays import to_numpy
from model_specs.recurrent.dropout import Masks
from model_specs.rnn import RNNBatch, RNNConfig
from numpy_ref.rnn import SquaredErrorOutput, rnn_cell

NUMBERS = {"likelihood": "squared_error", "recurrent_gain": 0.7}


def test_rnn_left_equals_right_and_torch_nn(rng):
    """The same weights and the same data: equal losses, and equal gradients of every parameter."""
    config = RNNConfig(input_dim=5, hidden_dim=6, num_layers=2, output_dim=4, seq_len=7)
    left, right = numpy_ref.rnn.RNN(config), torch_impl.rnn.RNN(config)
    for parameter in left.parameters():
        parameter.data[...] = rng.normal(0, 0.3, parameter.data.shape)  # biases too
    right.load_state_dict(left.state_dict())
    x, y = rng.normal(size=(7, 3, 5)), rng.integers(0, 4, (7, 3))  # 7 steps of 3 sequences
    data = torch.from_numpy(x), torch.from_numpy(y)

    loss, backward = left.loss(RNNBatch(x, y, left.zero_state(3)), Masks())
    backward()
    right_loss = right.loss(RNNBatch(*data, right.zero_state(3)), Masks())
    right_loss.total.backward()

    rnn, decoder = torch.nn.RNN(5, 6, 2), torch.nn.Linear(6, 4)
    plain = torch.nn.ModuleDict({"rnn": rnn, "decoder": decoder}).double()
    plain.load_state_dict(right.state_dict())
    logits = decoder(rnn(data[0])[0])
    plain_loss = F.cross_entropy(logits.flatten(0, 1), data[1].flatten(), reduction="sum") / 3
    plain_loss.backward()

    np.testing.assert_allclose(loss.total, right_loss.total.item(), rtol=1e-13)
    np.testing.assert_allclose(loss.total, plain_loss.item(), rtol=1e-13)
    for module in (right, plain):
        for name, parameter in module.named_parameters():
            gradient = parameter.grad.numpy()
            np.testing.assert_allclose(
                left.gradients()[name], gradient, rtol=1e-13, atol=1e-13 * abs(gradient).max()
            )


def test_rnn_cell_by_finite_difference(rng):
    a, out = rng.normal(size=(B, H)), np.empty((B, H))
    np.testing.assert_array_equal(rnn_cell(a)[0], np.tanh(a))
    assert rnn_cell(a, out)[0] is out and (out == np.tanh(a)).all()
    assert derivative_errors(rnn_cell, (a,), {}, rng)["[0]"] < 1e-8


@pytest.mark.parametrize("scheme", ["none", "per_step", "variational_recurrent"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_for_outputs_agree(make_pair, dtype, scheme, device):
    """Squared error, and an identity in the recurrent weights; symbols are in test_dropout.py."""
    for size, kernel in ((B, "fused"), (1, "loop")):
        config = make_config("rnn", **NUMBERS, num_layers=2, scheme=scheme, rate=0.3)
        left, right = make_pair(config, dtype, "rnn", kernel=kernel)
        window = make_window("rnn", config, size, dtype)
        report = parity.assert_parity(left, right.to(device), window, left.draw_noise(KEY, size))
        assert dtype == "float32" or all(row.error <= 1e-13 for row in report.rows), report


@pytest.mark.parametrize(
    ("optimizer", "lr", "clip", "options"),
    [
        ("sgd", 0.1, 1.0, {"scheme": "per_step", "rate": 0.3, "num_layers": 2}),
        ("adam", 1e-2, 0.5, {"scheme": "per_step", "rate": 0.3, "num_layers": 2}),
        ("adam", 1e-2, 1.0, NUMBERS | {"scheme": "variational_recurrent", "rate": 0.3}),
    ],
)
def test_a_hundred_steps_with_a_carried_state_end_in_the_same_weights(optimizer, lr, clip, options):
    """And in the same state; the weights have moved, and clipping took part."""
    difference, change = trajectories("rnn", make_config("rnn", **options), optimizer, lr, clip)
    assert difference <= 1e-10
    assert change > 0.01


# Witnesses: neither panel


@pytest.mark.parametrize("options", [{}, NUMBERS, {"scheme": "per_step", "rate": 0.3}])
def test_losses_by_finite_difference(make_pair, options, rng):
    left, _ = make_pair(make_config("rnn", num_layers=2, **options), name="rnn")
    window, noise = make_window("rnn", left.config), left.draw_noise(KEY, B)
    errors = derivative_errors(total_loss(left), (window, noise), left.named_parameters(), rng)
    assert errors.keys() == left.gradients().keys()
    assert max(errors.values()) < 1e-8, errors


def test_squared_error_by_hand_and_by_finite_difference(rng):
    ours, theirs = (
        randomized(SquaredErrorOutput(H, 2), rng),
        torch_impl.rnn.SquaredErrorOutput(H, 2),
    )
    theirs.load_state_dict(tensors(ours.state_dict()))
    h, y = rng.normal(size=(T, B, H)), rng.normal(size=(T, B, 2))
    W, b = ours.weight.data, ours.bias.data
    expected = [
        [sum((W[o] @ h[t, n] + b[o] - y[t, n, o]) ** 2 for o in range(2)) for n in range(B)]
        for t in range(T)
    ]
    np.testing.assert_allclose(ours(h, y)[0], expected, rtol=1e-13)
    np.testing.assert_allclose(theirs(*tensors((h, y))).detach().numpy(), expected, rtol=1e-13)
    errors = derivative_errors(ours, (h, y), ours.named_parameters(), rng)
    assert errors.keys() == {"[0]", "weight", "bias"}
    assert max(errors.values()) < 1e-8, errors


def test_the_equation_by_hand(make_pair):
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h), y_t = W_hy h_t + b_y, one sequence and one step
    at a time; and of it the loss: a sum over steps, a mean over sequences, by scipy."""
    left, right = make_pair(make_config("rnn"), name="rnn")
    window, state = make_window("rnn", left.config), left.state_dict()
    W_xh, W_hh, b_ih, b_hh = (
        state[f"rnn.{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    total, logits = 0.0, np.empty((T, B, V))
    for b in range(B):
        h = window.state.h[0, b]
        for t in range(T):
            h = np.tanh(W_xh @ window.x[t, b] + W_hh @ h + b_ih + b_hh)
            logits[t, b] = state["decoder.weight"] @ h + state["decoder.bias"]
            total -= window.weight[t, b] * log_softmax(logits[t, b])[window.y[t, b]] / B
    for model, (batch,) in both_ways(left, right, window):
        loss = model.loss(batch, Masks())
        loss = loss[0] if model is left else loss
        assert loss.total.item() == pytest.approx(total, rel=1e-13)
        mean = total * B / window.weight.sum()
        assert loss.error.item() == pytest.approx(mean, rel=1e-13)
        outputs, last = model.predict(batch.x, batch.state)
        np.testing.assert_allclose(to_numpy(outputs), logits, rtol=1e-12)
        np.testing.assert_allclose(to_numpy(last.h[0, -1]), h, rtol=1e-12)


# The contract


def test_initial_weights_are_what_they_promise():
    """N(0, weight_std^2), the recurrent ones around a multiple of the identity; biases 0."""
    config = make_config("rnn", hidden_dim=60, weight_std=0.01, recurrent_gain=0.5, num_layers=2)
    left, right = (getattr(pairs.get("rnn"), side)(config, KEY) for side in ("left", "right"))
    assert list(left.state_dict()) == list(right.state_dict())
    for name, array in left.state_dict().items():
        np.testing.assert_allclose(array, right.state_dict()[name].numpy(), rtol=0, atol=1e-15)
        if "bias" in name:
            assert not array.any()
            continue
        drawn = array - (0.5 * np.eye(60) if "weight_hh" in name else 0)
        assert abs(drawn.std() - 0.01) < 5 * 0.01 / math.sqrt(2 * array.size), name
        assert np.abs(drawn).max() < 0.07


FIELDS = [
    *BAD_FIELDS,
    *(("input_dim", 0), ("output_dim", 2.0), ("likelihood", "mse"), ("weight_std", 0)),
    *(("weight_std", math.nan), ("recurrent_gain", -0.1), ("recurrent_gain", math.inf)),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"^{field}: got {value!r}, takes"):
        make_config("rnn", **{field: value})


def _bad_batches(window, numbers):
    yield from bad_windows(window)
    names = ("x", "y") if numbers else ("x",)
    for name in names:
        good = getattr(window, name)
        nan = np.where(good == good.flat[5], np.nan, good)
        for what, bad in (
            ("shape", good[..., 1:]),
            ("shape", good[0]),
            ("shape", good[:0]),
            ("dtype", good.astype(np.float32)),
            ("NaN", nan),
            ("NaN", np.where(np.isnan(nan), -np.inf, nan)),
            ("list", good.tolist()),
        ):
            yield f"{name}: {what}", window._replace(**{name: bad}), f"{name}: got {what}"
    yield "y: shape", window._replace(y=window.y[:, 1:]), "y: got shape"
    if not numbers:
        for bad in (V, -1):
            y = np.where(window.y == window.y[1, 2], bad, window.y)
            yield f"y: {bad}", window._replace(y=y), rf"y: got values from .*\[0, {V}\)"
        yield "y: floats", window._replace(y=window.y.astype(np.float64)), "y: got dtype float64"


@pytest.mark.parametrize("options", [{}, NUMBERS])
def test_bad_batches_are_one_clear_error_in_the_same_words(make_pair, options):
    left, right = make_pair(make_config("rnn", num_layers=2, **options), name="rnn")
    window = make_window("rnn", left.config)
    for what, bad, match in _bad_batches(window, bool(options)):
        ours, theirs = refusals(left, right, bad, Masks())
        assert ours == theirs, what
        assert re.match(match, ours) and ", takes " in ours, (what, ours)


# Memory


@pytest.mark.parametrize("layers", [1, 2])
def test_the_backward_pass_needs_one_array_of_probabilities_and_the_states_of_each_layer(layers):
    """Per step and sequence the loss keeps O numbers, the probabilities; in each layer h, H
    numbers; and 2 H for each of the L + 1 masks (the scale and x times it).

    Beside these there are a few (T, B) arrays, and in each layer one vjp a step: 0.6 KB of Python
    objects are 76 numbers, 2.1 for each of 36 sequences. The bound stays below H = 64, so a
    further array of (T, B, H) is too much.
    """
    kept = memory_of_a_step("rnn", layers, outputs=3000, units=64)
    assert 0 <= kept - 3000 - 64 * (layers + 2 * (layers + 1)) < 2 + 3 * layers
