"""Text drawn from a model: the same on both panels, token by token what the equations give."""

import dataclasses

import numpy as np
import pytest
from helpers.sequence_cases import (
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
DROPS = {"scheme": "per_step", "rate": 0.5}  # which must not drop anything here
QUIET = Console(quiet=True)


def small_panel(cell="lstm", backend="numpy", vocabulary=CORPUS.vocabulary, sharp=1.0):
    """`sharp` multiplies all weights: the larger, the more the next token hangs on those before."""
    corpus = dataclasses.replace(CORPUS, vocabulary=vocabulary)
    panel = make_panel(make_run(cell, corpus, DROPS, backend=backend))
    panel.load_weights({name: sharp * array for name, array in panel.weights().items()})
    return panel


def ignorant(backend, logits):
    """A panel whose logits are these, whatever came before."""
    panel = small_panel(backend=backend)
    weights = panel.weights()
    zero = np.zeros_like(weights["decoder.weight"])
    panel.load_weights(weights | {"decoder.weight": zero, "decoder.bias": logits})
    return panel


def naive_text(panel, count, temperature):
    """Every token from the whole text before it: the first one whose cumulated probability is
    above u, in a loop; or the likeliest."""
    text = [*PROMPT]
    for u in random.uniform(KEY, count):
        logits = naive_outputs(panel, text)[-1]
        token = int(np.argmax(logits))
        if temperature:
            below = 0.0
            for token, p in enumerate(softmax(logits / temperature)):  # noqa: B007
                below += p
                if below > u:
                    break
        text.append(token)
    return text[len(PROMPT) :]


@pytest.mark.parametrize("temperature", [0, 0.4, 1.0, 2.5])
@pytest.mark.parametrize(("cell", "backend"), BOTH)
def test_each_token_is_drawn_given_all_before_it(cell, backend, temperature):
    panel = small_panel(cell, backend, sharp=6)
    result = continue_text(panel, PROMPT, 60, KEY, temperature)
    assert result.dtype == np.int64 and result.tolist() == naive_text(panel, 60, temperature)
    assert len({*result.tolist()}) > 1, "a text of one word would hide mistakes"
    assert panel.model.training


@pytest.mark.parametrize("cell", CELLS)
def test_a_key_names_one_text_on_both_panels(cell):
    texts = {}
    for backend in BACKENDS:
        panel = small_panel(cell, backend)
        for seed in (0, 1):
            texts[backend, seed] = continue_text(panel, PROMPT, 80, KEY.fold_in(seed)).tolist()
        assert texts[backend, 0] == continue_text(panel, PROMPT, 80, KEY.fold_in(0)).tolist()
        # a shorter text is the beginning of a longer one
        assert texts[backend, 0][:9] == continue_text(panel, PROMPT, 9, KEY.fold_in(0)).tolist()
    assert texts["numpy", 0] == texts["torch", 0] != texts["numpy", 1] == texts["torch", 1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-308, 5e-324])
def test_the_colder_the_likelier_and_the_limit_is_the_likeliest(backend, temperature):
    panel = small_panel(backend=backend, sharp=6)
    greedy = continue_text(panel, PROMPT, 40, KEY, 0)
    gaps = []
    for end in range(len(greedy)):
        logits = np.sort(naive_outputs(panel, [*PROMPT, *greedy[:end]])[-1])
        gaps.append(logits[-1] - logits[-2])
    # uniforms are multiples of 2^-24: what is less likely than that by far is not drawn
    assert min(gaps) / 1e-4 > 30 and greedy.any()
    np.testing.assert_array_equal(continue_text(panel, PROMPT, 40, KEY, temperature), greedy)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_as_frequent_as_the_temperature_says(backend, temperature):
    logits, count = np.array([0.7, -1.2, 2.0, 0.0, 1.1, -0.4, 0.3]), 2000
    drawn = continue_text(ignorant(backend, logits), PROMPT, count, KEY, temperature)
    p = np.exp(log_softmax(logits / temperature))
    deviation = np.sqrt(p * (1 - p) / count)
    assert (abs(np.bincount(drawn, minlength=7) / count - p) < 5 * deviation).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_without_probability_is_never_drawn(backend):
    logits = np.full(7, -800.0)
    logits[[2, 4]] = 0.0
    drawn = continue_text(ignorant(backend, logits), PROMPT, 200, KEY)
    assert {*drawn.tolist()} == {2, 4}
    assert continue_text(ignorant(backend, logits), PROMPT, 9, KEY, 0).tolist() == [2] * 9


# What `diptych sample` makes of it


def write(panel, corpus=CORPUS, **asked):
    task = make_task(make_run("lstm", corpus), corpus)
    return task.sample(panel, None, Options(QUIET, **asked))


def test_the_prompt_is_shown_and_the_start_is_not():
    panel, vocabulary = small_panel(), CORPUS.vocabulary
    key = KEY.__class__(5).fold_in("sample")
    ids = vocabulary.encode(["cat", "<eos>", "dog"])
    text = vocabulary.decode([*ids, *continue_text(panel, ids, 12, key, 0.5)])
    assert text.startswith("cat\ndog ")
    assert write(panel, prompt="Cat\n dog", count=12, seed=5, temperature=0.5) == text
    alone = vocabulary.decode(continue_text(panel, np.array([0]), 100, key))
    assert write(panel, seed=5) == write(panel, seed=5, prompt="") == alone


@pytest.mark.parametrize("newline", [True, False])
def test_characters_go_on_from_a_newline_or_from_how_the_text_begins(newline):
    vocabulary = Vocabulary(tuple("\nabcdef" if newline else "gabcdef"), "characters")
    corpus = dataclasses.replace(CORPUS, vocabulary=vocabulary)
    panel, key = small_panel(vocabulary=vocabulary), KEY.__class__(0).fold_in("sample")
    start = np.zeros(1, np.int64) if newline else CORPUS.train[:1]
    assert newline or start[0] != 0
    text = vocabulary.decode(continue_text(panel, start, 30, key))
    assert write(panel, corpus, count=30) == text
    assert write(panel, corpus, prompt="fa", count=3).startswith("fa")


@pytest.mark.parametrize(
    ("asked", "said"),
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
def test_what_cannot_be_gone_on_from_is_one_clear_error(asked, said):
    with pytest.raises(ValueError, match=said) as caught:
        write(small_panel(), **asked)
    assert "\n" not in str(caught.value)
