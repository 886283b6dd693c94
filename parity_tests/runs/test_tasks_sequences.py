"""Perplexity against a loop over single tokens, and the score of a memory task against a count."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from helpers.small_text_runs import (
    BOTH,
    KEY,
    TOLERANCE,
    make_corpus,
    make_panel,
    make_run,
    naive_nll,
    naive_outputs,
)
from rich.console import Console
from scipy.special import log_softmax

from diptych import data
from diptych.panels import BACKENDS
from diptych.tasks import Options, language, make_task
from diptych.tasks.language import average_nll
from model_specs.common.key import Key

CORPUS = make_corpus()
QUIET = Console(quiet=True)
NOISY = {"scheme": "variational_recurrent", "rate": 0.3, "recurrent_rate": 0.2}
SCHEMES = [
    ("rnn", {"scheme": "per_step", "rate": 0.3}),
    ("rnn", NOISY),
    ("lstm", {"scheme": "per_step", "rate": 0.3}),
    ("lstm", NOISY | {"word_rate": 0.25}),
]


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    """Windows of 7 tokens in evaluation: small streams then have many, and a shorter last one."""
    monkeypatch.setattr(language, "LENGTH", 7)


def small_panel(cell="lstm", backend="numpy", fields=None, **options):
    return make_panel(make_run(cell, CORPUS, fields, backend=backend, **options))


def close(value):
    return pytest.approx(value, rel=TOLERANCE)


# Perplexity


@pytest.mark.parametrize(("cell", "backend"), BOTH)
@pytest.mark.parametrize("tokens", [2, 7, 8, 9, 97])
@pytest.mark.parametrize("length", [1, 7, 64])
def test_a_stream_of_any_length_is_read_as_one(monkeypatch, cell, backend, tokens, length):
    """However the windows fall: each token counts once, given all that stand before it."""
    monkeypatch.setattr(language, "LENGTH", length)
    panel, stream = small_panel(cell, backend, NOISY), CORPUS.test[:tokens]
    counted = []
    result = average_nll([panel], stream, KEY, progress=counted.append)
    assert result == close(naive_nll(panel, stream).mean())
    assert sum(counted) == tokens - 1
    assert panel.model.training


@pytest.mark.parametrize(("cell", "backend"), BOTH)
@pytest.mark.parametrize(("streams", "piece"), [(4, 32), (1, 131), (90, 2)])
def test_validation_reads_pieces_side_by_side(cell, backend, streams, piece):
    """131 tokens: what is over is not read, and a batch larger than half of them is made smaller.
    The mean is over tokens, though the last window is shorter than the others."""
    corpus = dataclasses.replace(CORPUS, train=make_corpus(train=1000).train)
    run = make_run(cell, corpus, backend=backend, batch_size=streams)
    panel = make_panel(run)
    starts = range(0, min(streams, 65) * piece, piece)
    parts = [naive_nll(panel, corpus.valid[start : start + piece]) for start in starts]
    result = make_task(run, corpus).validate(panel)
    mean = np.concatenate(parts).mean()
    assert result == {"nll": close(mean), "perplexity": close(math.exp(mean))}
    assert next(iter(result)) == "nll", "the first number decides which weights are the best"


def test_an_assessment_tells_of_its_split_in_nats_and_bits():
    run = make_run("lstm", CORPUS)
    panel, task = make_panel(run), make_task(run, CORPUS)
    for split, examples in (("test", None), ("valid", 10), ("train", 1000)):
        result = task.assess([panel], Options(QUIET, split, examples=examples))
        stream = getattr(CORPUS, split)[: None if examples is None else examples + 1]
        nll = naive_nll(panel, stream).mean()
        numbers = {"perplexity": close(math.exp(nll)), "nll": close(nll), "samples": 0}
        numbers |= {"tokens": len(stream) - 1}
        assert result.metrics == {f"{split}_{k}": v for k, v in numbers.items()} | {"runs": 1}
        shown = [(f"{math.exp(nll):.2f}", ""), (f"{nll:.4f}", "nats/word")]
        assert [line[1:] for line in result.lines] == [
            *shown,
            (f"{nll / math.log(2):.4f}", "bits/word"),
        ]


# Averages of probabilities


def windows_of(panel, key, steps):
    """The masks of one pass, drawn window by window."""
    lengths = [min(7, steps - start) for start in range(0, steps, 7)]
    draw = panel.model.draw_noise
    return [(draw(key.fold_in(i), 1, length=n), n) for i, n in enumerate(lengths)]


def passes(panel, stream, index, samples):
    """-log p of every token in each of the passes with dropout, (K, N - 1)."""
    keys = [KEY.fold_in(index).fold_in(k) for k in range(samples)]
    steps = len(stream) - 1
    return np.array([naive_nll(panel, stream, windows_of(panel, key, steps)) for key in keys])


def mean_of(nll):
    """-log of the mean probability of each token, averaged."""
    return -np.log(np.exp(-nll).mean(0)).mean()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("cell", "fields"), SCHEMES, ids=str)
def test_dropout_passes_are_averaged_as_probabilities(cell, fields, backend):
    panel, stream = small_panel(cell, backend, fields), CORPUS.test[:40]
    nll = passes(panel, stream, 0, 4)
    result = average_nll([panel], stream, KEY, samples=4)
    assert result == close(mean_of(nll))
    # Jensen: with log-probabilities averaged it would be larger, and here by far
    assert nll.mean() - result > 1e-3
    assert average_nll([panel], stream, KEY, samples=1) == close(nll[0].mean())
    assert abs(average_nll([panel], stream, KEY) - nll[0].mean()) > 1e-3


def test_passes_depend_on_the_seed_alone():
    """Not on the batch size of the training, nor on what was evaluated before; and they leave the
    model as they found it."""
    fields, ask = dict(SCHEMES[-1][1]), Options(QUIET, samples=2, examples=20)
    result = {}
    for seed, batch_size in itertools.product((0, 1), (3, 5)):
        run = make_run("lstm", CORPUS, fields, batch_size=batch_size, seed=seed)
        panel, task = make_panel(run), make_task(run, CORPUS)
        panel.load_weights(small_panel(fields=fields).weights())
        panel.model.eval()
        first, exact = task.assess([panel], ask), task.assess([panel], Options(QUIET))
        assert task.assess([panel], ask).metrics == first.metrics
        assert task.assess([panel], Options(QUIET)).metrics == exact.metrics
        assert not panel.model.training and first.metrics["test_samples"] == 2
        result[seed, batch_size] = first.metrics["test_nll"]
    assert result[0, 3] == result[0, 5] != result[1, 3] == result[1, 5]


@pytest.mark.parametrize("samples", [0, 2])
def test_runs_are_averaged_as_probabilities(samples):
    """Two kinds of model, two sizes, both panels, each with masks of its own."""
    noisy = {"scheme": "per_step", "rate": 0.3}
    panels = [
        small_panel("lstm", "numpy", noisy),
        small_panel("lstm", "torch", noisy | {"hidden_dim": 6}, seed=9),
        small_panel("rnn", "torch", noisy),
    ]
    stream = CORPUS.test[:40]
    if samples:
        nll = np.concatenate([passes(p, stream, i, samples) for i, p in enumerate(panels)])
    else:
        nll = np.array([naive_nll(panel, stream) for panel in panels])
    result = average_nll(panels, stream, KEY, samples)
    assert result == close(mean_of(nll)) and nll.mean() - result > 1e-3
    task = make_task(make_run("lstm", CORPUS), CORPUS)
    assert task.assess(panels, Options(QUIET)).metrics["runs"] == 3


@pytest.mark.parametrize("samples", [0, -2])
def test_a_number_of_passes_below_one_is_an_error(samples):
    run = make_run("lstm", CORPUS)
    with pytest.raises(ValueError, match=f"samples: got {samples}, takes an int >= 1"):
        make_task(run, CORPUS).assess([make_panel(run)], Options(QUIET, samples=samples))


def test_a_model_of_another_vocabulary_is_an_error():
    panel, other = (make_panel(make_run("lstm", make_corpus(words=n))) for n in (7, 3))
    with pytest.raises(ValueError, match=r"got values from 1 to 6, takes \[0, 3\)"):
        average_nll([panel, other], CORPUS.test, KEY)


@pytest.mark.parametrize(
    ("cell", "field"), [("rnn", "input_dim"), ("rnn", "output_dim"), ("lstm", "vocab_size")]
)
@pytest.mark.parametrize("size", [6, 8])
def test_a_size_that_is_not_the_vocabularys_is_one_error(cell, field, size):
    with pytest.raises(ValueError, match=f"{field}: got {size}, takes 7 for toy"):
        make_run(cell, CORPUS, {field: size})


# Memory tasks


MEMORY = [("rnn", "copy:5:3"), ("lstm", "copy:5:3"), ("rnn", "adding:6")]


@pytest.mark.parametrize(("cell", "name"), MEMORY)
def test_each_sequence_of_a_run_depends_on_its_number_alone(cell, name):
    """The size of the batches does not matter: three of 5 are five of 3, in both epochs."""
    drawn = {}
    for size in (3, 5):
        task = make_task(make_run(cell, data.load(name), batch_size=size, seed=4), data.load(name))
        assert task.steps_per_epoch == 100
        batches = [task.batch(None, 0, i) for i in range(15 // size)]
        drawn[size] = [np.concatenate(part, 1) for part in zip(*batches, strict=True)]
        later = task.batch(None, 1, 2)
        whole = data.load(name).draw(Key(4).fold_in("sequences"), size, 102 * size)
        for ours, theirs in zip(later, whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for three, five in zip(drawn[3], drawn[5], strict=True):
        np.testing.assert_array_equal(three, five)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("cell", "name"), MEMORY)
def test_a_memory_task_is_scored_by_its_answers(cell, name, backend):
    source, count = data.load(name), 150
    run = make_run(cell, source, NOISY, backend=backend, dtype="float64")
    panel, task = make_panel(run), make_task(run, source)
    if name.startswith("adding"):  # a guess of 1 is right now and then
        panel.load_weights(panel.weights() | {"decoder.bias": np.ones(1)})
    result = {}
    for split in ("valid", "test"):
        x, y, weight = source.draw(Key(0).fold_in("memory").fold_in(split), count)
        errors, right = [], []
        for n in range(count):
            outputs = naive_outputs(panel, x[:, n])
            for t in np.flatnonzero(weight[:, n]):
                if name.startswith("copy"):
                    errors.append(-log_softmax(outputs[t])[y[t, n]])
                    right.append(outputs[t].argmax() == y[t, n])
                else:
                    errors.append((outputs[t, 0] - y[t, n, 0]) ** 2)
                    right.append(abs(outputs[t, 0] - y[t, n, 0]) < 0.04)
        metrics = task.assess([panel], Options(QUIET, split, examples=count)).metrics
        expected = {"error": close(np.mean(errors)), "accuracy": np.mean(right), "sequences": count}
        assert metrics == {f"{split}_{k}": v for k, v in expected.items()}
        assert 0 < np.mean(right) < 1
        result[split] = metrics[f"{split}_error"]
    assert result["valid"] != result["test"]


def test_options_that_a_memory_task_does_not_take_are_errors():
    source = data.load("copy:5:3")
    run = make_run("rnn", source)
    panel, task = make_panel(run), make_task(run, source)
    with pytest.raises(ValueError, match="runs: got 2, memory takes one"):
        task.assess([panel, panel], Options(QUIET))
    for examples in (0, -1):
        with pytest.raises(ValueError, match=f"count: got {examples}"):
            task.assess([panel], Options(QUIET, examples=examples))
