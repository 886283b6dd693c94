"""The numbers behind a verdict: errors, islands of magnitude, roundings, conditions and bounds."""

import math

import numpy as np
import pytest
import torch

from diptych.parity.comparing.roundings import roundings
from diptych.parity.measures import bounds, errors
from diptych.parity.running.trace import Call
from model_specs.common.key import Key
from numpy_ref.nn import BatchNorm2d, Conv2d, ConvTranspose2d, Linear


def test_the_normwise_error_of_known_arrays():
    assert errors.normwise(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert errors.normwise(np.zeros(2), np.zeros(2)) == 0
    assert errors.normwise(np.array([0.0, 1e-300]), np.zeros(2)) == math.inf
    assert errors.normwise(np.array([]), np.array([])) == 0


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_norms_neither_overflow_nor_underflow(scale):
    array, reference = scale * np.array([3.0, -4.5]), scale * np.array([3.0, -4.0])
    assert errors.normwise(array, reference) == pytest.approx(0.1)
    assert errors.norm(reference) == pytest.approx(5 * scale)


def test_the_norm_of_zeros_and_of_infinities():
    assert errors.norm(np.zeros(3)) == errors.norm(np.array([])) == 0
    assert errors.norm(np.array([1.0, -math.inf])) == math.inf


def test_magnitudes_without_a_gap_are_one_island():
    for array in (np.zeros(3), np.array([0.0, 1.0, 1024.0]), 2.0 ** np.arange(0, 40, 10)):
        assert list(errors.islands(array, array)) == [None]


def test_ten_empty_binades_separate_two_islands():
    array = np.array([0.0, 1.0, 2.0**11, -(2.0**12)])
    large, small = errors.islands(array, np.zeros(4))
    assert large.tolist() == [False, False, True, True]
    assert small.tolist() == [False, True, False, False]
    masks = list(errors.islands(np.array([1.0, 2.0**30, 2.0**60]), np.array([2.0**60, 0, 1.0])))
    assert [mask.tolist() for mask in masks] == [[True, False, True], [False, True, False]]


def test_errors_in_units_in_the_last_place():
    reference = np.array([1.0, 2.0, -1.0])
    array = reference + np.array([3, 4, -5]) * 2.0**-52
    assert errors.in_ulp(array, reference, np.dtype("float64")).tolist() == [3, 2, 5]
    assert errors.in_ulp(reference + 2.0**-23, reference, np.dtype("float32"))[0] == 1


def call(inputs, outputs):
    """A call with one input and one output of these shapes."""
    arrays = {"0": np.zeros(inputs)}, {"": np.zeros(outputs)}
    return Call("f", "", "forward", None, inputs=arrays[0], outputs=arrays[1])


@pytest.mark.parametrize(
    ("module", "inputs", "outputs", "forward", "backward"),
    [
        (Linear(6, 5), (70, 6), (70, 5), 6, 70),  # a sum over 6 inputs; over 70 rows for dW
        (Linear(6, 50), (7, 6), (7, 50), 6, 50),  # dx is a sum over 50 outputs
        (Conv2d(2, 3, 4), (5, 2, 7, 7), (5, 3, 4, 4), 32, 80),
        (ConvTranspose2d(2, 3, 4), (5, 2, 4, 4), (5, 3, 7, 7), 32, 80),
        (BatchNorm2d(2), (5, 2, 3, 3), (5, 2, 3, 3), 45, 45),
        (None, (5, 6), (5,), 6, 6),  # a sum over the last axis
        (None, (5, 6), (5, 6), 1, 1),
    ],
)
def test_roundings_are_the_length_of_the_longest_sum(module, inputs, outputs, forward, backward):
    both = [module]
    if module is not None:
        both.append(torch_twin(module))
    for side in both:
        one = call(inputs, outputs)
        assert roundings(one, side, "forward") == forward + 8
        assert roundings(one, side, "vjp") == backward + 8


def torch_twin(module):
    """The torch layer with the shapes of a NumPy layer."""
    if isinstance(module, Linear):
        return torch.nn.Linear(*module.weight.data.shape[::-1])
    if isinstance(module, BatchNorm2d):
        return torch.nn.BatchNorm2d(len(module.weight.data))
    kind = getattr(torch.nn, type(module).__name__)
    return kind(module.in_channels, module.out_channels, module.kernel_size)


def test_the_rounding_bound_is_that_of_higham_and_mary():
    assert bounds.rounding_bound(np.dtype("float32"), 16) == 8 * 2.0**-24 * 4
    assert bounds.rounding_bound(np.dtype("float64"), 16) == 8 * 2.0**-53 * 4


def test_sensitivity_is_the_change_for_a_relative_perturbation():
    y = np.array([3.0, 4.0])
    assert bounds.sensitivity(y, y * (1 + 2.0**-30)) == pytest.approx(5)
    assert bounds.sensitivity(y, y) == 0


@pytest.mark.parametrize(
    ("reference", "perturbed"),
    [
        (None, np.ones(2)),
        (np.ones(2), None),
        (None, None),
        (np.ones(2), np.ones(3)),
        (np.ones(2), np.array([1.0, math.nan])),
        (np.ones(2), np.array([1.0, math.inf])),
    ],
)
def test_there_is_no_sensitivity_where_a_tensor_is_missing_or_not_finite(reference, perturbed):
    assert bounds.sensitivity(reference, perturbed) == 0


def test_a_perturbation_is_relative_and_leaves_integers():
    key, x = Key(3), np.array([0.0, 1.0, -1e6, 1e6, 2.0, 3.0])
    change = (bounds.perturb(key, x) - x)[1:] / x[1:] * 2.0**30
    assert bounds.perturb(key, x)[0] == 0 and 0.2 < np.abs(change).mean() < 3
    assert bounds.perturb(key, np.arange(3)).tolist() == [0, 1, 2]
