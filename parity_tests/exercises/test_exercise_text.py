"""Evaluation and inference of the RNN and the LSTM: the same on both panels, and token by token."""

import dataclasses
import math

import numpy as np
import pytest
from helpers.panels_for_exercises import (
    KEY,
    LSTM,
    MLP,
    RNN,
    WORDS,
    assert_close,
    build_panel,
    each_backend,
    each_text_config,
    images,
    tokens,
)
from helpers.small_text_runs import naive_nll, naive_outputs
from scipy.special import softmax

from diptych.exercises import Predictor, evaluate
from diptych.panels import BACKENDS
from diptych.tasks.language import average_nll

STREAM = tokens(43)
NUMBERS = dataclasses.replace(RNN, likelihood="squared_error")


@each_backend
@each_text_config
def test_scores_are_those_of_a_loop_over_single_tokens(config, backend):
    """However the stream is cut, and without dropout."""
    panel = build_panel(config, backend)
    nll = naive_nll(panel, STREAM).mean()
    best = naive_outputs(panel, STREAM[:-1]).argmax(1)
    expected = {"nll": nll, "perplexity": math.exp(nll), "accuracy": (best == STREAM[1:]).mean()}
    for size in (1, 5, 500):
        result = evaluate(panel, STREAM, KEY, batch_size=size)
        assert result.numbers() == pytest.approx(expected, rel=1e-13)
    assert 0 < result.accuracy < 1
    assert average_nll([panel], STREAM, KEY) == pytest.approx(result.nll, rel=1e-13)
    assert panel.model.training


@each_text_config
def test_predictions_are_the_same_on_both_panels(config):
    ours, theirs = (Predictor(build_panel(config, b))(STREAM)._asdict() for b in BACKENDS)
    assert_close(ours, theirs)
    assert all(isinstance(array, np.ndarray) for array in theirs.values())


@each_text_config
def test_a_prediction_is_the_softmax_after_each_token(config):
    panel = build_panel(config, "numpy")
    result = Predictor(panel)(STREAM)
    expected = softmax(naive_outputs(panel, STREAM), axis=1)
    assert result.probabilities.shape == (43, WORDS) and result.nll.shape == (42,)
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(result.nll, naive_nll(panel, STREAM), rtol=1e-12)
    start = Predictor(panel)(STREAM[:9])
    np.testing.assert_allclose(start.probabilities, expected[:9], rtol=1e-12)  # no look ahead
    assert Predictor(panel)(STREAM[:1]).nll.shape == (0,)


@each_backend
@pytest.mark.parametrize(
    ("config", "x", "message"),
    [
        (
            LSTM,
            images(MLP, 3),
            r"x: got float64 \(3, 13\), lstm takes a stream of token ids",
        ),
        (RNN, STREAM[:0], r"x: got int64 \(0,\), rnn takes a stream of token ids"),
        (LSTM, STREAM + 1, "got values from 1 to 7, takes"),
        (RNN, STREAM + 1, r"got values from 1 to 7, takes \[0, 7\)"),
        (RNN, STREAM - 1, r"got values from -1 to 5, takes \[0, 7\)"),
        (
            dataclasses.replace(RNN, likelihood="squared_error"),
            STREAM,
            "panel: got rnn with a loss",
        ),
    ],
)
def test_anything_but_a_text_is_refused(config, x, message, backend):
    panel = build_panel(config, backend)
    with pytest.raises(ValueError, match=message):
        Predictor(panel)(x)
    with pytest.raises(ValueError, match=message):
        evaluate(panel, x, KEY)
    assert panel.model.training


def test_a_text_needs_two_tokens_to_be_scored():
    with pytest.raises(ValueError, match="x: got 1 token, takes 2 or more"):
        evaluate(build_panel(LSTM, "numpy"), STREAM[:1], KEY)


@pytest.mark.parametrize("size", [0, -1])
def test_a_window_has_one_token_or_more(size):
    with pytest.raises(ValueError, match=f"batch_size: got {size}"):
        evaluate(build_panel(LSTM, "numpy"), STREAM, KEY, batch_size=size)
