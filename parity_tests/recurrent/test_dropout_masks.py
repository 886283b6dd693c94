"""The masks of dropout in recurrent networks: shapes, bits and rates, and errors for bad ones."""

import itertools
import math
import re

import numpy as np
import pytest
from helpers.dropout_schemes import DRAWN, RATE, on_both_cells, with_each_scheme, with_masks
from helpers.small_recurrent_networks import (
    BAD_RATES,
    KEY,
    WIDTH,
    B,
    H,
    T,
    make_config,
    make_window,
    refusals,
    tensors,
)

import numpy_ref.recurrent.masks
import numpy_ref.recurrent.network
import torch_impl.recurrent.masks
import torch_impl.recurrent.network
from diptych import pairs
from diptych.arrays import leaves, map_arrays, to_numpy
from model_specs.recurrent.dropout import Masks


def draw(cell, scheme, side="left", dtype="float64", size=B, device="cpu", **options):
    """The masks that a model of this scheme draws, and the model."""
    config = make_config(cell, **{"scheme": scheme, "rate": RATE, "num_layers": 3} | options)
    placement = {"device": device} if side == "right" else {}
    model = getattr(pairs.get(cell), side)(config, dtype=dtype, **placement)
    return model.draw_noise(KEY, size), model


@on_both_cells
@with_each_scheme
def test_masks_are_equal_to_the_bit_on_every_path(cell, scheme, device):
    """On both panels and in both dtypes; and a part of a batch has the masks of the whole."""
    words = {"word_rate": 0.4} if cell == "lstm" else {}
    reference, _ = draw(cell, scheme, **words)
    assert len(list(leaves(reference))) == 4 * DRAWN[scheme][1] + 3 * DRAWN[scheme][2] + len(words)
    for side, dtype in itertools.product(("left", "right"), ("float32", "float64")):
        masks, model = draw(cell, scheme, side, dtype, device=device, **words)
        part = model.draw_noise(KEY, 2, first=3)
        for (name, ours), (_, theirs), (_, some) in zip(
            leaves(reference), leaves(masks), leaves(part), strict=True
        ):
            np.testing.assert_array_equal(ours, to_numpy(theirs))
            assert to_numpy(theirs).dtype == bool
            axis = 0 if name == ".words" else 1
            np.testing.assert_array_equal(ours.take([3, 4], axis), to_numpy(some))


@pytest.mark.parametrize("side", ["left", "right"])
def test_by_default_masks_begin_at_the_first_example_and_last_for_the_whole_window(side):
    draw_masks = {"left": numpy_ref.recurrent.masks, "right": torch_impl.recurrent.masks}[
        side
    ].draw_masks
    model = draw("rnn", "per_step", side)[1]
    default, explicit = (
        dict(leaves(draw_masks(model.rnn, KEY, B, **options)))
        for options in ({}, {"length": model.config.seq_len, "first": 0})
    )
    assert default.keys() == explicit.keys() and default
    for name, mask in default.items():
        np.testing.assert_array_equal(to_numpy(mask), to_numpy(explicit[name]))


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

    def within_five_errors(result, probability, count):
        return abs(result - probability) < 5 * math.sqrt(probability * (1 - probability) / count)

    places = [(f"{n}[{i}]", p) for n in rates for i, p in enumerate(getattr(masks, n))]
    for name, mask in places:
        p = rates[name.partition("[")[0]]
        assert within_five_errors(mask.mean(), 1 - p, mask.size), name
        kept, others = p * p + (1 - p) ** 2, [mask[:, 1:] == mask[:, :-1]]
        others += [mask[1:] == mask[:-1]] if len(mask) > 1 else []
        for agreed in others:
            assert within_five_errors(agreed.mean(), kept, agreed.size / 2), (
                name
            )  # neighbours share a mask
    for (name, one), (_, two) in itertools.combinations(places, 2):
        p, q = (rates[which.partition("[")[0]] for which in (name, _))
        assert within_five_errors((one == two).mean(), p * q + (1 - p) * (1 - q), one.size), (
            name,
            _,
        )
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
