"""Buffers: named, saved, cast and compared like those of torch."""

import numpy as np
import pytest
import torch
from helpers.compare_image_layers import NAMES, make_norms, ramp, torch_errors
from torch import nn

from diptych import files, parity, weights
from diptych.panels import NumpyPanel, TorchPanel
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from numpy_ref.nn import init
from numpy_ref.nn.convolution import Conv2d
from numpy_ref.nn.functional import ReLU
from numpy_ref.nn.layers import BatchNorm2d
from numpy_ref.nn.module import Buffer, Module, Parameter, Sequential
from torch_impl.nn import init as torch_init


class Nest(Module):
    """A parameter is set after a child: torch's order differs from that of the attributes."""

    def __init__(self, dtype="float64"):
        self.norm = BatchNorm2d(3, dtype=dtype)
        self.count = Buffer(np.array(0))
        self.body = Sequential(Conv2d(3, 3, 1, dtype=dtype), BatchNorm2d(3, dtype=dtype))
        self.scale = Parameter(np.ones(2, dtype))
        init.fan_in_uniform(self, Key(8))


class TorchNest(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("count", torch.tensor(0))
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.scale = nn.Parameter(torch.ones(2))
        self.double()


def test_state_dict_has_torchs_names_order_and_dtypes():
    left, right = Nest(), TorchNest()
    assert list(left.state_dict()) == list(right.state_dict())
    for name, array in left.state_dict().items():
        tensor = right.state_dict()[name].numpy()
        assert (array.shape, array.dtype) == (tensor.shape, tensor.dtype), name
    assert [n for n, _ in left.named_buffers()] == [n for n, _ in right.named_buffers()]
    assert [n for n, _ in left.named_parameters()] == [n for n, _ in right.named_parameters()]
    assert left.gradients().keys() == dict(left.named_parameters()).keys()
    assert list(BatchNorm2d(2).state_dict()) == list(nn.BatchNorm2d(2).state_dict()) == NAMES


def test_state_crosses_the_panels_and_a_file(rng, tmp_path):
    left, right = make_norms(rng)
    left(ramp(rng)), right(torch.from_numpy(ramp(rng)))
    states = left.state_dict(), {n: t.numpy().copy() for n, t in right.state_dict().items()}
    left.load_state_dict(right.state_dict())
    right.load_state_dict({n: torch.from_numpy(a) for n, a in states[0].items()})
    for name in NAMES:
        np.testing.assert_array_equal(left.state_dict()[name], states[1][name])
        np.testing.assert_array_equal(right.state_dict()[name].numpy(), states[0][name])
    file = tmp_path / "norm.safetensors"
    for source, target in ((left, right), (right, left), (left, BatchNorm2d(3))):
        weights.save(source, file)
        weights.load(target, file)
        ours, theirs = (weights.to_arrays(model.state_dict()) for model in (source, target))
        assert all(np.array_equal(ours[n], theirs[n]) for n in NAMES)
        assert theirs[NAMES[-1]].dtype == np.int64
    with pytest.raises(ValueError, match="missing num_batches_tracked"):
        left.load_state_dict({n: a for n, a in states[0].items() if n != NAMES[-1]})


def test_a_count_that_is_not_an_integer_is_refused(rng, tmp_path):
    left, _ = make_norms(rng)
    arrays, file = left.state_dict(), tmp_path / "norm.safetensors"
    files.save_arrays(file, arrays | {NAMES[-1]: np.array(2.5)})
    with pytest.raises(ValueError, match=r"num_batches_tracked is float64: .*counts int64"):
        weights.load(left, file)
    files.save_arrays(file, arrays | {"weight": np.arange(3)})
    with pytest.raises(ValueError, match="weight is int64: weights are float32 or float64"):
        weights.load(left, file)


def test_astype_casts_statistics_and_not_counts(rng):
    left, _ = make_norms(rng)
    twin = left.astype("float32")
    assert {n: b.data.dtype.name for n, b in twin.named_buffers()} == {
        "running_mean": "float32",
        "running_var": "float32",
        "num_batches_tracked": "int64",
    }
    twin(ramp(rng).astype(np.float32))
    assert left.num_batches_tracked.data == 7 and twin.num_batches_tracked.data == 8


def test_an_optimiser_does_not_update_buffers(rng):
    """Its state has no entry for a buffer either, on both panels."""
    left, right = make_norms(rng)
    panels = NumpyPanel(left, "adam", 1e-2, 0.1), TorchPanel(right, "adam", 1e-2, 0.1)
    original = [buffer.data.copy() for _, buffer in left.named_buffers()]
    x = ramp(rng)
    left.eval(), right.eval()
    for _ in range(3):
        torch_errors(left, right, x, rng)
        for panel in panels:
            panel.step(1e-2, clip=1.0)
    assert panels[0].optimizer_state().keys() == panels[1].optimizer_state().keys()
    for before, (_, buffer) in zip(original, left.named_buffers(), strict=True):
        np.testing.assert_array_equal(buffer.data, before)
    ours, theirs = (panel.weights() for panel in panels)
    assert all(normwise(ours[name], theirs[name]) <= 1e-12 for name in NAMES)


def test_initial_weights_leave_a_normalisation_at_one_and_zero():
    for name in ("fan_in_uniform", "normal"):
        left, right = Nest(), TorchNest()
        right.norm.bias.data.zero_()
        getattr(init, name)(left, Key(4)), getattr(torch_init, name)(right, Key(4))
        for path in ("norm", "body.1"):
            state = {f"{path}.{leaf}": value for leaf, value in (("weight", 1), ("bias", 0))}
            for entry, value in state.items():
                assert (left.state_dict()[entry] == value).all()
                assert (right.state_dict()[entry] == value).all()
        ours, theirs = left.state_dict()["body.0.weight"], right.state_dict()["body.0.weight"]
        np.testing.assert_array_equal(ours, theirs.numpy())


# Parity


def chain(dtype="float64"):
    left = Sequential(
        Conv2d(3, 4, 3, 2, 1, bias=False, dtype=dtype), BatchNorm2d(4, dtype=dtype), ReLU()
    )
    right = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    init.fan_in_uniform(left, Key(6))
    left.load_state_dict(
        left.state_dict() | {"1.running_mean": np.arange(4.0), "1.num_batches_tracked": np.array(2)}
    )
    weights.transfer(left, right.to(getattr(torch, dtype)))
    return left, right


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", [True, False])
def test_parity_compares_running_statistics_after_the_run(dtype, training, rng, device):
    left, right = chain(dtype)
    left.train(training), right.train(training)
    report = parity.assert_parity(
        left, right.to(device), rng.normal(size=(5, 3, 8, 6)).astype(dtype)
    )
    rows = {row.name for row in report.rows if row.kind == "buffer"}
    assert rows == {f"1.{name}" for name in NAMES[2:]}
    assert report.masks_equal is None
    count = 3 if training else 2
    assert left.state_dict()["1.num_batches_tracked"] == count
    assert right.state_dict()["1.num_batches_tracked"] == count


TRACKERS = {
    "momentum": lambda self, mu, var: keep(self, 2 * mu, 2 * var),
    "biased": lambda self, mu, var: keep(self, mu, var * 0.99),
    "twice": lambda self, mu, var: (keep(self, mu, var), keep(self, mu, var)),
    "not original": lambda self, mu, var: None,
}
keep = BatchNorm2d._track


@pytest.mark.parametrize("fault", TRACKERS)
def test_parity_names_a_wrong_running_statistic(fault, rng):
    left, right = chain()
    norm = getattr(left, "1")
    norm.__class__ = type("BatchNorm2d", (BatchNorm2d,), {"_track": TRACKERS[fault]})
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)))
    assert {row.kind for row in report.failures} == {"buffer"}
    first = "1.running_var" if fault == "biased" else "1.running_mean"
    assert (report.first_divergence.name, report.first_divergence.origin) == (first, "root cause")


