"""Predictions, errors and carried states of the recurrent models, step by step from the equations.

Both panels, for every dropout scheme; see helpers/small_text_runs.py for the witness.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.call_either_panel import call
from helpers.small_text_runs import CELLS, KEY, make_corpus, make_panel, make_run, naive_outputs
from scipy.special import log_softmax

from diptych import pairs
from diptych.arrays import map_arrays, to_numpy
from diptych.panels import BACKENDS
from diptych.parity.measures.rows import normwise
from diptych.tasks.sequences import window
from model_specs.common.effects import effective
from model_specs.recurrent.dropout import SCHEMES, Masks

T, B = 4, 3
BOUND = 1e-13
SIZES = {"num_layers": 2, "hidden_dim": 5, "rate": 0.3, "recurrent_rate": 0.2, "seq_len": T}
each_scheme = pytest.mark.parametrize(
    ("cell", "backend", "scheme"), list(itertools.product(CELLS, BACKENDS, SCHEMES))
)


def make_model(cell, backend, scheme):
    """A panel in training mode with words that may be dropped where the model reads words."""
    fields = SIZES | {"scheme": scheme} | ({"word_rate": 0.4} if cell == "lstm" else {})
    fields = effective(pairs.get(cell).config, fields)
    return make_panel(make_run(cell, make_corpus(), fields, backend=backend))


def tokens_of(count):
    """(x, y) of `count` steps of B texts: the same stream, shifted by one."""
    ids = make_corpus().train[: (count + 1) * B].reshape(B, count + 1).T
    return np.ascontiguousarray(ids[:-1]), np.ascontiguousarray(ids[1:])


def arrays_of(panel, batch):
    """A batch in the model's dtypes, as arrays."""
    return map_arrays(to_numpy, panel.convert(batch))


def masks_of(masks, b):
    """The masks of sequence b alone."""
    words = None if masks.words is None else masks.words[b : b + 1]
    fields = (tuple(mask[:, b : b + 1] for mask in part) for part in masks[1:])
    return Masks(words, *fields)


@each_scheme
def test_two_windows_with_their_masks_are_one_pass_over_the_steps(cell, backend, scheme):
    """Outputs, errors and both states; in the second window masks are new and the state goes on."""
    panel = make_model(cell, backend, scheme)
    x, y = tokens_of(2 * T)
    noises = [call(panel.model, "draw_noise", KEY.fold_in(i), B, length=T) for i in range(2)]
    expected = np.stack(
        [
            naive_outputs(panel, x[:, b], [(masks_of(noise, b), T) for noise in noises])
            for b in range(B)
        ],
        axis=1,
    )
    state, weight = None, np.linspace(0.0, 2.0, T * B).reshape(T, B)
    for i, noise in enumerate(noises):
        part = slice(i * T, (i + 1) * T)
        batch = arrays_of(panel, window(panel, x[part], y[part], weight, state=state))
        outputs, state = call(panel.model, "predict", batch.x, batch.state, noise)
        assert normwise(outputs, expected[part]) <= BOUND
        errors, last = call(panel.model, "token_nll", batch, noise)
        log_p = log_softmax(expected[part], axis=-1)
        wanted = -np.take_along_axis(log_p, y[part][..., None], -1)[..., 0]
        assert normwise(errors, wanted) <= BOUND, "token_nll is unweighted"
        loss = call(panel.model, "loss", batch, noise)
        assert float(loss.total) == pytest.approx((weight * wanted).sum() / B, rel=1e-12)
        mean = (weight * wanted).sum() / weight.sum()
        assert float(loss[1]) == pytest.approx(mean, rel=1e-12)
        for ours, theirs in ((last, state), (loss.state, state)):
            for a, b in zip(ours, theirs, strict=True):
                assert a.shape == (2, B, 5) and normwise(a, b) <= BOUND


@pytest.mark.parametrize(("cell", "backend"), list(itertools.product(CELLS, BACKENDS)))
def test_without_masks_nothing_is_dropped(cell, backend):
    """In evaluation mode no masks are drawn; `predict` without noise drops nothing either."""
    panel = make_model(cell, backend, "variational_recurrent")
    x, y = tokens_of(T)
    expected = np.stack([naive_outputs(panel, x[:, b]) for b in range(B)], axis=1)
    batch = arrays_of(panel, window(panel, x, y))
    outputs, _ = call(panel.model, "predict", batch.x, batch.state)
    assert normwise(outputs, expected) <= BOUND
    with panel.evaluating():
        noise = call(panel.model, "draw_noise", KEY, B, length=T)
        assert noise == Masks()
        loss = call(panel.model, "loss", batch, noise)
    log_p = log_softmax(expected, axis=-1)
    errors = -np.take_along_axis(log_p, y[..., None], -1)
    assert float(loss.total) == pytest.approx(errors.sum() / B, rel=1e-12)
    assert float(loss[1]) == pytest.approx(errors.mean(), rel=1e-12)


@pytest.mark.parametrize(("cell", "backend"), list(itertools.product(CELLS, BACKENDS)))
def test_the_zero_state_is_zero(cell, backend):
    panel = make_model(cell, backend, "none")
    state = call(panel.model, "zero_state", B)
    assert state._fields == (("h", "c") if cell == "lstm" else ("h",))
    for part in state:
        assert part.shape == (2, B, 5) and part.dtype == np.float64 and not part.any()
