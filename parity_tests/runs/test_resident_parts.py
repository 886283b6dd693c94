"""The parts of the resident path: update rules, streams of many keys, and captured steps."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import pytest
import torch

from diptych.training.resident import capture
from diptych.training.resident.capture import CapturedStep
from diptych.training.resident.optimizers import RULES, FusedAdam
from model_specs.common.key import Key, Keys
from torch_impl.nn import random

SHAPES = [(40, 30), (7,), (3, 1, 2), (1,)]


def parameters(dtype):
    return [
        torch.nn.Parameter(random.normal(Key(1).fold_in(i), shape, dtype=dtype))
        for i, shape in enumerate(SHAPES)
    ]


def moved(ours, theirs, optimizer, rule):
    """Take 40 steps with gradients of many sizes and a falling rate, by the rule and by torch."""
    group = optimizer.param_groups[0]
    for step in range(1, 41):
        rate = 1e-2 * 0.9**step
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            key = Key(step).fold_in(i)
            scale = 10 ** random.normal(key.fold_in("scale"), 1, dtype=p.dtype)
            p.grad = scale * random.normal(key, p.shape, dtype=p.dtype)
            q.grad = p.grad.clone()
        rule.update(torch.tensor(rule.numbers(rate, step), dtype=ours[0].dtype), rate)
        group["lr"] = rate
        optimizer.step()


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_rules_have_the_bits_of_torch(kind, dtype, decay):
    ours, theirs = parameters(dtype), parameters(dtype)
    own = kind(ours, lr=1.0, weight_decay=decay)
    optimizer = kind(theirs, lr=1.0, weight_decay=decay)
    moved(ours, theirs, optimizer, RULES[kind](own))
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q)
        for name in RULES[kind].buffers:
            assert torch.equal(own.state[p][name], optimizer.state[q][name])


def test_the_fused_kernel_of_adam_agrees_to_rounding():
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    own, optimizer = (torch.optim.Adam(p, lr=1.0) for p in (ours, theirs))
    moved(ours, theirs, optimizer, FusedAdam(own))
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=2e-6, atol=2e-6)


DRAWS = {
    "bits": lambda key: random.bits(key, (3, 7), 5),
    "uniform": lambda key: random.uniform(key, 11, 1, torch.float32),
    "normal": lambda key: random.normal(key, (3, 7), 3),
    "dropout_mask": lambda key: random.dropout_mask(key, (2, 3), 0.3, 2),
    "draw_eps": lambda key: random.draw_eps(key, 4, 2, 3, 1),
    "draw_eps, one draw": lambda key: random.draw_eps(key, 4, None, 3),
}


@pytest.mark.parametrize("name", DRAWS)
def test_each_of_many_keys_has_its_own_stream(name):
    key, draw = Key(3).fold_in("steps"), DRAWS[name]
    together = draw(Keys(key, range(4, 9)).fold_in("eps"))
    alone = [draw(key.fold_in(n).fold_in("eps")) for n in range(4, 9)]
    assert torch.equal(together, torch.stack(alone)) and len(set(map(str, alone))) == 5


def test_bernoulli_of_many_keys_has_a_row_for_each():
    probs = random.uniform(Key(0), (5, 4, 3), dtype=torch.float32)
    together = random.bernoulli(Keys(Key(2), range(5)), probs)
    alone = [random.bernoulli(Key(2).fold_in(n), probs[n]) for n in range(5)]
    assert torch.equal(together, torch.stack(alone))


def test_keys_take_numbers_and_names():
    with pytest.raises(ValueError, match="numbers: got range"):
        Keys(Key(0), range(0))
    with pytest.raises(ValueError, match="fold_in"):
        Keys(Key(0), range(2)).fold_in(1.5)


class FakeGraph:
    """Stands for a CUDA graph: counts its replays."""

    graphs: ClassVar[list[FakeGraph]] = []

    def __init__(self):
        self.replays = 0
        self.graphs.append(self)

    def replay(self):
        self.replays += 1


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that a test captures, without a device."""
    monkeypatch.setattr(FakeGraph, "graphs", [])
    monkeypatch.setattr(capture.torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(capture.torch.cuda, "graph", lambda graph, stream: contextlib.nullcontext())
    return FakeGraph.graphs


def test_a_step_warms_up_is_captured_once_and_then_replayed(graphs):
    """Without a device a capture runs the function, which a device only records."""
    calls = []
    step = CapturedStep(lambda: calls.append(len(graphs)), stream="a stream")
    starting = []
    for _ in range(7):
        starting.append(step.is_starting)
        step()
    assert calls == [0] * capture.WARM_UP + [1]  # the last one by the capture
    assert starting == [True] * 4 + [False] * 3
    assert [graph.replays for graph in graphs] == [4]
    step.forget()
    step()
    assert [graph.replays for graph in graphs] == [4, 1] and len(calls) == capture.WARM_UP + 2


def test_a_step_that_cannot_be_captured_is_run(graphs):
    calls = []

    def function():
        if graphs:
            graphs.clear()
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel")
        calls.append(1)

    step = CapturedStep(function, stream="a stream")
    for _ in range(6):
        step()
    assert len(calls) == 6 and not step.is_starting
    assert step.failure == "operation not permitted when stream is capturing"


def test_without_a_stream_every_step_is_run(graphs):
    calls = []
    step = CapturedStep(lambda: calls.append(1), stream=None)
    for _ in range(6):
        step()
    assert len(calls) == 6 and not graphs and not step.is_starting
