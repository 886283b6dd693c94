"""Minibatches, a training step, and the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from diptych.exercises.kinds import examples_of
from diptych.panels import Panel
from diptych.runs import schedules
from diptych.tasks import TrainingBatch
from diptych.training import step
from diptych.training.step import NonFiniteError, StepResult
from model_specs.common.fields import check_positive_int, check_real
from model_specs.common.key import Key


class History(NamedTuple):
    """The record of the steps of `fit`, an array each, (steps,)."""

    epoch: np.ndarray
    lr: np.ndarray
    grad_norm: np.ndarray  # before clipping
    terms: dict[str, np.ndarray]

    def lines(self) -> Iterator[dict[str, Any]]:
        """One dictionary a step, as `RunFolder.log` takes it."""
        for i, epoch in enumerate(self.epoch.tolist()):
            line = {"kind": "step", "step": i + 1, "epoch": epoch}
            line |= {name: float(values[i]) for name, values in self.terms.items()}
            yield line | {"lr": float(self.lr[i]), "grad_norm": float(self.grad_norm[i])}


def minibatches(
    panel: Panel, x: np.ndarray, batch_size: int, key: Key, epoch: int
) -> Iterator[Any]:
    """Cut a data set into the batches of one epoch, as the model's loss takes them.

        images:  x[order[0 : B]], x[order[B : 2B]], ...   order = permutation(key/"order"/epoch, N)
        tokens:  windows of T tokens of B contiguous pieces, side by side, each from the zero state

    The order of images depends on the key and the epoch only, so epochs may be taken in any order.
    Shapes: images (N, ...) -> ceil(N / B) arrays (B, ...), a smaller one last; tokens (N,) ->
    (N // B - 1) // T batches of (T, B) tokens, T = config.seq_len.
    Raises: ValueError for no examples or too few, a batch_size < 1 or an epoch < 0.
    """
    check_positive_int("batch_size", batch_size)
    if epoch < 0:
        raise ValueError(f"epoch: got {epoch}, takes an int >= 0")
    examples = examples_of(panel)
    examples.check(x)
    return examples.minibatches(x, batch_size, key, epoch)


def training_step(
    panel: Panel, batch: Any, key: Key, lr: float, clip: float | None = None
) -> StepResult:
    """Take one step along the gradient of one batch, in training mode.

    See diptych.training.step for the equation; this function draws the noise of the batch, from
    key / "noise", so that `key` is this step's own. `batch` is one of `minibatches`, or any other
    that the model's loss takes.
    Raises: NonFiniteError, with the weights as before, where a term is NaN or inf; ValueError for a
    batch that the model refuses, or an lr or a clip that is not above 0.
    """
    check_real("lr", lr, above=0)
    if clip is not None:
        check_real("clip", clip, above=0)
    examples = examples_of(panel)
    with panel.training():
        noise = examples.noise(key.fold_in("noise"), batch)
        size = examples.size(batch)
        inputs = TrainingBatch(batch, noise, size=size, units=size)
        return step.training_step(panel, inputs, lr, clip, measure_norm=True)


def fit(
    panel: Panel,
    x: np.ndarray,
    key: Key,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    schedule: Callable[[float, int], float] = schedules.constant_lr,
    clip: float | None = None,
) -> History:
    """Train for some epochs, at schedule(lr, epoch), and record every step.

    `schedule` is one of diptych.runs.schedules with its options bound, as in
    partial(schedules.cosine_lr, epochs=10). Step i, counted through all epochs, has the key
    key / i, so that `diptych train` with the seed of `key` ends in the same weights. The state of a
    recurrent model is zero at the start of an epoch and is carried from batch to batch. A panel
    that has taken no step yet first initialises its weights by the first batch, if its model does.
    Raises: NonFiniteError that names the step; ValueError as `minibatches` and `training_step`.
    """
    check_positive_int("epochs", epochs)
    if not callable(schedule):
        raise ValueError(f"schedule: got {schedule!r}, takes a function (lr, epoch) -> lr")
    results: list[StepResult] = []
    rates: list[tuple[int, float]] = []
    examples = examples_of(panel)
    for epoch in range(epochs):
        rate, state = schedule(lr, epoch), None
        for batch in minibatches(panel, x, batch_size, key, epoch):
            number = len(results)
            if number == 0 and panel.optimizer_state()["step"] == 0:
                with panel.training():
                    stream = key.fold_in(0).fold_in("initialize")
                    panel.initialize(batch, examples.noise(stream, batch))
            try:
                continued = examples.continued(batch, state)
                result = training_step(panel, continued, key.fold_in(number), rate, clip)
            except NonFiniteError as error:
                raise NonFiniteError(f"step {number}: {error}") from None
            state = result.state
            results.append(result)
            rates.append((epoch, rate))
    return History(
        np.array([epoch for epoch, _ in rates]),
        np.array([rate for _, rate in rates]),
        np.array([result.grad_norm for result in results]),
        {name: np.array([r.terms[name] for r in results]) for name in results[0].terms},
    )
