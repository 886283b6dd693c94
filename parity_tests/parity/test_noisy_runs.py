"""Monte Carlo arithmetic: each operation has a relative error of the size asked for, views none."""

import math

import numpy as np
import pytest
import torch

from diptych import parity
from diptych.parity.running.noisy import Noise, NoisyTorch

SIZE, COUNT = 2.0**-20, 20_000


def relative_deviation(values):
    """Standard deviation of values around 1, in units of SIZE; their mean is 1."""
    assert abs(values.mean() - 1) < 5 * SIZE / COUNT**0.5 * 3
    return values.std() / SIZE


def numpy_run(function):
    noise = Noise(7, SIZE)
    return np.asarray(function(noise.wrap(np.full(COUNT, 2.0))).view(np.ndarray))


def torch_run(function):
    x = torch.full((COUNT,), 2.0, dtype=torch.float64)
    with NoisyTorch(7, SIZE):
        return function(x).numpy()


@pytest.mark.parametrize("run", [numpy_run, torch_run])
def test_an_operation_has_an_error_of_the_size(run):
    assert relative_deviation(run(lambda x: x / 2)) == pytest.approx(1, rel=0.05)
    assert relative_deviation(run(lambda x: x / 2 * 3 / 3)) == pytest.approx(3**0.5, rel=0.05)


@pytest.mark.parametrize("run", [numpy_run, torch_run])
def test_an_operation_in_place_has_an_error_too(run):
    def halve(x):
        x = x.copy() if isinstance(x, np.ndarray) else x.clone()
        x /= 2
        return x

    deviation = relative_deviation(run(halve))
    assert 0.95 < deviation < 1.05 * 2**0.5  # a copy may be an operation


@pytest.mark.parametrize("run", [numpy_run, torch_run])
def test_a_view_has_no_error(run):
    assert (run(lambda x: x.reshape(-1, 2)) == 2).all()


def test_equal_seeds_give_equal_errors():
    for make in (lambda seed: Noise(seed, SIZE), lambda seed: NoisyTorch(seed, SIZE)):
        runs = []
        for seed in (7, 7, 8):
            source = make(seed)
            if isinstance(source, Noise):
                runs.append(np.asarray(source.wrap(np.ones(5)) * 3.0))
            else:
                with source:
                    runs.append((torch.ones(5, dtype=torch.float64) * 3).numpy())
        assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_integers_and_masks_are_kept():
    noise = Noise(7, SIZE)
    for array in (np.arange(3), np.array([True, False])):
        assert noise.wrap(array) is array
    assert (noise.wrap(np.ones(3)) > 0.5).dtype == bool
    with NoisyTorch(7, SIZE):
        assert torch.equal(torch.arange(3) * 2, torch.tensor([0, 2, 4]))


def product_with(integers, seen):
    """A product of integers and a number, whose gradient is an exact sum; `seen` gets dy."""

    def forward(x, w):
        def vjp(dy):
            seen.append(np.array(dy))
            return None, np.array([math.fsum(x * dy)])

        return x * w, vjp

    return parity.compare_functions(forward, lambda x, w: x * w, [integers, np.array([0.7])])


def test_a_gradient_that_cancels_among_integers_has_the_error_of_its_terms():
    """sum_n x_n dy_n loses six digits; x stays exact, so that errors of dy alone show the loss."""
    seen = []
    x = np.random.default_rng(0).integers(-(10**6), 10**6, 64)
    assert product_with(x, seen).ok
    dy = seen[0]
    x[-1] = -round(float(x[:-1] @ dy[:-1]) / dy[-1])
    report = product_with(x, seen)
    assert report.ok, str(report)
    (row,) = (row for row in report.rows if row.kind == "input gradient")
    assert 1e-13 < row.error < row.bound < 1e-5
