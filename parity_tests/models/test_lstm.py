"""The LSTM language model: parity of its options, trajectories, witnesses, the loss, memory.

Its contract is tested in test_lstm_contract.py; dropout and the layers of both cells are tested in
parity_tests/recurrent.
"""

import math

import numpy as np
import pytest
import torch
from helpers.finite_differences import derivative_errors, total_loss
from helpers.random_weights import randomized
from helpers.small_recurrent_networks import (
    KEY,
    B,
    H,
    T,
    V,
    both_ways,
    make_config,
    make_window,
    memory_of_a_step,
    tensors,
    trajectories,
)
from scipy.special import log_softmax
from torch.nn import functional as F

import numpy_ref.lstm
import torch_impl.lstm
import torch_impl.recurrent.network
from diptych import parity
from diptych.arrays import to_numpy
from diptych.parity.measures.rows import normwise
from model_specs.lstm import LSTMBatch, LSTMConfig
from model_specs.recurrent.dropout import Masks
from numpy_ref.lstm import lstm_cell
from numpy_ref.nn import functional
from numpy_ref.nn.layers import Embedding
from numpy_ref.recurrent.network import SoftmaxOutput

TIED = {"tied": True, "embedding_dim": H}
GAL = {"scheme": "variational_recurrent", "rate": 0.3, "recurrent_rate": 0.15, "word_rate": 0.4}


def test_lstm_left_equals_right_and_torch_nn(rng):
    """The same weights and the same text: equal losses, and equal gradients of every parameter."""
    config = LSTMConfig(vocab_size=11, embedding_dim=5, hidden_dim=6, num_layers=2, seq_len=7)
    left, right = numpy_ref.lstm.LSTM(config), torch_impl.lstm.LSTM(config)
    right.load_state_dict(left.state_dict())
    x, y = rng.integers(0, 11, (2, 7, 3))  # 7 steps of 3 texts
    tokens = torch.from_numpy(x), torch.from_numpy(y)

    loss, backward = left.loss(LSTMBatch(x, y, left.zero_state(3)), Masks())
    backward()
    right_loss = right.loss(LSTMBatch(*tokens, right.zero_state(3)), Masks())
    right_loss.total.backward()

    embedding, lstm = torch.nn.Embedding(11, 5), torch.nn.LSTM(5, 6, 2)
    decoder = torch.nn.Linear(6, 11)
    modules = {"embedding": embedding, "lstm": lstm, "decoder": decoder}
    plain = torch.nn.ModuleDict(modules).double()
    plain.load_state_dict(right.state_dict())
    logits = decoder(lstm(embedding(tokens[0]))[0])
    plain_loss = F.cross_entropy(logits.flatten(0, 1), tokens[1].flatten(), reduction="sum") / 3
    plain_loss.backward()

    np.testing.assert_allclose(loss.total, right_loss.total.item(), rtol=1e-13)
    np.testing.assert_allclose(loss.total, plain_loss.item(), rtol=1e-13)
    for module in (right, plain):
        for name, parameter in module.named_parameters():
            gradient = parameter.grad.numpy()
            np.testing.assert_allclose(
                left.gradients()[name], gradient, rtol=1e-13, atol=1e-13 * abs(gradient).max()
            )


def test_lstm_cell_equals_torch_nn_and_finite_differences(rng):
    a, c_prev, dh, dc = rng.normal(size=(B, 4 * H)), *rng.normal(size=(3, B, H))
    (h, c), vjp = lstm_cell(a, c_prev)
    cell = torch.nn.LSTMCell(4 * H, H, bias=False, dtype=torch.float64)
    read, first = torch.tensor(a, requires_grad=True), torch.tensor(c_prev, requires_grad=True)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.eye(4 * H)), cell.weight_hh.zero_()  # so that a = x
    result = cell(read, (torch.zeros(B, H, dtype=torch.float64), first))
    torch.autograd.backward(result, tensors((dh, dc)))
    wanted = [array.detach().numpy() for array in (*result, read.grad, first.grad)]
    for ours, theirs in zip((h, c, *vjp(dh, dc)), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-15)
    errors = derivative_errors(lstm_cell, (a, c_prev), {}, rng)
    assert errors.keys() == {"[0]", "[1]"} and max(errors.values()) < 1e-8, errors


