"""The situations in which the right panel computes: functions (case, device) -> arrays.

Each is run on the CPU and on the pretended device, and the arrays must be equal bit for bit: the
device's numbers are the CPU's. Two kinds are judged otherwise. `compare` runs parity.compare, whose
report must agree. In mixed precision CUDA and the CPU round at different operations, so that loss
terms and gradients agree to the precision of the half-precision dtype.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych import pairs, parity, weights
from diptych.arrays import leaves, to_numpy
from diptych.panels import Panel, TorchPanel
from diptych.panels.engine import Engine
from diptych.tasks.base import TrainingBatch
from diptych.tasks.language import continue_text
from diptych.training.step import training_step
from model_specs.common.key import Key

SIZE = 7
"""Examples in a batch."""
COUNT = 3
"""Samples to draw."""
UNITS = {"bf16": 2.0**-8, "fp16": 2.0**-11}
"""The rounding error of a number in half precision."""
ROUNDINGS = 64
"""The error of a loss or a gradient in mixed precision, in such units."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A registered "pair" or "pair[variant]" in one dtype."""

    name: str
    dtype: str

    @property
    def key(self) -> Key:
        return Key(17).fold_in(self.name)

    def panel(self, device: str, engine: Engine = Engine(), seed: int = 0) -> Panel:  # noqa: B008
        """The right panel with Adam and an average of the weights, before its first step."""
        pair, config = pairs.find(self.name)
        options = pairs.right_options(self.name)
        key = self.key.fold_in(seed)
        model = pair.right(config, key, dtype=self.dtype, device=device, **options)
        panel = TorchPanel(model, "adam", 1e-3, 0.0, engine)
        panel.keep_average(0.9)
        return panel

    def batch(self, index: int = 0) -> Any:
        pair, config = pairs.find(self.name)
        return pair.batch(config, self.key.fold_in(f"batch {index}"), np.dtype(self.dtype), SIZE)

    def step(self, panel: Panel, index: int, state: Any = None, norm: bool = False) -> Any:
        """Take one training step, with the gradient clipped, the state carried."""
        inputs = self.batch(index)
        if state is not None:
            inputs = inputs._replace(state=state)
        noise = panel.model.draw_noise(self.key.fold_in(f"noise {index}"), SIZE)
        if index == 0:
            panel.initialize(inputs, noise)
        batch = TrainingBatch(inputs, noise, SIZE, SIZE)
        return training_step(panel, batch, 1e-3, 0.5, measure_norm=norm)


def training(case: Case, device: str) -> Arrays:
    """Two steps: loss terms, gradient norm, weights, their average, the carried state."""
    panel = case.panel(device)
    first = case.step(panel, 0)
    second = case.step(panel, 1, first.state, norm=True)
    results = [first.terms, second.terms, {"gradient norm": second.grad_norm}]
    return _arrays(
        results, panel.weights(), panel.average_state(), panel.state_arrays(second.state)
    )


def evaluation(case: Case, device: str) -> Arrays:
    """The loss and the other values that a model computes in evaluation mode."""
    pair, config = pairs.find(case.name)
    panel, inputs = case.panel(device), case.batch()
    noise = panel.model.draw_noise(case.key, SIZE)
    with panel.evaluating(), torch.no_grad():
        terms = panel.terms(inputs, noise)
        batch = panel.convert(inputs)
        functions = {
            n: f for n, f in pair.values(config).items() if n not in ("sample", "reconstruct")
        }
        values = {name: f(panel.model, batch, noise, case.key) for name, f in functions.items()}
    return _arrays(terms, values)


def sampling(case: Case, device: str) -> Arrays:
    """Samples, drawn and as means; of a model of text, tokens that continue a prompt."""
    panel = case.panel(device)
    if not hasattr(panel.model, "sample"):
        return {"tokens": continue_text(panel, np.array([1, 2, 0]), 5, case.key)}
    pair, config = pairs.find(case.name)
    means = (True, False) if pair.draws(config) else (True,)
    with panel.evaluating():
        return _arrays([panel.model.sample(case.key, COUNT, mean=mean) for mean in means])


def reconstruction(case: Case, device: str) -> Arrays:
    """Reconstructions of a batch."""
    panel = case.panel(device)
    x = panel.convert(case.batch())
    keys = (case.key,) if case.name.startswith("vlae") else ()
    with panel.evaluating():
        return _arrays(panel.model.reconstruct(x, *keys))


