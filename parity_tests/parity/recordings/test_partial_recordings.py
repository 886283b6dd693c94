"""Recordings of programs without a model, by taps and by names of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych import parity


def record_by_hand(x, left, fault=0.0):
    """A program in another framework that names what it computes."""
    state = left.state_dict()
    with parity.record("hand.safetensors") as recording:
        recording["input/0"] = x
        for name in ("0.weight", "0.bias", "2.weight"):
            recording[f"parameter/{name}"] = state[name]
        hidden = parity.tap("1", np.tanh(x @ state["0.weight"].T + state["0.bias"] + fault))
        y = hidden @ state["2.weight"].T + state["2.bias"]
        recording["forward"] = y
        dy = 1 + y
        recording["output gradient/forward"] = dy
        recording["parameter gradient/2.weight"] = dy.T @ hidden
        recording["output gradient/1"] = dy @ state["2.weight"]


def test_values_that_a_program_named_are_compared_and_no_others(mlp, x):
    record_by_hand(x, mlp[0])
    for other in mlp:
        report = parity.compare("hand.safetensors", other)
        assert report.ok, report.full()
        rows = {(row.name, row.kind) for row in report.rows}
        expected = {(name, "parameter") for name in ("0.weight", "0.bias", "2.weight")}
        expected |= {("1", "output"), ("forward", "output"), ("1", "output gradient")}
        assert rows == expected | {("2.weight", "parameter gradient")}
        assert any("2.bias" in note and "one side only" in note for note in report.not_compared)
        assert not any("no counterpart" in note for note in report.not_compared)  # of modules
    report = parity.compare(mlp[0], "hand.safetensors", x)
    assert report.ok and len(report.rows) == 7, report.full()
    assert parity.compare("hand.safetensors", "hand.safetensors").ok


def test_a_fault_beside_named_values_is_named(mlp, x):
    record_by_hand(x, mlp[0], fault=np.array([0, 0, 1e-4, 0, 0, 0]))
    for pair in (("hand.safetensors", mlp[1]), (mlp[0], "hand.safetensors")):
        report = parity.compare(*pair, x)
        assert report.first_divergence.name == "1", report.full()
        assert report.root_cause.name == "1" and report.root_cause.index[1] == 2
        inherited = [row for row in report.failures[1:] if row.kind != "parameter gradient"]
        assert inherited and all(row.origin == "propagated" for row in inherited)


def test_taps_of_two_programs_are_compared(x):
    def attention(scale):
        q = torch.from_numpy(x).requires_grad_()
        scores = parity.tap("scores", q @ q.T * scale)
        weights = parity.tap("weights", scores.softmax(-1))
        parity.tap("output", weights @ q).sum().backward()

    for name, scale in (("a", 0.5), ("b", 0.5), ("c", 0.5 + 1e-6)):
        with parity.record(f"{name}.safetensors"):
            attention(scale)
    report = parity.compare("a.safetensors", "b.safetensors")
    assert report.ok and {row.name for row in report.rows} == {"scores", "weights", "output"}
    assert {row.kind for row in report.rows} == {"output", "output gradient"}
    report = parity.compare("a.safetensors", "c.safetensors")
    assert report.first_divergence.name == "scores" and report.root_cause.name == "scores"


def test_what_a_recording_lacks_is_one_clear_error(mlp, x):
    with parity.record("hand.safetensors") as recording:
        recording["forward"] = np.ones((5, 3))
    with pytest.raises(ValueError, match="left is a recording without inputs"):
        parity.compare("hand.safetensors", mlp[1])
    with parity.record("nothing.safetensors") as recording:
        recording["other"] = np.ones((5, 3))
    report = parity.compare("nothing.safetensors", mlp[1], x)
    assert not report.ok and "nothing" in report.verdict