def test_softmax_output_equals_linear_then_cross_entropy(rng):
    """The output layer works in blocks and in place; the two plain functions are its witness."""
    layer, h = (
        randomized(SoftmaxOutput(H, 9000), rng),
        rng.normal(size=(T, B, H)),
    )  # many blocks
    y, derror = rng.integers(0, 9000, (T, B)), rng.normal(size=(T, B))
    error, vjp = layer(h, y)
    logits, logits_vjp = functional.linear(h, layer.weight.data, layer.bias.data)
    plain, plain_vjp = functional.cross_entropy(logits.reshape(T * B, -1), y.flatten())
    wanted = logits_vjp(plain_vjp(derror.flatten()).reshape(logits.shape))
    np.testing.assert_allclose(error, plain.reshape(T, B), rtol=1e-13)
    for ours, theirs in zip((vjp(derror), layer.weight.grad, layer.bias.grad), wanted, strict=True):
        assert normwise(ours, theirs) <= 1e-13


@pytest.mark.parametrize(
    "options",
    [
        TIED | {"num_layers": 3},
        {"word_rate": 0.4},
        TIED | GAL | {"num_layers": 2, "forget_bias": 1.5},
        {"scheme": "per_step", "rate": 0.65, "word_rate": 0.4, "forget_bias": 1.0},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_option_agrees(make_pair, dtype, options, device):
    for size, kernel in ((B, "fused"), (1, "loop")):
        config = make_config("lstm", **options)
        left, right = make_pair(config, dtype, "lstm", kernel=kernel)
        window = make_window("lstm", config, size, dtype)
        report = parity.assert_parity(left, right.to(device), window, left.draw_noise(KEY, size))
        assert dtype == "float32" or all(row.error <= 1e-13 for row in report.rows), report
        assert ("decoder.weight" in left.gradients()) != config.tied


@pytest.mark.parametrize(
    ("optimizer", "lr", "clip", "options"),
    [
        ("sgd", 1.0, 1.0, {"scheme": "per_step", "rate": 0.3, "num_layers": 2}),
        ("adam", 1e-2, 0.5, {"scheme": "per_step", "rate": 0.3, "num_layers": 2}),
        ("sgd", 1.0, 1.0, TIED | GAL),
    ],
)
def test_a_hundred_steps_with_a_carried_state_end_in_the_same_weights(optimizer, lr, clip, options):
    """And in the same state; the weights have moved, and clipping took part."""
    difference, change = trajectories("lstm", make_config("lstm", **options), optimizer, lr, clip)
    assert difference <= 1e-10
    assert change > 0.01


# Witnesses: neither panel


@pytest.mark.parametrize("options", [{"num_layers": 2}, TIED | GAL, {"word_rate": 0.4}])
def test_losses_by_finite_difference(make_pair, options, rng):
    left, _ = make_pair(make_config("lstm", **options), name="lstm")
    window, noise = make_window("lstm", left.config), left.draw_noise(KEY, B)
    errors = derivative_errors(total_loss(left), (window, noise), left.named_parameters(), rng)
    assert errors.keys() == left.gradients().keys()
    assert max(errors.values()) < 1e-8, errors


def test_embedding_by_finite_difference(rng):
    """With ids that come again, ids that do not come, and one id alone."""
    for ids in (np.array([[3, 0, 3], [3, 4, 0]]), np.array([[2]])):
        layer = randomized(Embedding(6, H), rng)
        np.testing.assert_array_equal(layer(ids)[0][0, 0], layer.weight.data[ids[0, 0]])
        errors = derivative_errors(layer, (ids,), layer.named_parameters(), rng)
        assert errors.keys() == {"weight"} and errors["weight"] < 1e-8
        unread = np.setdiff1d(np.arange(6), ids)
        assert not layer.weight.grad[unread].any()


@pytest.mark.parametrize("rows", [(T, B), (1, 1), (7, 11)])
def test_softmax_by_finite_difference(rows, rng):
    """Fewer rows and more than are worked on at once; targets that come again."""
    layer = randomized(SoftmaxOutput(H, V), rng)
    h, y = rng.normal(size=(*rows, H)), rng.integers(0, V, rows)
    errors = derivative_errors(layer, (h, y), layer.named_parameters(), rng)
    assert errors.keys() == {"[0]", "weight", "bias"}
    assert max(errors.values()) < 1e-8, errors


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e300])
def test_nll_is_scipys_whatever_the_logits(scale, rng):
    """-log softmax by scipy: logits of 1e4 overflow nothing, and no digit of theirs is lost."""
    ours, theirs = (
        randomized(SoftmaxOutput(H, V), rng),
        torch_impl.recurrent.network.SoftmaxOutput(H, V),
    )
    for parameter in ours.parameters():
        parameter.data *= scale
    theirs.load_state_dict(tensors(ours.state_dict()))
    h, y = rng.normal(size=(7, 11, H)), rng.integers(0, V, (7, 11))
    logits = h @ ours.weight.data.T + ours.bias.data
    expected = -np.take_along_axis(log_softmax(logits, -1), y[..., None], -1)[..., 0]
    for model, arguments in both_ways(ours, theirs, h, y):
        result = model(*arguments)
        nll = result[0] if model is ours else result.detach().numpy()
        np.testing.assert_allclose(nll, expected, rtol=1e-12, atol=1e-15)
        assert model is theirs or np.isfinite(result[1](np.ones((7, 11)))).all()