def state_in_and_out(case: Case, device: str) -> Arrays:
    """A step, everything that a checkpoint holds, and the next step of a panel that loads it."""
    first, other = case.panel(device), case.panel(device, seed=1)
    result = case.step(first, 0)
    saved = _arrays(first.weights(), first.average_state(), first.optimizer_state())
    other.load_weights(first.weights())
    other.load_average(first.average_state())
    other.load_optimizer_state(first.optimizer_state())
    state = other.load_state(first.state_arrays(result.state))
    case.step(other, 1, state)
    with tempfile.TemporaryDirectory() as folder:
        weights.save(other.model, Path(folder) / "weights.safetensors")
        weights.load(first.model, Path(folder) / "weights.safetensors")
    return saved | _arrays([first.weights(), other.optimizer_state()])


def mixed_precision(case: Case, device: str, amp: str) -> Arrays:
    """The loss terms and the gradients of a step in half precision, and the weights after it."""
    panel = case.panel(device, Engine(amp=amp))
    if amp == "fp16":
        scale = {"scaler.scale": np.array(16.0)}  # the first one may overflow
        panel.load_optimizer_state(panel.optimizer_state() | scale)
    result = case.step(panel, 0)
    gradients = {name: to_numpy(g) for name, g in panel.model.gradients().items()}
    return _arrays(result.terms, gradients)


def _arrays(*values: Any) -> Arrays:
    return {f"{i}{path}": to_numpy(a) for i, v in enumerate(values) for path, a in _leaves(v)}


def _leaves(value: Any) -> Any:
    if isinstance(value, float | int):
        yield "", np.array(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from ((f" {name}{path}", array) for path, array in _leaves(item))
    elif type(value) in (list, tuple):
        for i, item in enumerate(value):
            yield from ((f"[{i}]{path}", array) for path, array in _leaves(item))
    else:
        yield from leaves(value)


SITUATIONS: dict[str, Callable[..., Arrays]] = {
    "training": training,
    "evaluation": evaluation,
    "sampling": sampling,
    "reconstruction": reconstruction,
    "state in and out": state_in_and_out,
}
KINDS = ("compare", *SITUATIONS, *UNITS)


def applies(kind: str, name: str, dtype: str) -> bool:
    """True if the pair has this situation."""
    pair, config = pairs.find(name)
    if kind in UNITS:
        return dtype == "float32"
    if kind in ("sampling", "reconstruction") and pair.inputs == "images":
        return not name.startswith("vlae") or bool(pair.draws(config))
    if kind == "sampling":  # of tokens, which an RNN reads as one-hot vectors
        return name.startswith("lstm") or config.input_dim == config.output_dim
    return kind != "reconstruction"


def problems(kind: str, case: Case, cuda: Callable[[], Any]) -> list[str]:
    """Run a situation on the device; return what differs from the CPU, in words."""
    if kind == "compare":
        with cuda():
            report = parity.compare(case.name, dtype=case.dtype, device="cuda")
        return [] if report.ok else str(report).splitlines()[:5]
    if kind in UNITS:
        with cuda():
            result = mixed_precision(case, "cuda", kind)
        return rounded(result, mixed_precision(case, "cpu", kind), ROUNDINGS * UNITS[kind])
    with cuda():
        result = SITUATIONS[kind](case, "cuda")
    return different(result, SITUATIONS[kind](case, "cpu"))


def different(result: Arrays, expected: Arrays) -> list[str]:
    """Name the arrays that are not equal bit for bit."""
    if result.keys() != expected.keys():
        return [f"other arrays: {sorted(result.keys() ^ expected.keys())}"]
    return [
        f"{name}: differs by up to {np.abs(result[name] - expected[name]).max():.3g}"
        for name in expected
        if not np.array_equal(result[name], expected[name], equal_nan=True)
    ]


def rounded(result: Arrays, expected: Arrays, bound: float) -> list[str]:
    """Name the loss terms that are further apart than `bound`, and the gradients together."""
    if result.keys() != expected.keys():
        return [f"other arrays: {sorted(result.keys() ^ expected.keys())}"]
    terms = [name for name in expected if name.startswith("0")]
    groups = {name: [name] for name in terms} | {"gradients": [n for n in expected if n[0] == "1"]}
    faults = []
    for name, members in groups.items():
        a, b = (np.concatenate([x[m].ravel() for m in members]) for x in (result, expected))
        error = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3)
        if not error <= bound:
            faults.append(f"{name}: is off by {error:.3g}, takes {bound:.3g}")
    return faults
