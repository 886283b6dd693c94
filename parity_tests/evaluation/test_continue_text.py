"""continue_text and `diptych sample`: both panels draw the same text, as a naive loop does."""

import dataclasses

import numpy as np
import pytest
from helpers.small_text_runs import (
    BOTH,
    CELLS,
    KEY,
    make_corpus,
    make_panel,
    make_run,
    naive_outputs,
)
from rich.console import Console
from scipy.special import log_softmax, softmax

from diptych.data import Vocabulary
from diptych.panels import BACKENDS
from diptych.tasks import Options, make_task
from diptych.tasks.language import continue_text
from numpy_ref.nn import random

CORPUS = make_corpus()
PROMPT = np.array([3, 1, 4])
DROPOUT = {"scheme": "per_step", "rate": 0.5}  # must be off while sampling
QUIET = Console(quiet=True)


def small_panel(cell="lstm", backend="numpy", vocabulary=CORPUS.vocabulary, scale=1.0):
    """Make a panel; `scale` multiplies all weights, so that tokens depend more on earlier ones."""
    corpus = dataclasses.replace(CORPUS, vocabulary=vocabulary)
    panel = make_panel(make_run(cell, corpus, DROPOUT, backend=backend))
    panel.load_weights({name: scale * array for name, array in panel.weights().items()})
    return panel


def panel_with_constant_logits(backend, logits):
    """Make a panel whose logits do not depend on the earlier tokens."""
    panel = small_panel(backend=backend)
    weights = panel.weights()
    zero = np.zeros_like(weights["decoder.weight"])
    panel.load_weights(weights | {"decoder.weight": zero, "decoder.bias": logits})
    return panel


def naive_text(panel, count, temperature):
    """Draw each token with a forward pass over the whole text.

    A token is the first whose cumulative probability is above u; at temperature 0, the most likely.
    """
    text = [*PROMPT]
    for u in random.uniform(KEY, count):
        logits = naive_outputs(panel, text)[-1]
        token = int(np.argmax(logits))
        if temperature:
            cumulative = 0.0
            for token, p in enumerate(softmax(logits / temperature)):  # noqa: B007
                cumulative += p
                if cumulative > u:
                    break
        text.append(token)
    return text[len(PROMPT) :]


@pytest.mark.parametrize("temperature", [0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_each_token_depends_on_all_earlier_tokens(cell, backend, temperature):
    panel = small_panel(cell, backend, scale=6)
    text = continue_text(panel, PROMPT, 60, KEY, temperature)
    assert text.dtype == np.int64 and text.tolist() == naive_text(panel, 60, temperature)
    assert len({*text.tolist()}) > 1, "the text repeats one token"
    assert panel.model.training


@pytest.mark.parametrize("cell", CELLS)
def test_a_key_gives_the_same_text_on_both_panels(cell):
    texts = {}
    for backend in BACKENDS:
        panel = small_panel(cell, backend)
        for seed in (0, 1):
            texts[backend, seed] = continue_text(panel, PROMPT, 80, KEY.fold_in(seed)).tolist()
        assert texts[backend, 0] == continue_text(panel, PROMPT, 80, KEY.fold_in(0)).tolist()
        # a shorter text is a prefix of a longer one
        assert texts[backend, 0][:9] == continue_text(panel, PROMPT, 9, KEY.fold_in(0)).tolist()
    assert texts["numpy", 0] == texts["torch", 0] != texts["numpy", 1] == texts["torch", 1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-308, 5e-324])
def test_low_temperatures_give_the_most_likely_tokens(backend, temperature):
    panel = small_panel(backend=backend, scale=6)
    greedy = continue_text(panel, PROMPT, 40, KEY, 0)
    gaps = []
    for end in range(len(greedy)):
        logits = np.sort(naive_outputs(panel, [*PROMPT, *greedy[:end]])[-1])
        gaps.append(logits[-1] - logits[-2])
    # uniforms are multiples of 2^-24, so much less likely tokens are never drawn
    assert min(gaps) / 1e-4 > 30 and greedy.any()
    np.testing.assert_array_equal(continue_text(panel, PROMPT, 40, KEY, temperature), greedy)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_token_frequencies_are_the_probabilities(backend, temperature):
    logits, count = np.array([0.7, -1.2, 2.0, 0.0, 1.1, -0.4, 0.3]), 2000
    tokens = continue_text(
        panel_with_constant_logits(backend, logits), PROMPT, count, KEY, temperature
    )
    p = np.exp(log_softmax(logits / temperature))
    deviation = np.sqrt(p * (1 - p) / count)
    assert (abs(np.bincount(tokens, minlength=7) / count - p) < 5 * deviation).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_of_probability_0_is_never_drawn(backend):
    logits = np.full(7, -800.0)
    logits[[2, 4]] = 0.0
    panel = panel_with_constant_logits(backend, logits)
    assert {*continue_text(panel, PROMPT, 200, KEY).tolist()} == {2, 4}
    assert continue_text(panel, PROMPT, 9, KEY, 0).tolist() == [2] * 9


# `diptych sample`


def sample(panel, corpus=CORPUS, **options):
    task = make_task(make_run("lstm", corpus), corpus)
    return task.sample(panel, None, Options(QUIET, **options))


def test_the_prompt_is_printed_and_the_default_start_is_not():
    panel, vocabulary = small_panel(), CORPUS.vocabulary
    key = KEY.__class__(5).fold_in("sample")
    ids = vocabulary.encode(["cat", "<eos>", "dog"])
    text = vocabulary.decode([*ids, *continue_text(panel, ids, 12, key, 0.5)])
    assert text.startswith("cat\ndog ")
    assert sample(panel, prompt="Cat\n dog", count=12, seed=5, temperature=0.5) == text
    without_prompt = vocabulary.decode(continue_text(panel, np.array([0]), 100, key))
    assert sample(panel, seed=5) == sample(panel, seed=5, prompt="") == without_prompt


@pytest.mark.parametrize("newline", [True, False])
def test_characters_start_from_a_newline_or_else_from_the_first_token_of_the_vocabulary(newline):
    vocabulary = Vocabulary(tuple("\nabcdef" if newline else "gabcdef"), "characters")
    corpus = dataclasses.replace(CORPUS, vocabulary=vocabulary)
    panel, key = small_panel(vocabulary=vocabulary), KEY.__class__(0).fold_in("sample")
    start = np.zeros(1, np.int64)
    text = vocabulary.decode(continue_text(panel, start, 30, key))
    assert sample(panel, corpus, count=30) == text
    assert sample(panel, corpus, prompt="fa", count=3).startswith("fa")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "red horse"}, r"tokens: got 'horse' at position 1, takes one of 7 words"),
        ({"prompt": "  "}, "prompt: got 0 tokens, takes 1 or more"),
        ({"temperature": -0.1}, r"temperature: got -0\.1, takes a finite number >= 0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"temperature": float("inf")}, "temperature: got inf"),
        ({"count": 0}, "count: got 0, takes an int >= 1"),
    ],
    ids=str,
)
def test_invalid_options_give_one_clear_error(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        sample(small_panel(), **options)
    assert "\n" not in str(caught.value)