def test_an_error_in_a_running_statistic_of_a_faulty_layer_is_propagated(rng):
    left, right = chain()
    conv = getattr(left, "0")
    forward = conv.forward

    def faulty(x):
        y, vjp = forward(x)
        return y * 1.001, lambda dy: vjp(1.001 * dy)

    conv.forward = faulty
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)))
    origins = {row.name: row.origin for row in report.failures if row.kind in ("output", "buffer")}
    assert origins["0"] == "root cause"
    assert origins["1.running_mean"] == origins["1.running_var"] == "propagated"
    assert right.state_dict()["1.num_batches_tracked"] == 3, "a replay has left its trace"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fault", [None, "a hundredth of a thousandth", "none at all"])
def test_a_gradient_that_is_0_except_for_rounding(fault, dtype, rng):
    """The gradient of a bias before a normalisation is rounding, in which the panels have no digit
    in common. A fault is still detected."""
    left = Sequential(Conv2d(3, 4, 3, 1, 1, dtype=dtype), BatchNorm2d(4, dtype=dtype))
    right = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4)).to(getattr(torch, dtype))
    init.fan_in_uniform(left, Key(6))
    weights.transfer(left, right)

    class Faulty(Conv2d):
        def forward(self, x):
            y, vjp = super().forward(x)

            def bad(dy):
                original = self.bias.grad.copy()
                dx = vjp(dy)
                if fault == "none at all":
                    self.bias.grad[...] = original
                elif fault:
                    self.bias.grad += 1e-5 * np.abs(dy).sum((0, 2, 3))
                return dx

            return y, bad

    getattr(left, "0").__class__ = Faulty
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)).astype(dtype))
    failed = [(row.kind, row.name) for row in report.failures]
    assert failed == ([("parameter gradient", "0.bias")] if fault else [])


def test_different_initial_running_statistics_are_reported_as_parameters(rng):
    left, right = chain()
    right[1].running_var += 1e-3
    result = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6))).first_divergence
    assert (result.kind, result.name, result.origin) == ("parameter", "1.running_var", "root cause")
