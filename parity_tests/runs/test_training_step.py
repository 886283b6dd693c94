"""Steps of each optimiser with clipping, weight decay and averaging, from the papers' formulas.

Both panels, without torch.optim, torch.nn.utils or the left panel's optimisers: only the gradients
are the panel's own.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.panels_for_exercises import IMAGES, TEXT, batch_for_loss, build_panel
from helpers.short_runs import arrays_of, short_run

from diptych.arrays import to_numpy
from diptych.panels import BACKENDS, OPTIMIZERS, make_panel
from diptych.parity.measures.rows import normwise
from diptych.training.train import build, train
from model_specs.common.key import Key

each_backend = pytest.mark.parametrize("backend", BACKENDS)
RATES = (0.3, 0.1, 0.2)
"""The learning rate of each step."""
DECAY = 0.8
"""Of the running average."""


class PlainOptimizer:
    """SGD without momentum, RMSProp, Adam and Adamax as published, on arrays by name."""

    def __init__(self, kind, weights):
        self.kind, self.t, self.p = kind, 0, {n: a.copy() for n, a in weights.items()}
        self.m = {n: np.zeros_like(a) for n, a in weights.items()}
        self.v = {n: np.zeros_like(a) for n, a in weights.items()}

    def step(self, gradients, lr, clip, weight_decay):
        """Clip the norm over all parameters, add weight_decay * p, then update."""
        norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        scale = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        self.t += 1
        for name, p in self.p.items():
            g = scale * gradients[name] + weight_decay * p
            self.p[name] = p - lr * self.direction(name, g)
        return norm

    def direction(self, name, g):
        if self.kind == "sgd":
            return g
        if self.kind == "rmsprop":
            self.v[name] = 0.99 * self.v[name] + 0.01 * g**2
            return g / (np.sqrt(self.v[name]) + 1e-8)
        self.m[name] = 0.9 * self.m[name] + 0.1 * g
        mean = self.m[name] / (1 - 0.9**self.t)
        if self.kind == "adam":
            self.v[name] = 0.999 * self.v[name] + 0.001 * g**2
            return mean / (np.sqrt(self.v[name] / (1 - 0.999**self.t)) + 1e-8)
        self.v[name] = np.maximum(0.999 * self.v[name], np.abs(g) + 1e-8)
        return mean / self.v[name]


def gradients_of(panel):
    """The gradient of every parameter by name."""
    return {name: to_numpy(p.grad) for name, p in panel.model.named_parameters()}


def check_steps(panel, kind, batch, clip, weight_decay):
    """Compare weights and averages after each of three steps."""
    panel.keep_average(DECAY)
    names = [name for name, _ in panel.model.named_parameters()]
    start = {name: array for name, array in panel.weights().items() if name in names}
    plain, average = PlainOptimizer(kind, start), dict(start)
    norms = []
    for step, lr in enumerate(RATES):
        panel.forward_backward(batch, panel.model.draw_noise(Key(step), 4))
        norms.append(plain.step(gradients_of(panel), lr, clip, weight_decay))
        panel.step(lr, clip)
        weights = panel.weights()
        for name in names:
            assert normwise(weights[name], plain.p[name]) <= 1e-12, (step, name)
            # the weights after the step, with the share 1 - decay
            average[name] = DECAY * average[name] + (1 - DECAY) * plain.p[name]
            assert normwise(panel.average_state()[name], average[name]) <= 1e-12, (step, name)
            assert normwise(average[name], plain.p[name]) > 1e-6
    return norms


@each_backend
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_steps_are_clipped_then_decayed_then_taken_then_averaged(
    backend, kind, clipped, weight_decay
):
    config = IMAGES["mlp"]
    panel = make_panel(
        "mlp_vae",
        config,
        backend,
        key=Key(5),
        dtype="float64",
        optimizer=kind,
        lr=123.0,  # each step has its own rate
        weight_decay=weight_decay,
    )
    batch = batch_for_loss(config, panel, 4)
    norms = check_steps(panel, kind, batch, 0.5 if clipped else None, weight_decay)
    assert min(norms) > 0.5, "the clip does nothing"


@each_backend
@pytest.mark.parametrize("model", ["conv, bce", "vlae", *TEXT])
def test_every_model_is_trained_by_the_same_formulas(backend, model):
    """A clip above the norm changes nothing."""
    config = (IMAGES | TEXT)[model]
    panel = build_panel(config, backend)
    check_steps(panel, "adam", batch_for_loss(config, panel, 4), 1e6, 0.0)


@each_backend
def test_one_step_of_a_run_averages_the_first_weights_and_the_next(few_digits, tmp_path, backend):
    """The average after one step is decay p_0 + (1 - decay) p_1, in the file of the run too."""
    run = short_run(backend=backend, polyak=0.75, epochs=1, batch_size=70, dtype="float64")
    start = build(run).weights()
    outcome = train(run, few_digits, tmp_path / "run")
    assert outcome.steps == 1
    last, checkpoint = arrays_of(outcome.folder)
    for name, first in start.items():
        expected = 0.75 * first + 0.25 * checkpoint[f"model.{name}"]
        assert normwise(last[name], expected) <= 1e-14
        assert normwise(checkpoint[f"average.{name}"], expected) <= 1e-14
        assert normwise(first, expected) > 1e-6


@each_backend
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "weight_decay": 0.2},
        {"optimizer": "adamax", "clip": 1.5},
        {"optimizer": "rmsprop", "clip": 1.5, "weight_decay": 0.2},
        {},
    ],
    ids=["sgd", "adamax", "rmsprop", "defaults"],
)
def test_the_settings_of_a_run_reach_its_optimiser(few_digits, tmp_path, backend, options):
    """One step of a run from the gradient at its start; the default is Adam with no clip."""
    run = short_run(backend=backend, epochs=1, batch_size=70, dtype="float64", lr=0.05, **options)
    panel = build(run)
    plain = PlainOptimizer(options.get("optimizer", "adam"), panel.weights())
    key = Key(run.seed).fold_in(0).fold_in("noise")
    order = panel.permutation(Key(run.seed).fold_in("order").fold_in(0), 70)
    panel.forward_backward(few_digits.train.x[order], panel.model.draw_noise(key, 70))
    clip, weight_decay = options.get("clip"), options.get("weight_decay", 0.0)
    norm = plain.step(gradients_of(panel), 0.05, clip, weight_decay)
    assert clip is None or norm > 2 * clip
    _, checkpoint = arrays_of(train(run, few_digits, tmp_path / "run").folder)
    for name, expected in plain.p.items():
        assert normwise(checkpoint[f"model.{name}"], expected) <= 1e-12, name
