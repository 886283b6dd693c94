"""Batch normalisation against torch.nn, finite differences, and itself from step to step."""

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity, weights
from diptych.panels import NumpyPanel, TorchPanel
from diptych.parity.bounds import rounding_bound
from diptych.parity.report import normwise
from model_specs.key import Key
from numpy_ref import init, optim
from numpy_ref.convolution import Conv2d
from numpy_ref.layers import ReLU
from numpy_ref.module import Buffer, Module, Parameter, Sequential
from numpy_ref.normalisation import BatchNorm2d
from torch_impl import init as torch_init

SHAPE = (4, 3, 5, 6)
NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def make(rng, dtype="float64", **settings):
    """(left, right) with the same weights and running statistics, none at its default."""
    left = BatchNorm2d(SHAPE[1], dtype=dtype, **settings)
    for parameter in left.parameters():
        parameter.data[...] = rng.normal(size=SHAPE[1])
    left.running_mean.data[...] = rng.normal(size=SHAPE[1])
    left.running_var.data[...] = rng.uniform(0.3, 3, SHAPE[1])
    left.num_batches_tracked.data[...] = 7
    right = nn.BatchNorm2d(SHAPE[1], dtype=getattr(torch, dtype), **settings)
    weights.transfer(left, right)
    return left, right


def data(rng, shape=SHAPE):
    """Channels of their own mean and spread."""
    ramp = np.arange(shape[1])[:, None, None]
    return (1 + ramp) * rng.normal(size=shape) + 3 * ramp - 2


def errors(left, right, x, rng):
    """One forward and backward on both: y, dx, gradients and what is kept."""
    left.zero_grad(), right.zero_grad()
    y, vjp = left(x)
    dy = 0.5 + rng.normal(size=y.shape)
    found = {"y": y, "dx": vjp(dy)} | left.gradients()
    read = torch.from_numpy(x).requires_grad_()
    out = right(read)
    out.backward(torch.from_numpy(dy))
    wanted = {"y": out, "dx": read.grad} | {n: p.grad for n, p in right.named_parameters()}
    pairs = {name: (array, wanted[name].detach().numpy()) for name, array in found.items()}
    pairs |= {
        f"{name} after": (buffer.data, dict(right.named_buffers())[name].numpy())
        for name, buffer in left.named_buffers()
    }
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs.values())
    return {name: normwise(*pair) for name, pair in pairs.items()}


