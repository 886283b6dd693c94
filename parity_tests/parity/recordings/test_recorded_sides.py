"""Recordings in comparisons: on the left, on the right, on both sides, whole or partial."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.small_recordings import record
from torch import nn
from torch.utils.checkpoint import checkpoint

from diptych import parity
from diptych.files import load_arrays, save_arrays


class Faulty(nn.Module):
    """Computes tanh with a gradient that is off by 1e-3 in one element."""

    def forward(self, x):
        y = torch.tanh(x)
        if y.requires_grad:
            y.register_hook(lambda g: g + 1e-3 * (torch.arange(g.numel()).view_as(g) == 3))
        return y


def test_a_recording_of_either_panel_agrees_with_either_panel(mlp, x):
    for model in mlp:
        record("golden.safetensors", model, x)
        for other in mlp:
            report = parity.compare("golden.safetensors", other)
            assert report.ok, report.full()
            assert {"0", "1", "2", "forward"} <= {row.name for row in report.rows}
            kinds = {row.kind for row in report.rows}
            assert {"parameter", "input gradient", "parameter gradient"} <= kinds
            if model is mlp[0] or other is mlp[0]:
                assert parity.compare(other, "golden.safetensors", x).ok
        record("other.safetensors", mlp[1], x)
        report = parity.compare("golden.safetensors", "other.safetensors")
        assert report.ok and len(report.rows) > 12


def test_a_fault_is_named_against_a_recording(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x)
    faulty = copy.deepcopy(right)
    faulty[1] = Faulty()
    record("faulty.safetensors", faulty, x)
    for pair in (
        ("golden.safetensors", faulty),
        ("golden.safetensors", "faulty.safetensors"),
        (left, "faulty.safetensors"),
    ):
        report = parity.compare(*pair, x)
        assert report.root_cause.name.startswith("1(") and report.root_cause.index == (0, 3)
        assert not any(row.kind == "output" for row in report.failures)


def test_other_weights_are_named_as_parameters(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x)
    with torch.no_grad():
        right[2].bias[1] += 1e-6
    report = parity.compare("golden.safetensors", right)
    assert report.first_divergence.name == "2.bias" and report.first_divergence.index == (1,)


def test_one_altered_value_is_named_with_live_code_on_the_right(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x)
    arrays, metadata = load_arrays("golden.safetensors")
    arrays["call/0/output"][2, 5] += 1e-3
    save_arrays("golden.safetensors", arrays, metadata)
    report = parity.compare("golden.safetensors", right)
    assert report.root_cause.name == "0" and report.root_cause.index == (2, 5)


def test_another_batch_than_the_recorded_one_is_a_problem(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x)
    assert parity.compare("golden.safetensors", right, x.copy()).ok
    report = parity.compare("golden.safetensors", right, x + 1e-9)
    assert not report.ok and "recorded on other inputs" in report.verdict
    report = parity.compare(left, "golden.safetensors", x + 1e-9)
    assert not report.ok and "recorded on other inputs" in report.verdict


def test_recordings_with_other_gradients_of_the_output_are_a_problem(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x)
    with parity.record("sum.safetensors", right):
        right(torch.from_numpy(x)).sum().backward()
    assert parity.compare("sum.safetensors", right).ok  # with the recorded gradient
    assert parity.compare(left, "sum.safetensors", x).ok
    report = parity.compare("golden.safetensors", "sum.safetensors")
    assert not report.ok and "other gradients of their output" in report.verdict


def test_a_loss_that_was_not_differentiated_by_its_total_is_a_problem(vae):
    _, right, batch, noise = vae
    tensors = torch.from_numpy(batch), type(noise)(*map(torch.from_numpy, noise))
    with parity.record("golden.safetensors", right):
        (2 * right.loss(*tensors).total).backward()
    report = parity.compare("golden.safetensors", right)
    assert not report.ok and "another gradient of its loss than 1" in report.verdict


def test_another_number_of_arguments_than_recorded_is_a_problem(vae):
    left, right, batch, noise = vae
    with parity.record("golden.safetensors", left):
        left.loss(batch, noise)
    report = parity.compare("golden.safetensors", right, batch, noise)
    assert report.ok
    report = parity.compare("golden.safetensors", "golden.safetensors", batch)
    assert not report.ok and "recorded with 2 arguments; this comparison has 1" in report.verdict


def test_a_recording_without_a_backward_pass_compares_values(mlp, x):
    left, right = mlp
    record("golden.safetensors", left, x, backward=False)
    for pair in (("golden.safetensors", right), (left, "golden.safetensors")):
        report = parity.compare(*pair, x)
        assert report.ok, report.full()
        assert {row.kind for row in report.rows} == {"parameter", "output"}
        assert any("without a backward pass" in note for note in report.not_compared)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loss_of_a_vae_agrees_with_its_recording(make_vae, dtype):
    left, right, batch, noise = make_vae(dtype)
    with parity.record("golden.safetensors", left):
        left.loss(batch, noise)[1]()
    report = parity.compare("golden.safetensors", right)
    assert report.ok and len(report.rows) > 40 and report.dtype == dtype, report.full()
    with parity.record("right.safetensors", right):
        right.loss(
            torch.from_numpy(batch), type(noise)(*map(torch.from_numpy, noise))
        ).total.backward()
    assert parity.compare("golden.safetensors", "right.safetensors").ok
    report = parity.compare(left, "right.safetensors", batch, noise)
    assert report.ok, report.full()
    with torch.no_grad():
        right.posterior.mu.bias += 1e-2
    assert parity.compare("golden.safetensors", right).first_divergence.name == "posterior.mu.bias"


def test_running_statistics_are_compared(x):
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)).double()
    twin = copy.deepcopy(model)
    record("golden.safetensors", model, x)
    report = parity.compare("golden.safetensors", twin)
    assert report.ok, report.full()
    assert "1.running_mean" in {row.name for row in report.rows if row.kind == "buffer"}
    twin = copy.deepcopy(twin)
    twin[1].momentum = 0.2
    record("golden.safetensors", twin, x)
    twin[1].momentum = 0.1
    report = parity.compare("golden.safetensors", twin)
    assert not report.ok


def test_a_renamed_model_is_compared_with_a_recording(mlp, x):
    left, right = mlp

    class Renamed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act, self.last = right

        def forward(self, v):
            return self.last(self.act(self.first(v)))

    renamed = Renamed()
    record("golden.safetensors", left, x)
    options = {"rename": {"0": "first", "1": "act", "2": "last"}}
    report = parity.compare("golden.safetensors", renamed, **options)
    assert report.ok and {"0", "1", "2"} <= {row.name for row in report.rows}, report.full()
    record("renamed.safetensors", renamed, x)
    for side in (left, "golden.safetensors"):
        report = parity.compare(side, "renamed.safetensors", x, **options)
        assert report.ok and {"0", "1", "2"} <= {row.name for row in report.rows}, report.full()


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_is_recorded_as_one_call(x, reentrant):
    class Net(nn.Module):
        def __init__(self, checkpointing):
            super().__init__()
            self.inner, self.checkpointing = nn.Linear(4, 4), checkpointing

        def forward(self, v):
            if self.checkpointing:
                return checkpoint(self.inner, v, use_reentrant=reentrant)
            return self.inner(v)

    plain, net = Net(False).double(), Net(True).double()
    net.load_state_dict(plain.state_dict())
    record("golden.safetensors", net, x)
    record("plain.safetensors", plain, x)
    for other in (plain, net, "plain.safetensors"):
        report = parity.compare("golden.safetensors", other)
        assert report.ok, report.full()


def test_several_calls_are_compared_between_recordings_alone(mlp, x):
    left, right = mlp
    for name, model in (("left", left), ("right", right)):
        with parity.record(f"{name}.safetensors", model):
            for scale in (1.0, 2.0):
                batch = scale * x
                model(batch if model is left else torch.from_numpy(batch))
    report = parity.compare("left.safetensors", "right.safetensors")
    assert report.ok and {"forward", "forward#2", "1#2"} <= {row.name for row in report.rows}
    report = parity.compare("left.safetensors", right)
    assert not report.ok and "recording of several calls (forward, forward#2)" in report.verdict


def test_a_module_that_stands_under_two_names_is_recorded_once(x):
    class Shared(nn.Module):
        def __init__(self, act, other):
            super().__init__()
            self.fc, self.a, self.b = nn.Linear(4, 4), act, other

        def forward(self, v):
            return self.b(self.fc(self.a(v)))

    act = nn.Tanh()
    shared, separate = Shared(act, act).double(), Shared(nn.Tanh(), nn.Tanh()).double()
    separate.load_state_dict(shared.state_dict())
    for first, second in ((shared, separate), (separate, shared)):
        record("golden.safetensors", first, x)
        record("second.safetensors", second, x)
        for other in (second, "second.safetensors"):
            report = parity.compare("golden.safetensors", other)
            assert report.ok and {"a", "a#2"} <= {row.name for row in report.rows}, report.full()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # inside torch.compile
def test_wrapped_and_compiled_models_are_recorded_under_plain_names(mlp, x):
    left, right = mlp
    record("plain.safetensors", left, x)
    record("wrapped.safetensors", nn.DataParallel(right), x)
    report = parity.compare("plain.safetensors", "wrapped.safetensors")
    assert report.ok and {"0", "1", "2"} <= {row.name for row in report.rows}
    record("compiled.safetensors", torch.compile(right, backend="eager"), x)
    report = parity.compare("plain.safetensors", "compiled.safetensors")
    kinds = {row.kind for row in report.rows}
    assert report.ok and {"output", "parameter gradient", "input gradient"} <= kinds
    assert any("compiled" in note or "counterpart" in note for note in report.not_compared)
