"""Dropout in recurrent networks: each scheme on both cells, in parity, in bits and in words."""

import itertools
import math
import re

import numpy as np
import pytest
from helpers.finite_differences import derivative_errors
from helpers.small_recurrent_networks import (
    BAD_RATES,
    CELLS,
    KEY,
    WIDTH,
    B,
    H,
    T,
    both_ways,
    make_config,
    make_layers,
    make_masks,
    make_window,
    refusals,
    tensors,
)

import numpy_ref.recurrent.network
import torch_impl.recurrent.network
from diptych import pairs, parity
from diptych.arrays import leaves, map_arrays, to_numpy
from model_specs.recurrent.dropout import SCHEMES, Masks

RATE = 0.3
# scheme -> steps with masks of their own, L + 1 places on the inputs or none, L on h or none
DRAWN = {
    "none": (0, False, False),
    "per_step": (T, True, False),
    "variational": (1, True, False),
    "variational_recurrent": (1, True, True),
    "recurrent": (T, False, True),
}
on_both_cells = pytest.mark.parametrize("cell", CELLS)
with_each_scheme = pytest.mark.parametrize("scheme", SCHEMES)
with_masks = pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "none"])


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
def test_losses_agree_over_the_grid(make_pair, cell, scheme, layers):
    """float64: every row within 1e-13. float32: within the bound from dtype and size."""
    for rate, through, kernel, carried, size in GRID:
        options = {"rate": rate, "recurrent_rate": through}
        config = make_config(cell, num_layers=layers, scheme=scheme, **options)
        for dtype in ("float64", "float32")[: 2 if layers == 2 and size == 1 else 1]:
            left, right = make_pair(config, dtype, cell, kernel=kernel)
            window = make_window(cell, config, size, dtype, carried=carried)
            report = parity.assert_parity(left, right, window, left.draw_noise(KEY, size))
            assert dtype == "float32" or all(row.error <= 1e-13 for row in report.rows), report
            gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
            assert gradients == set(left.state_dict())


@pytest.mark.parametrize("kernel", ["fused", "loop"])
@on_both_cells
@with_each_scheme
def test_layers_agree_in_the_gradients_of_input_and_state(cell, scheme, kernel):
    """The layers alone, with random cotangents on y and on every part of the last state."""
    for layers, size in ((1, B), (2, 1), (3, B)):
        config = make_config(cell, num_layers=layers, scheme=scheme, rate=RATE)
        left, right, arguments = make_layers(cell, config, size, kernel)
        report = parity.assert_parity(left, right, arguments)
        assert all(row.error <= 1e-13 for row in report.rows), report
        gradients = {row.name for row in report.rows if row.kind == "input gradient"}
        states = {f"forward(state.{name})" for name in arguments[1]._fields}
        assert {"forward(x)"} | states <= gradients


# The masks themselves


def draw(cell, scheme, side="left", dtype="float64", size=B, **options):
    """The masks that a model of this scheme draws, and the model."""
    config = make_config(cell, **{"scheme": scheme, "rate": RATE, "num_layers": 3} | options)
    model = getattr(pairs.get(cell), side)(config, dtype=dtype)
    return model.draw_noise(KEY, size), model


@on_both_cells
@with_each_scheme
def test_masks_are_equal_to_the_bit_on_every_path(cell, scheme):
    """On both panels and in both dtypes; and a part of a batch has the masks of the whole."""
    words = {"word_rate": 0.4} if cell == "lstm" else {}
    reference, _ = draw(cell, scheme, **words)
    assert len(list(leaves(reference))) == 4 * DRAWN[scheme][1] + 3 * DRAWN[scheme][2] + len(words)
    for side, dtype in itertools.product(("left", "right"), ("float32", "float64")):
        masks, model = draw(cell, scheme, side, dtype, **words)
        part = model.draw_noise(KEY, 2, first=3)
        for (name, ours), (_, theirs), (_, some) in zip(
            leaves(reference), leaves(masks), leaves(part), strict=True
        ):
            np.testing.assert_array_equal(ours, to_numpy(theirs))
            assert to_numpy(theirs).dtype == bool
            axis = 0 if name == ".words" else 1
            np.testing.assert_array_equal(ours.take([3, 4], axis), to_numpy(some))


@on_both_cells
@with_each_scheme
def test_masks_lie_where_the_scheme_says(cell, scheme):
    """L + 1 places into, between and out of the layers, L on h_{t-1}, or none of these; each of
    the width of what passes there, for every step or for all at once; nothing is left over."""
    masks, model = draw(cell, scheme)
    steps, inputs, recurrent = DRAWN[scheme]
    shapes = [[mask.shape for mask in result] for result in (masks.inputs, masks.recurrent)]
    assert shapes[0] == [(steps, B, width) for width in (WIDTH, H, H, H)] * inputs
    assert shapes[1] == [(steps, B, H)] * 3 * recurrent
    assert masks.words is None
    for same in (model, draw(cell, scheme, "right")[1]):
        other = same.draw_noise(KEY, B, length=T + 3)
        assert {mask.shape[0] for _, mask in leaves(other)} <= {1 if steps == 1 else T + 3}
    without, _ = draw(cell, scheme, rate=0.0)
    assert without == Masks()