SETTINGS = [{}, {"eps": 0.1, "momentum": 0.37}, {"momentum": 0.0}, {"momentum": 1.0}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", [SHAPE, (1, 3, 5, 6), (5, 3, 1, 1), (2, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_torch(training, shape, settings, rng):
    left, right = make(rng, **settings)
    left.train(training), right.train(training)
    found = errors(left, right, data(rng, shape), rng)
    assert set(found) == {"y", "dx", "weight", "bias", *(f"{name} after" for name in NAMES[2:])}
    tight = {n: e for n, e in found.items() if shape != (2, 3, 1, 1) or n != "dx"}
    # of two values each is 1 or -1, whatever they are, and dx is what rounding and eps leave
    assert max(tight.values()) <= 1e-13, found
    assert found["dx"] <= 1e-8


def test_evaluation_keeps_its_hands_off(rng):
    left, _ = make(rng)
    before = left.eval().state_dict()
    left(data(rng))
    for name, array in left.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_five_steps_and_back_again(rng):
    """train, train, eval, train, ...: running statistics, count and gradients at each step."""
    left, right = make(rng)
    for step, training in enumerate([True] * 5 + [False, True, False, False, True]):
        left.train(training), right.train(training)
        found = errors(left, right, data(rng, (2 + step, *SHAPE[1:])), rng)
        assert max(found.values()) <= 1e-13, (step, found)
    assert left.num_batches_tracked.data == 7 + 7


def test_a_second_backward_pass_adds_gradients_and_moves_nothing(rng):
    left, _ = make(rng)
    y, vjp = left(data(rng))
    dy, after = rng.normal(size=y.shape), left.state_dict()
    kept = y.copy()
    dx = vjp(dy).copy()
    once = {name: grad.copy() for name, grad in left.gradients().items()}
    np.testing.assert_array_equal(vjp(dy), dx)
    np.testing.assert_array_equal(y, kept)
    for name, grad in left.gradients().items():
        np.testing.assert_array_equal(grad, 2 * once[name])
    for name, array in left.state_dict().items():
        np.testing.assert_array_equal(array, after[name])


@pytest.mark.parametrize("training", [True, False])
def test_finite_differences(training, rng):
    left, _ = make(rng)
    left.train(training)
    x = data(rng)
    y, vjp = left(x)
    dy = rng.normal(size=y.shape)
    gradients = {"x": (x, vjp(dy))} | {n: (p.data, p.grad) for n, p in left.named_parameters()}
    fixed = left.state_dict()
    for name, (array, gradient) in gradients.items():
        direction, kept, values = rng.normal(size=array.shape), array.copy(), []
        for step in (1e-5, -1e-5):
            array[...] = kept + step * direction
            values.append((dy * left(x)[0]).sum())
        array[...] = kept
        left.load_state_dict(fixed)
        measured = (values[0] - values[1]) / 2e-5
        assert (gradient * direction).sum() == pytest.approx(measured, rel=1e-7, abs=1e-8), name


def test_a_batch_is_normalised_without_regard_to_its_shift_and_scale(rng):
    """Mean 0 and variance 1 - eps / (var + eps); and dx is orthogonal to 1 and, but for eps, x."""
    left = BatchNorm2d(3)
    x = data(rng)
    y, vjp = left(x)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-14)
    var = x.var((0, 2, 3))
    np.testing.assert_allclose(y.var((0, 2, 3)), var / (var + left.eps), rtol=1e-13)
    dx = vjp(rng.normal(size=y.shape))
    np.testing.assert_allclose(dx.sum((0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * x).sum((0, 2, 3)), 0, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_float32_stays_within_its_bound(training, rng):
    left, _ = make(rng)
    x = data(rng, (8, 3, 9, 7))
    single = left.astype("float32")
    left.train(training), single.train(training)
    y, vjp = left(x)
    dy = 0.5 + rng.normal(size=y.shape)
    wanted = {"y": y, "dx": vjp(dy)} | left.gradients() | left.state_dict()
    y32, vjp32 = single(x.astype(np.float32))
    found = {"y": y32, "dx": vjp32(dy.astype(np.float32))} | single.gradients()
    found |= single.state_dict()
    bound = rounding_bound(np.dtype("float32"), x.size // 3)
    for name, array in found.items():
        assert array.dtype == (np.int64 if name == NAMES[-1] else np.float32)
        assert normwise(array.astype(np.float64), wanted[name]) <= bound, name


# Buffers


class Nest(Module):
    """A parameter set after a child, to tell torch's order from that of the attributes."""

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


def test_state_goes_both_ways_and_through_a_file(rng, tmp_path):
    left, right = make(rng)
    left(data(rng)), right(torch.from_numpy(data(rng)))
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


def test_a_count_that_is_no_integer_is_refused(rng, tmp_path):
    left, _ = make(rng)
    arrays, file = left.state_dict(), tmp_path / "norm.safetensors"
    weights.save_arrays(file, arrays | {NAMES[-1]: np.array(2.5)})
    with pytest.raises(ValueError, match=r"num_batches_tracked is float64: .*counts int64"):
        weights.load(left, file)
    weights.save_arrays(file, arrays | {"weight": np.arange(3)})
    with pytest.raises(ValueError, match="weight is int64: weights are float32 or float64"):
        weights.load(left, file)


def test_astype_copies_statistics_and_leaves_counts_whole(rng):
    left, _ = make(rng)
    twin = left.astype("float32")
    assert {n: b.data.dtype.name for n, b in twin.named_buffers()} == {
        "running_mean": "float32",
        "running_var": "float32",
        "num_batches_tracked": "int64",
    }
    twin(data(rng).astype(np.float32))
    assert left.num_batches_tracked.data == 7 and twin.num_batches_tracked.data == 8


def test_an_optimiser_moves_no_buffer(rng):
    """And its state, on both panels alike, has no entry for one."""
    left, right = make(rng)
    panels = NumpyPanel(left, "adam", 1e-2, 0.1), TorchPanel(right, "adam", 1e-2, 0.1)
    kept = [buffer.data.copy() for _, buffer in left.named_buffers()]
    x = data(rng)
    left.eval(), right.eval()
    for _ in range(3):
        errors(left, right, x, rng)
        for panel in panels:
            panel.step(1e-2, clip=1.0)
    assert panels[0].optimizer_state().keys() == panels[1].optimizer_state().keys()
    for before, (_, buffer) in zip(kept, left.named_buffers(), strict=True):
        np.testing.assert_array_equal(buffer.data, before)
    ours, theirs = (panel.weights() for panel in panels)
    assert all(normwise(ours[name], theirs[name]) <= 1e-12 for name in NAMES)


def test_twenty_steps_of_a_small_net(rng):
    """Trajectory: weights and running statistics after training both, to 1e-10."""
    left = Sequential(Conv2d(2, 4, 3, 2, 1, bias=False), BatchNorm2d(4), ReLU(), Conv2d(4, 3, 2))
    right = nn.Sequential(
        nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2)
    ).double()
    init.fan_in_uniform(left, Key(5))
    weights.transfer(left, right)
    adam = optim.Adam(left.named_parameters(), lr=1e-2)
    torch_adam = torch.optim.Adam(right.parameters(), lr=1e-2)
    for _ in range(20):
        x = rng.normal(size=(6, 2, 8, 7))
        left.zero_grad(), right.zero_grad()
        y, vjp = left(x)
        vjp(2 * y)
        right(torch.from_numpy(x)).square().sum().backward()
        adam.step(), torch_adam.step()
    ours, theirs = left.state_dict(), weights.to_arrays(right.state_dict())
    assert max(normwise(ours[name], theirs[name]) for name in ours) <= 1e-10


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
def test_parity_compares_running_statistics_after_the_run(dtype, training, rng):
    left, right = chain(dtype)
    left.train(training), right.train(training)
    report = parity.assert_parity(left, right, rng.normal(size=(5, 3, 8, 6)).astype(dtype))
    rows = {row.name for row in report.rows if row.kind == "buffer"}
    assert rows == {f"1.{name}" for name in NAMES[2:]}
    assert report.masks_equal is None
    moved = 3 if training else 2
    assert left.state_dict()["1.num_batches_tracked"] == moved
    assert right.state_dict()["1.num_batches_tracked"] == moved


TRACKERS = {
    "momentum": lambda self, mu, var: keep(self, 2 * mu, 2 * var),
    "biased": lambda self, mu, var: keep(self, mu, var * 0.99),
    "twice": lambda self, mu, var: (keep(self, mu, var), keep(self, mu, var)),
    "not kept": lambda self, mu, var: None,
}
keep = BatchNorm2d._track


@pytest.mark.parametrize("fault", TRACKERS)
def test_parity_names_a_running_statistic_that_is_off(fault, rng):
    left, right = chain()
    norm = getattr(left, "1")
    norm.__class__ = type("BatchNorm2d", (BatchNorm2d,), {"_track": TRACKERS[fault]})
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)))
    assert {row.kind for row in report.failures} == {"buffer"}
    first = "1.running_var" if fault == "biased" else "1.running_mean"
    assert (report.first_divergence.name, report.first_divergence.origin) == (first, "new")