# What the loss is


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_loss_is_a_sum_over_steps_and_a_mean_over_texts(make_pair, side):
    """Written down anew from predict's logits by scipy: weighted, and with no weights."""
    config = make_config("lstm", num_layers=2, **GAL)
    model = make_pair(config, name="lstm")[side == "right"]
    noise = model.draw_noise(KEY, B)
    for carried in (True, False):
        window = make_window("lstm", config, carried=carried)
        batch = window if side == "left" else tensors(window)
        loss = model.loss(batch, noise)
        loss = loss[0] if side == "left" else loss
        logits, state = model.predict(batch.x, batch.state, noise)
        nll, same = model.token_nll(batch, noise)
        log_p = log_softmax(to_numpy(logits), -1)
        expected = -np.take_along_axis(log_p, window.y[..., None], -1)[..., 0]
        np.testing.assert_allclose(to_numpy(nll), expected, rtol=1e-13)
        w = np.ones((T, B)) if window.weight is None else window.weight
        per_text = [sum(w[t, b] * expected[t, b] for t in range(T)) for b in range(B)]
        assert loss.total.item() == pytest.approx(sum(per_text) / B, rel=1e-13)
        assert loss.nll.item() == pytest.approx(sum(per_text) / w.sum(), rel=1e-13)
        for one, two, three in zip(state, same, loss.state, strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(two))
            np.testing.assert_array_equal(to_numpy(one), to_numpy(three))
            assert side == "left" or not three.requires_grad


def test_perplexity_of_a_model_that_knows_nothing_is_the_vocabulary(make_pair):
    left, right = make_pair(make_config("lstm"), name="lstm")
    state = left.state_dict()
    state["decoder.weight"][...], state["decoder.bias"][...] = 0, 1.7
    left.load_state_dict(state), right.load_state_dict(state)
    window = make_window("lstm", left.config)
    for model, (batch,) in both_ways(left, right, window):
        loss = model.loss(batch, Masks())
        nll = (loss[0] if model is left else loss).nll.item()
        assert nll == pytest.approx(math.log(V), rel=1e-15)
        assert math.exp(nll) == pytest.approx(V, rel=1e-14)


def test_a_dropped_word_is_dropped_wherever_it_stands(make_pair):
    """Its vector plays no part in the texts where it is dropped, and does in the others."""
    left, right = make_pair(make_config("lstm", word_rate=0.4), name="lstm")
    window, word = make_window("lstm", left.config), 4
    x = window.x.copy()
    x[[0, 3]] = word
    noise = left.draw_noise(KEY, B)
    np.testing.assert_array_equal(noise.words.shape, (B, V))
    dropped = ~noise.words[:, word]
    assert 0 < dropped.sum() < B
    result = []
    for vector in (0.3, 5.0):
        state = left.state_dict()
        state["embedding.weight"][word] = vector
        left.load_state_dict(state), right.load_state_dict(state)
        result.append(
            [to_numpy(m.predict(*a)[0]) for m, a in both_ways(left, right, x, window.state, noise)]
        )
    for one, two in zip(*result, strict=True):
        same = (one == two).all((0, 2))
        np.testing.assert_array_equal(same, dropped)


# Memory


@pytest.mark.parametrize("layers", [1, 2])
def test_the_backward_pass_needs_one_array_of_probabilities_and_seven_of_each_layer(layers):
    """Per step and sequence the loss keeps V numbers, the probabilities; in each layer 7 H (four
    gates, h, c and tanh c); and 2 H for each of the L + 1 masks (the scale and x times it).

    Beside these there are a few (T, B) arrays, and in each layer one vjp a step: 1.3 KB of Python
    objects are 160 numbers, 4.5 for each of 36 sequences. The bound stays below H = 64, so a
    further array of (T, B, H) is too much, not to mention (T, B, 4 H) or (T, B, V).
    """
    kept = memory_of_a_step("lstm", layers, outputs=3000, units=64)
    assert 0 <= kept - 3000 - 64 * (7 * layers + 2 * (layers + 1)) < 2 + 5 * layers