@on_both_cells
@with_masks
def test_masks_differ_as_independent_ones_do(cell, scheme):
    """Kept with probability 1 - p, which no 0.3 can take for 0.7; and any two of them, of steps,
    of examples, of places or of draws, agree as often as independent ones: p^2 + (1-p)^2."""
    rates = {"inputs": RATE, "recurrent": 0.15}
    sizes = {"size": 40, "hidden_dim": 70, "recurrent_rate": rates["recurrent"]}
    sizes |= {"input_dim" if cell == "rnn" else "embedding_dim": 70}
    masks, model = draw(cell, scheme, **sizes)
    again, later = model.draw_noise(KEY, 40), model.draw_noise(KEY.fold_in(1), 40)

    def near(result, probability, count):
        return abs(result - probability) < 5 * math.sqrt(probability * (1 - probability) / count)

    places = [(f"{n}[{i}]", p) for n in rates for i, p in enumerate(getattr(masks, n))]
    for name, mask in places:
        p = rates[name.partition("[")[0]]
        assert near(mask.mean(), 1 - p, mask.size), name
        kept, others = p * p + (1 - p) ** 2, [mask[:, 1:] == mask[:, :-1]]
        others += [mask[1:] == mask[:-1]] if len(mask) > 1 else []
        for agreed in others:
            assert near(agreed.mean(), kept, agreed.size / 2), name  # neighbours share a mask
    for (name, one), (_, two) in itertools.combinations(places, 2):
        p, q = (rates[which.partition("[")[0]] for which in (name, _))
        assert near((one == two).mean(), p * q + (1 - p) * (1 - q), one.size), (name, _)
    for (_, one), (_, same), (_, two) in zip(*map(leaves, (masks, again, later)), strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one != two).any()


@pytest.mark.parametrize("side", ["left", "right"])
@on_both_cells
@with_masks
def test_evaluation_drops_nothing_and_training_goes_on_as_before(cell, scheme, side):
    """train -> eval -> train, twice: the same masks again, and in between none are drawn, and any
    that are handed in do nothing."""
    masks, model = draw(cell, scheme, side, **({"word_rate": 0.4} if cell == "lstm" else {}))
    window = make_window(cell, model.config)
    window = window if side == "left" else tensors(window)

    def total(noise):
        loss = model.loss(window, noise)
        return (loss[0] if side == "left" else loss).total.item()

    dropped, plain = total(masks), total(Masks())
    assert dropped != plain
    for _ in range(2):
        assert model.eval().draw_noise(KEY, B) == Masks()
        assert total(masks) == total(Masks()) == plain
        again = model.train().draw_noise(KEY, B)
        assert total(again) == dropped
        for (_, one), (_, two) in zip(leaves(masks), leaves(again), strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(two))


# What a mask does


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


# Bad input


@pytest.mark.parametrize("side", [numpy_ref.recurrent.network, torch_impl.recurrent.network])
@pytest.mark.parametrize("rate", BAD_RATES)
def test_dropout_takes_a_rate_below_1(side, rate):
    with pytest.raises(ValueError, match=rf"^rate: got {rate!r}, takes a number in \[0, 1\)"):
        side.Dropout(rate)


def _bad_masks(good):
    first, *rest = good.inputs
    shapes = (first[:-1], first[:, :-1], first[..., :-1], first[0], first[:0])
    kinds = [first.astype(kind) for kind in (np.float64, np.int64)]
    faults = [*(("shape", bad) for bad in shapes), *(("dtype", bad) for bad in kinds)]
    for what, bad in (*faults, ("list", first.tolist())):
        yield rf"noise\.inputs\[0\]: got {what}", good._replace(inputs=(bad, *rest))
    yield r"noise\.inputs\[2\]: got shape", good._replace(inputs=(*good.inputs[:2], first))
    yield r"noise\.inputs: got 2 masks, takes 3 or none", good._replace(inputs=(first, rest[0]))
    one = good.recurrent[1][..., 1:]
    yield r"noise\.recurrent\[1\]: got shape", good._replace(recurrent=(good.recurrent[0], one))
    thrice = (*good.recurrent, good.recurrent[0])
    yield r"noise\.recurrent: got 3 masks, takes 2 or none", good._replace(recurrent=thrice)


@on_both_cells
def test_bad_masks_are_one_clear_error_in_the_same_words(make_pair, cell):
    config = make_config(cell, num_layers=2, scheme="variational_recurrent", rate=RATE)
    left, right = make_pair(config, name=cell)
    window, shared = make_window(cell, config), left.draw_noise(KEY, B)
    stepwise = map_arrays(lambda mask: mask.repeat(T, 0), shared)
    for good in (shared, stepwise):
        assert refusals(left, right, window, good) == ["accepted"] * 2
        for match, bad in _bad_masks(good):
            ours, theirs = refusals(left, right, window, bad)
            assert ours == theirs
            assert re.match(match, ours) and ", takes " in ours