def test_a_running_statistic_of_something_wrong_is_inherited(rng):
    left, right = chain()
    conv = getattr(left, "0")
    forward = conv.forward

    def faulty(x):
        y, vjp = forward(x)
        return y * 1.001, lambda dy: vjp(1.001 * dy)

    conv.forward = faulty
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)))
    origins = {row.name: row.origin for row in report.failures if row.kind in ("output", "buffer")}
    assert origins["0"] == "new"
    assert origins["1.running_mean"] == origins["1.running_var"] == "inherited"
    assert right.state_dict()["1.num_batches_tracked"] == 3, "a replay has left its trace"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fault", [None, "a hundredth of a thousandth", "none at all"])
def test_a_gradient_that_is_0_but_for_rounding(fault, dtype, rng):
    """A bias before a normalisation moves nothing: what either panel has for it is rounding, and
    has no digit in common with the other's. A fault still shows."""
    left = Sequential(Conv2d(3, 4, 3, 1, 1, dtype=dtype), BatchNorm2d(4, dtype=dtype))
    right = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4)).to(getattr(torch, dtype))
    init.fan_in_uniform(left, Key(6))
    weights.transfer(left, right)

    class Faulty(Conv2d):
        def forward(self, x):
            y, vjp = super().forward(x)

            def bad(dy):
                kept = self.bias.grad.copy()
                dx = vjp(dy)
                if fault == "none at all":
                    self.bias.grad[...] = kept
                elif fault:
                    self.bias.grad += 1e-5 * np.abs(dy).sum((0, 2, 3))
                return dx

            return y, bad

    getattr(left, "0").__class__ = Faulty
    report = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6)).astype(dtype))
    failed = [(row.kind, row.name) for row in report.failures]
    assert failed == ([("parameter gradient", "0.bias")] if fault else [])


def test_different_running_statistics_to_begin_with_are_a_difference_of_parameters(rng):
    left, right = chain()
    right[1].running_var += 1e-3
    found = parity.compare(left, right, rng.normal(size=(5, 3, 8, 6))).first_divergence
    assert (found.kind, found.name, found.origin) == ("parameter", "1.running_var", "new")


# Refusals


@pytest.mark.parametrize("shape", [(1, 3, 1, 1)])
def test_one_value_a_channel_cannot_be_normalised(shape, rng):
    left, right = make(rng)
    before = left.state_dict()
    with pytest.raises(ValueError, match=r"x: got shape \(1, 3, 1, 1\), takes more than one value"):
        left(np.ones(shape))
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        right(torch.ones(shape, dtype=torch.float64))
    assert all(np.array_equal(a, before[n]) for n, a in left.state_dict().items())
    left.eval()(np.ones(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_features": 0}, "num_features: got 0"),
        ({"eps": -1.0}, "eps: got -1.0"),
        ({"momentum": None}, "momentum: got None, takes a finite number"),
        ({"momentum": 1.1}, r"momentum: got 1.1, takes a number in \[0, 1\]"),
        ({"momentum": -0.1}, "momentum: got -0.1"),
        ({"dtype": "float16"}, "dtype: got 'float16'"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm2d(**{"num_features": 3} | settings)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4, 5, 5)), r"x: got shape \(2, 4, 5, 5\), takes \(any, 3, any, any\)"),
        (np.zeros((2, 3)), r"x: got shape \(2, 3\)"),
        (np.zeros((2, 3, 5, 5), np.float32), "x: got dtype float32"),
    ],
)
def test_inputs_that_do_not_fit(x, message):
    for training in (True, False):
        with pytest.raises(ValueError, match=message):
            BatchNorm2d(3).train(training)(x)
