"""The numbers behind a verdict: errors, their explanations, roundings and bounds."""

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
    assert errors.normwise(np.array([1.0, 1.0]), np.array([1e-200, 0.0])) == math.inf


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_norms_neither_overflow_nor_underflow(scale):
    array, reference = scale * np.array([3.0, -4.5]), scale * np.array([3.0, -4.0])
    assert errors.normwise(array, reference) == pytest.approx(0.1)
    assert errors.norm(reference) == pytest.approx(5 * scale)


def test_the_norm_of_zeros_and_of_infinities():
    assert errors.norm(np.zeros(3)) == errors.norm(np.array([])) == 0
    assert errors.norm(np.array([1.0, -math.inf])) == math.inf


def unexplained(array, reference, bound=1e-13, least_normal=0.0):
    """The indices of the elements whose difference is no rounding error."""
    mask = errors.unexplained(np.array(array), np.array(reference), bound, least_normal)
    return [] if mask is None else np.flatnonzero(mask).tolist()


def test_a_difference_within_the_bound_of_its_own_element_is_explained():
    assert unexplained([1.0, 1e9], [1.0, 1e9]) == []
    assert unexplained([1.0 + 0.9e-13, -1e9 * (1 + 0.9e-13)], [1.0, -1e9]) == []
    assert unexplained([1.0 + 1.2e-13, 0.0], [1.0, 0.0]) == [0]
    assert unexplained([0.0, 1e-5, 1.0], [1e-5, 0.0, 1.0]) == [0, 1]


def test_a_difference_below_the_smallest_normal_number_is_explained():
    assert unexplained([0.0, 1.0], [1e-310, 1.0], least_normal=2.3e-308) == []
    assert unexplained([0.0, 1.0], [3e-308, 1.0], least_normal=2.3e-308) == [0]


@pytest.mark.parametrize(("binades", "is_explained"), [(0, True), (8, True), (9, False)])
def test_differences_of_larger_elements_explain_smaller_ones_up_to_eight_binades(
    binades, is_explained
):
    large, small = 1.0, 2.0**-binades
    difference = 0.9e-13 * large
    array = [large + difference, small + 7 * difference]
    assert unexplained(array, [large, small]) == ([] if is_explained else [1])


@pytest.mark.parametrize(("ratio", "is_explained"), [(15.0, True), (17.0, False)])
def test_differences_of_neighbours_are_alike(ratio, is_explained):
    difference = 2.0**-44  # within the bound for 1, and exact in binary
    array = [1.0 + difference, 0.25 + ratio * difference]
    assert unexplained(array, [1.0, 0.25]) == ([] if is_explained else [1])


def test_smaller_elements_do_not_explain_larger_ones():
    assert unexplained([0.25 + 0.2e-13, 1.0 + 1.5e-13], [0.25, 1.0]) == [1]


def test_the_noise_of_a_mask_is_at_least_that_of_elements_of_its_size():
    noise, reference = np.array([3.0, 4.0, 0.0, 100.0]), np.array([1.0, 2.0, -1.5, 1000.0])
    assert errors.noise_level(noise, reference, None) == errors.norm(noise)
    one = np.array([False, False, True, False])
    assert errors.noise_level(noise, reference, one) == pytest.approx(5 * math.sqrt(1 / 3))
    two = np.array([False, True, True, False])
    assert errors.noise_level(noise, reference, two) == pytest.approx(5 * math.sqrt(2 / 3))
    large = np.array([False, False, False, True])
    assert errors.noise_level(noise, reference, large) == 100
    assert errors.noise_level(noise, reference, ~large) == 5


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


def test_a_perturbation_is_relative_and_leaves_integers():
    key, x = Key(3), np.array([0.0, 1.0, -1e6, 1e6, 2.0, 3.0])
    change = (bounds.perturb(key, x) - x)[1:] / x[1:] * 2.0**30
    assert bounds.perturb(key, x)[0] == 0 and 0.2 < np.abs(change).mean() < 3
    assert bounds.perturb(key, np.arange(3)).tolist() == [0, 1, 2]
