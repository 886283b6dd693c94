"""Text in the exercises: windows of a stream of tokens, perplexity, the next token."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax

from diptych import pairs
from diptych.arrays import to_numpy
from diptych.data import ContiguousBatches
from diptych.exercises.examples import Examples
from diptych.tasks.sequences import window
from model_specs.common.key import Key

WINDOW = 500
"""The number of tokens in a window of a prediction; results do not depend on it."""


class TextScores(NamedTuple):
    """Scores of a language model on a text."""

    nll: float  # main: nats per token, the lower the better
    perplexity: float  # exp(nll)
    accuracy: float  # secondary: share of tokens that were the most probable ones

    def numbers(self) -> dict[str, float]:
        """All scores by name, for a record or a table."""
        return self._asdict()


class TextPrediction(NamedTuple):
    """Outputs of a language model for N tokens. NumPy arrays, on either panel."""

    probabilities: np.ndarray  # (N, V): of the token after each token, given all tokens up to it
    nll: np.ndarray  # (N - 1,): -log p of each token but the first, nats


class TextExamples(Examples):
    """A stream of tokens, int64 (N,), read from the zero state."""

    def check(self, x: Any) -> None:
        if not pairs.traits(self.model.config).likelihood:
            raise ValueError(
                f"panel: got {self.name} with a loss that is no log-likelihood, takes a model of "
                "tokens: likelihood 'cross_entropy'"
            )
        x = np.asarray(x)
        if x.ndim != 1 or x.dtype != np.int64 or len(x) == 0:
            raise ValueError(
                f"x: got {x.dtype} {x.shape}, {self.name} takes a stream of token ids, int64 (N,)"
            )

    def minibatches(self, x: np.ndarray, batch_size: int, key: Key, epoch: int) -> Iterator[Any]:
        windows = ContiguousBatches(x, batch_size, self.model.config.seq_len)
        return (window(self.panel, *pair) for pair in windows)

    def size(self, batch: Any) -> int:
        return np.shape(batch.x)[1]

    def noise(self, key: Key, batch: Any) -> Any:
        length, size = np.shape(batch.x)[:2]
        return self.model.draw_noise(key, size, length=length)

    def continued(self, batch: Any, state: Any) -> Any:
        return batch if state is None else batch._replace(state=state)

    def evaluate(self, x: np.ndarray, key: Key, batch_size: int) -> TextScores:
        if len(x) < 2:
            raise ValueError(f"x: got {len(x)} token, takes 2 or more")
        log_p = self._log_p(x[:-1], batch_size)
        nll = -float(log_p[np.arange(len(log_p)), x[1:]].mean())
        accuracy = float((log_p.argmax(1) == x[1:]).mean())
        return TextScores(nll, math.exp(nll), accuracy)

    def predict(self, x: Any, key: Key) -> TextPrediction:
        x = np.asarray(x)
        self.check(x)
        log_p = self._log_p(x, WINDOW)
        return TextPrediction(np.exp(log_p), -log_p[np.arange(len(x) - 1), x[1:]])

    @torch.no_grad()
    def _log_p(self, tokens: np.ndarray, length: int) -> np.ndarray:
        """log p(next token = v | tokens up to each), float64 (N, V), without dropout."""
        parts, state = [], None
        with self.panel.evaluating():
            for start in range(0, len(tokens), length):
                x = tokens[start : start + length, None]
                batch = self.panel.convert(window(self.panel, x, x, state=state))
                logits, state = self.model.predict(batch.x, batch.state)
                parts.append(log_softmax(to_numpy(logits)[:, 0].astype(np.float64), axis=1))
        return np.concatenate(parts)
