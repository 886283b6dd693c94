"""Batch normalisation: agreement with torch.nn, finite differences, running statistics, errors."""

import numpy as np
import pytest
import torch
from helpers.compare_image_layers import NAMES, SHAPE, make_norms, ramp, torch_errors
from helpers.finite_differences import derivative_errors
from torch import nn

from diptych import weights
from diptych.parity.measures.bounds import rounding_bound
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from numpy_ref.nn import init, optim
from numpy_ref.nn.convolution import Conv2d
from numpy_ref.nn.functional import ReLU
from numpy_ref.nn.layers import BatchNorm2d
from numpy_ref.nn.module import Sequential

SETTINGS = [{}, {"eps": 0.1, "momentum": 0.37}, {"momentum": 0.0}, {"momentum": 1.0}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", [SHAPE, (1, 3, 5, 6), (5, 3, 1, 1), (2, 3, 1, 1)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_torch(training, shape, settings, rng):
    left, right = make_norms(rng, **settings)
    left.train(training), right.train(training)
    result = torch_errors(left, right, ramp(rng, shape), rng)
    assert set(result) == {"y", "dx", "weight", "bias", *(f"{name} after" for name in NAMES[2:])}
    tight = {n: e for n, e in result.items() if shape != (2, 3, 1, 1) or n != "dx"}
    # two values are always normalised to 1 and -1, so that dx is 0 except for rounding and eps
    assert max(tight.values()) <= 1e-13, result
    assert result["dx"] <= 1e-8


def test_evaluation_does_not_change_the_running_statistics(rng):
    left, _ = make_norms(rng)
    before = left.eval().state_dict()
    left(ramp(rng))
    for name, array in left.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_running_statistics_over_changes_of_mode(rng):
    """Running statistics, count and gradients agree at each step."""
    left, right = make_norms(rng)
    for step, training in enumerate([True] * 5 + [False, True, False, False, True]):
        left.train(training), right.train(training)
        result = torch_errors(left, right, ramp(rng, (2 + step, *SHAPE[1:])), rng)
        assert max(result.values()) <= 1e-13, (step, result)
    assert left.num_batches_tracked.data == 7 + 7


def test_a_second_backward_pass_adds_gradients_and_changes_nothing_else(rng):
    left, _ = make_norms(rng)
    y, vjp = left(ramp(rng))
    dy, after = rng.normal(size=y.shape), left.state_dict()
    original = y.copy()
    dx = vjp(dy).copy()
    once = {name: grad.copy() for name, grad in left.gradients().items()}
    np.testing.assert_array_equal(vjp(dy), dx)
    np.testing.assert_array_equal(y, original)
    for name, grad in left.gradients().items():
        np.testing.assert_array_equal(grad, 2 * once[name])
    for name, array in left.state_dict().items():
        np.testing.assert_array_equal(array, after[name])


@pytest.mark.parametrize("training", [True, False])
def test_finite_differences(training, rng):
    left, _ = make_norms(rng)
    left.train(training)
    errors = derivative_errors(left, (ramp(rng),), left.named_parameters(), rng)
    assert errors.keys() == {"[0]", "weight", "bias"}
    assert max(errors.values()) < 1e-8, errors


def test_the_output_does_not_depend_on_shift_and_scale_of_the_batch(rng):
    """It has mean 0 and variance 1 - eps / (var + eps); dx is orthogonal to 1 and nearly to x."""
    left = BatchNorm2d(3)
    x = ramp(rng)
    y, vjp = left(x)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-14)
    var = x.var((0, 2, 3))
    np.testing.assert_allclose(y.var((0, 2, 3)), var / (var + left.eps), rtol=1e-13)
    dx = vjp(rng.normal(size=y.shape))
    np.testing.assert_allclose(dx.sum((0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * x).sum((0, 2, 3)), 0, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_float32_stays_within_its_bound(training, rng):
    left, _ = make_norms(rng)
    x = ramp(rng, (8, 3, 9, 7))
    single = left.astype("float32")
    left.train(training), single.train(training)
    y, vjp = left(x)
    dy = 0.5 + rng.normal(size=y.shape)
    expected = {"y": y, "dx": vjp(dy)} | left.gradients() | left.state_dict()
    y32, vjp32 = single(x.astype(np.float32))
    result = {"y": y32, "dx": vjp32(dy.astype(np.float32))} | single.gradients()
    result |= single.state_dict()
    bound = rounding_bound(np.dtype("float32"), x.size // 3)
    for name, array in result.items():
        assert array.dtype == (np.int64 if name == NAMES[-1] else np.float32)
        assert normwise(array.astype(np.float64), expected[name]) <= bound, name


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


# Refusals


@pytest.mark.parametrize("shape", [(1, 3, 1, 1)])
def test_a_batch_with_one_value_a_channel_is_refused(shape, rng):
    left, right = make_norms(rng)
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
