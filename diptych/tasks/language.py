"""Text: contiguous windows with a carried state, perplexity, and text drawn from the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from scipy.special import log_softmax

from diptych.arrays import to_numpy
from diptych.data import ContiguousBatches, Corpus
from diptych.data.corpus import Vocabulary, count, percent, unknown_share
from diptych.data.cutting import EOS, UNK
from diptych.display import progress_bar
from diptych.files import write_atomically
from diptych.panels import Panel
from diptych.remarks import worse_than_uniform
from diptych.runs.config import RunConfig
from diptych.tasks.base import Assessment, Options, check_options
from diptych.tasks.sequences import SequenceTask, window
from model_specs.common.fields import check_positive_int, check_real
from model_specs.common.key import Key
from model_specs.recurrent.dropout import rates
from numpy_ref.nn import random

LENGTH = 64
"""Steps of a window in evaluation. Results do not depend on it, except with dropout, whose masks
are drawn for one window."""


class Language(SequenceTask):
    """The training text in `batch_size` contiguous pieces, read side by side, T tokens a step.

    The state is zero at the start of an epoch and is then carried, cut off from its history.
    Source: Zaremba et al. (2014), section 4.1. Units: nats per token; perplexity is their exp.
    """

    evaluation_options = ("split", "samples", "examples")
    data: Corpus

    def __init__(self, config: RunConfig, data: Corpus) -> None:
        super().__init__(config, data)
        self.unit = data.vocabulary.unit
        length = config.model_config["seq_len"]
        self.windows = ContiguousBatches(data.train, config.batch_size, length)
        self.steps_per_epoch = len(self.windows)

    def batch(self, panel: Panel, epoch: int, index: int) -> Any:
        return (*self.windows[index], None)

    def carries(self, index: int) -> bool:
        return index > 0

    def validate(self, panel: Panel) -> dict[str, float]:
        """Score as many pieces as training has, each from the zero state, as the paper does."""
        streams = min(self.config.batch_size, len(self.data.valid) // 2)
        nll = float(np.concatenate(list(_blocks(panel, self.data.valid, streams))).mean())
        return {"nll": nll, "perplexity": _perplexity(nll)}

    def warning(self, panel: Panel, scores: Mapping[str, float]) -> str | None:
        return self._warning(scores["nll"], "valid")

    def _warning(self, nll: float, split: str) -> str | None:
        unit = f"nats/{self.unit.removesuffix('s')}"
        return worse_than_uniform(nll, math.log(len(self.data.vocabulary)), unit, split)

    def assess(self, panels: list[Panel], options: Options) -> Assessment:
        """Compute the exact perplexity: one pass, the state carried from first to last token.

        With `samples` K > 0 dropout stays on, and the probabilities of K passes are averaged (Gal
        & Ghahramani 2016); with several runs theirs are averaged (Zaremba et al. 2014, table 1).
        """
        check_options(options, self.evaluation_options, f"a run on {self.data.name}")
        samples = 0
        if options.samples is not None:
            check_positive_int("samples", options.samples)
            _check_dropout(options.samples, panels)
            samples = options.samples
        tokens = getattr(self.data, options.split)
        if options.examples is not None:
            check_positive_int("examples", options.examples)
            tokens = tokens[: options.examples + 1]
        passes = len(panels) * max(1, samples)
        with progress_bar(options.console) as progress:
            bar = progress.add_task("tokens", total=passes * (len(tokens) - 1))
            result = average_nll(
                panels, tokens, self.key.fold_in("evaluation"), samples, progress_by(progress, bar)
            )
        split, count = options.split, len(tokens) - 1
        metrics = {
            f"{split}_perplexity": _perplexity(result),
            f"{split}_nll": result,
            f"{split}_tokens": count,
            f"{split}_samples": samples,
            "runs": len(panels),
        }
        lines = [
            ("perplexity", f"{_perplexity(result):.2f}", ""),
            ("NLL", f"{result:.4f}", f"nats/{self.unit.removesuffix('s')}"),
            ("NLL", f"{result / math.log(2):.4f}", f"bits/{self.unit.removesuffix('s')}"),
        ]
        title = f"{split}, {count} {self.unit}"
        unknown = unknown_share(tokens[1:], self.data.vocabulary)
        title += f", {percent(unknown)} of them {UNK}" if unknown else ""
        title += f", {samples} passes with dropout" if samples else ""
        title += f", probabilities of {len(panels)} runs averaged" if len(panels) > 1 else ""
        warning = self._warning(result, split)
        return Assessment(title, metrics, lines, notes=(warning,) if warning else ())

    def sample(self, panel: Panel, folder: Path, options: Options) -> str:
        """Continue the prompt, one token at a time.

        Raises: ValueError for options that only a run on images takes.
        """
        return sample_text(panel, self.data.vocabulary, options, self.data.name)

    def summary(self) -> str:
        d = self.data
        return f"{d.name}: {count(d.train, d.valid, d.test, d.vocabulary)}"


def sample_text(panel: Panel, vocabulary: Vocabulary, options: Options, name: str) -> str:
    """Return the prompt and the text that the model continues it with; no corpus is needed.

    Without a prompt, the text starts after a newline, or where the vocabulary has none (a text of
    one line), after a blank or the first token of the vocabulary; that start is not returned. With
    `options.out` the text is written to this file exactly, and a sentence is returned instead.
    `name` is that of the data.
    Raises: ValueError for options that only a run on images takes, and for a prompt with unknown
    tokens.
    """
    check_options(options, ("seed", "count", "prompt", "temperature", "out"), f"a run on {name}")
    count = 100 if options.count is None else options.count
    characters = vocabulary.unit == "characters"
    if options.prompt:
        prompt = vocabulary.encode(vocabulary.split(options.prompt))
    else:
        starts = ("\n", " ", vocabulary.tokens[0]) if characters else (EOS, vocabulary.tokens[0])
        prompt = vocabulary.encode(start for start in starts if vocabulary.index(start) is not None)
        prompt = prompt[:1]
    key = Key(options.seed).fold_in("sample")
    ids = continue_text(panel, prompt, count, key, options.temperature)
    shown = prompt if options.prompt else prompt[:0]
    text = vocabulary.decode(np.concatenate([shown, ids]))
    if options.out is None:
        return text
    write_atomically(options.out, text.encode())
    return f"{count} {vocabulary.unit} in {options.out}"


def _check_dropout(samples: int, panels: list[Panel]) -> None:
    """Raise ValueError if passes with dropout are asked of models without dropout."""
    configs = [panel.model.config for panel in panels]
    if not any(rates(config) or getattr(config, "word_rate", 0) for config in configs):
        got = f"got {samples} with scheme {configs[0].scheme!r}"
        raise ValueError(f"samples: {got}, takes a model with dropout")


def average_nll(
    panels: list[Panel],
    tokens: np.ndarray,
    key: Key,
    samples: int = 0,
    progress: Callable[[int], None] | None = None,
) -> float:
    """-log of the mean probability of each token, averaged over all but the first, nats.

        p(token) = mean over panels and passes of p_k(token)

    samples = 0: one pass of each panel without dropout; else K passes with masks of their own,
    drawn for each window of LENGTH tokens.
    """
    log_p = np.full(len(tokens) - 1, -np.inf)
    for i, panel in enumerate(panels):
        for k in range(max(1, samples)):
            stream = key.fold_in(i).fold_in(k) if samples else None
            start = 0
            for block in _blocks(panel, tokens, 1, stream):
                part = slice(start, start + len(block))
                log_p[part] = np.logaddexp(log_p[part], -block[:, 0])
                start += len(block)
                if progress:
                    progress(len(block))
    return float(math.log(len(panels) * max(1, samples)) - log_p.mean())


def progress_by(progress: Progress, bar: Any) -> Callable[[int], None]:
    """A callback that advances a bar."""
    return lambda n: progress.advance(bar, n)


def continue_text(
    panel: Panel, prompt: np.ndarray, count: int, key: Key, temperature: float = 1.0
) -> np.ndarray:
    """`count` tokens after `prompt` (N >= 1), each drawn from softmax(logits / temperature).

    By inversion, in float64: token = number of cumulated probabilities <= u. Temperature 0 takes
    the most probable token.
    """
    if len(prompt) < 1:
        raise ValueError("prompt: got 0 tokens, takes 1 or more")
    check_positive_int("count", count)
    check_real("temperature", temperature, above=0, inclusive=True)
    uniforms = random.uniform(key, count)
    ids = [*prompt]
    with panel.evaluating():
        state, step = None, np.asarray(prompt)
        for u in uniforms:
            x = step[:, None]
            batch = panel.convert(window(panel, x, x, state=state))
            logits, state = panel.model.predict(batch.x, batch.state)
            last = to_numpy(logits)[-1, 0].astype(np.float64)
            if temperature:
                with np.errstate(over="ignore"):  # of a small temperature: -inf, and 0 of the best
                    p = np.exp(log_softmax((last - last.max()) / temperature))
                token = min(int((np.cumsum(p) <= u).sum()), len(p) - 1)
            else:
                token = int(last.argmax())
            ids.append(token)
            step = np.array([token])
    return np.array(ids[len(prompt) :], np.int64)


def _blocks(
    panel: Panel, tokens: np.ndarray, streams: int, key: Key | None = None
) -> Iterator[np.ndarray]:
    """Yield -log p of every token of `streams` contiguous pieces, (T, B) at a time.

    The state is carried. Without a key in evaluation mode; with one, dropout is on.
    """
    state = None
    mode = panel.evaluating() if key is None else panel.training()
    with mode:
        for i, (x, y) in enumerate(ContiguousBatches(tokens, streams, LENGTH, tail=True)):
            batch = panel.convert(window(panel, x, y, state=state))
            stream = Key(0) if key is None else key.fold_in(i)
            noise = panel.model.draw_noise(stream, streams, length=len(x))
            nll, state = panel.model.token_nll(batch, noise)
            yield to_numpy(nll).astype(np.float64)


def _perplexity(nll: float) -> float:
    return math.exp(nll) if nll < 700 else math.inf
