"""Shared by tests of runs on text: small streams, small runs, and a witness token by token."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax

from diptych.data import Corpus, MemoryTask, Vocabulary
from diptych.panels import BACKENDS, Panel
from diptych.runs.config import RunConfig
from diptych.training.presets import settings
from diptych.training.train import build
from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks
from numpy_ref.nn import random

CELLS = ("rnn", "lstm")
BOTH = [(cell, backend) for cell in CELLS for backend in BACKENDS]
KEY = Key(23)
WORDS = ("<eos>", "red", "blue", "cat", "dog", "runs", "sits")
SIZES: dict[str, dict[str, Any]] = {
    "rnn": {"hidden_dim": 4, "num_layers": 2, "weight_std": 0.4, "seq_len": 5},
    "lstm": {"hidden_dim": 4, "embedding_dim": 3, "init_scale": 0.5, "seq_len": 5},
}
TOLERANCE = 1e-13
"""The bound of the suite for two ways to compute one number in float64."""

Windows = Iterable[tuple[Masks, int]]


def make_corpus(train: int = 160, valid: int = 131, test: int = 97, words: int = 7) -> Corpus:
    """Three streams of random words."""
    u = random.uniform(KEY.fold_in("corpus"), train + valid + test)
    parts = np.split((u * words).astype(np.int64), [train, train + valid])
    vocabulary = Vocabulary(WORDS[:words], "words")
    return Corpus("toy", *map(np.ascontiguousarray, parts), vocabulary, "a toy")


def write_text(path: Path, lines: int = 80) -> Path:
    """A file of short lines."""
    ids = (random.uniform(KEY.fold_in("text"), (lines, 5)) * (len(WORDS) - 1)).astype(int) + 1
    path.write_text("".join(" ".join(WORDS[i] for i in line) + "\n" for line in ids))
    return path


def make_run(
    cell: str, data: Any, fields: dict[str, Any] | None = None, **options: Any
) -> RunConfig:
    """The settings of a small run in float64, logged at every step."""
    options = {"dtype": "float64", "batch_size": 3, "epochs": 3, "log_every": 1} | options
    sizes = SIZES[cell] | ({"seq_len": data.steps} if isinstance(data, MemoryTask) else {})
    return settings(cell, data.name, data, None, sizes | (fields or {}), options)


def make_panel(run: RunConfig) -> Panel:
    """The run's panel with weights none of which is zero."""
    panel = build(run)
    shifts = {n: random.normal(KEY.fold_in(n), a.shape) for n, a in panel.weights().items()}
    panel.load_weights({n: a + 0.3 * shifts[n] for n, a in panel.weights().items()})
    return panel


# A witness that is neither panel


def naive_outputs(panel: Panel, inputs: Any, windows: Windows = ()) -> np.ndarray:
    """The outputs of the model after each of `inputs`, ids or rows of numbers, of one sequence.

    One step at a time, one layer at a time, from the equations; with the masks of windows that
    follow each other, (masks, steps) each.   -> (N, O)
    """
    w, c = panel.weights(), panel.model.config
    places = [(masks, t) for masks, steps in windows for t in range(steps)]
    h, cell = np.zeros((c.num_layers, c.hidden_dim)), np.zeros((c.num_layers, c.hidden_dim))
    outputs = []
    for n, value in enumerate(inputs):
        masks, t = places[n] if places else (Masks(), 0)
        if "embedding.weight" in w:
            x, body = w["embedding.weight"][value], "lstm"
            if masks.words is not None:
                x = x * float(masks.words[0, value]) / (1 - c.word_rate)
        else:
            x, body = value if np.ndim(value) else _code(int(value), c), "rnn"
        on_inputs = masks.inputs or (None,) * (c.num_layers + 1)
        on_hidden = masks.recurrent or (None,) * c.num_layers
        for i in range(c.num_layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weight_ih, weight_hh, *bias = (w[f"{body}.{name}_l{i}"] for name in names)
            x = _dropped(x, on_inputs[i], t, c.rate)
            before = _dropped(h[i], on_hidden[i], t, c.hidden_rate)
            a = weight_ih @ x + weight_hh @ before + sum(bias)
            if body == "lstm":
                gate_i, gate_f, g, gate_o = np.split(a, 4)
                cell[i] = expit(gate_f) * cell[i] + expit(gate_i) * np.tanh(g)
                h[i] = expit(gate_o) * np.tanh(cell[i])
            else:
                h[i] = np.tanh(a)
            x = h[i]
        x = _dropped(x, on_inputs[-1], t, c.rate)
        outputs.append(w["decoder.weight"] @ x + w["decoder.bias"])
    return np.array(outputs)


def naive_nll(panel: Panel, tokens: np.ndarray, windows: Windows = ()) -> np.ndarray:
    """-log p of every token but the first, of one stream from the zero state.   -> (N - 1)"""
    log_p = log_softmax(naive_outputs(panel, tokens[:-1], windows), axis=1)
    return -log_p[np.arange(len(log_p)), tokens[1:]]


def _code(symbol: int, config: Any) -> np.ndarray:
    """One-hot where there is a place for each symbol, else (-1)^(bits that symbol and j share)."""
    if config.input_dim == config.output_dim:
        return np.eye(config.input_dim)[symbol]
    return np.array([(-1.0) ** (symbol & j).bit_count() for j in range(config.input_dim)])


def _dropped(x: np.ndarray, mask: Any, t: int, rate: float) -> np.ndarray:
    if mask is None:
        return x
    return x * np.asarray(mask)[t if len(mask) > 1 else 0, 0] / (1 - rate)
