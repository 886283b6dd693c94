"""The numbers of 50 digits, and the left panel while it computes with them."""

from __future__ import annotations

import doctest

import mpmath
import numpy as np
import pytest
from helpers import many_digits
from helpers.many_digits import DIGITS, Number, many
from helpers.witness.panel import (
    SERIES,
    SPECIAL,
    files,
    many_digit_arguments,
    many_digit_panel,
)
from scipy import special

import numpy_ref.lstm
from numpy_ref.nn import functional
from numpy_ref.nn.layers import Linear
from numpy_ref.probability import distributions, grey_distributions

POINTS = [0.3, 2.75, 1e-20, 40.5]
METHODS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh")


def relative(number, expected):
    """The relative error of a Number against an mpf of more digits."""
    return abs(mpmath.mpf(str(number)) / expected - 1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("point", POINTS)
def test_numpy_calls_the_method_of_each_number(name, point):
    with mpmath.workdps(80):
        (result,) = getattr(np, name)(many([point]))
        assert relative(result, getattr(mpmath, name)(mpmath.mpf(point))) < 10.0 ** (1 - DIGITS)


@pytest.mark.parametrize("point", POINTS)
def test_operators_keep_50_digits_of_floats_and_integers_on_either_side(point):
    x = Number(point)
    with mpmath.workdps(80):
        exact = mpmath.mpf(point)
        for result, expected in (
            (x + 0.1, exact + mpmath.mpf(0.1)),
            (0.1 - x, mpmath.mpf(0.1) - exact),
            (3 * x, 3 * exact),
            (1 / x, 1 / exact),
            (x / np.float64(7), exact / 7),
            (np.float64(7) * x, 7 * exact),
            (x**3, exact**3),
            (-x, -exact),
            (abs(-x), exact),
        ):
            assert isinstance(result, Number)
            assert relative(result, expected) < 10.0 ** (1 - DIGITS)
    assert (x > 0) is True and (x == point) is True and (x < point) is False
    assert float(x) == point


def test_the_examples_of_the_numbers_are_true():
    assert doctest.testmod(many_digits) == (0, 3)


def test_a_float_array_comes_back_exactly(rng):
    array = rng.normal(size=(2, 3)) * 10.0 ** rng.integers(-300, 300, (2, 3))
    assert many(array).shape == (2, 3)
    np.testing.assert_array_equal(many(array).astype(float), array)


def test_the_functions_of_scipy_agree_with_scipy():
    x = np.array([0.3, 1.7, 12.0])
    for name, arguments in (
        ("betaln", (x, x[::-1])),
        ("digamma", (x,)),
        ("ndtr", (-x,)),
        ("erfcx", (x,)),
    ):
        result = getattr(SPECIAL, name)(*map(many, arguments)).astype(float)
        np.testing.assert_allclose(result, getattr(special, name)(*arguments), rtol=1e-13)


def test_the_series_is_the_panels_with_more_digits_and_terms():
    ours = grey_distributions.SERIES
    np.testing.assert_allclose(np.array(SERIES[: len(ours)], float), ours, rtol=1e-15)
    assert abs(SERIES[-1]) < 1e-60 and abs(ours[-1]) > 1e-20


def test_the_panel_computes_floats_as_before_and_is_restored_after_an_error(rng):
    before = {file.__name__: dict(vars(file)) for file in files()}
    x, E = rng.normal(size=(3, 5)), rng.normal(size=(7, 5))
    expected = functional.elu(x)[0], functional.linear(x, E, E[:, 0])[0]
    with pytest.raises(RuntimeError, match="stop"), many_digit_panel():
        assert distributions.CLAMP is not before[distributions.__name__]["CLAMP"]
        np.testing.assert_array_equal(functional.elu(x)[0], expected[0])
        np.testing.assert_array_equal(functional.linear(x, E, E[:, 0])[0], expected[1])
        raise RuntimeError("stop")
    for file in files():
        assert vars(file) == before[file.__name__]


def test_every_function_of_numpy_that_the_panel_calls_keeps_the_digits():
    """A value that passed through float64 on its way would have 16 of them."""
    third = Number(1) / 3
    x = np.array([[third, -third], [2 * third, third]])
    with many_digit_panel():
        for function in (functional.sigmoid, numpy_ref.lstm.sigmoid):
            total = function(x) + function(-x)  # 1
            assert all(abs(value - 1) < 1e-48 for value in total.ravel())
        assert all(abs(p - 1) < 1e-48 for p in functional.softmax(x)[0].sum(-1))
        difference = functional.logsumexp(x)[0] - np.log(np.exp(x).sum(-1))
        assert all(abs(value) < 1e-48 for value in difference)


def test_integers_masks_and_layers_settings_are_kept():
    ids, mask = np.arange(3), np.array([True, False])
    kept = many_digit_arguments((ids, mask, 0.1, (np.zeros(2), None), 5))
    assert kept[0] is ids and kept[1] is mask and kept[4] == 5 and kept[3][1] is None
    assert isinstance(kept[2], Number) and isinstance(kept[3][0][0], Number)
    assert Linear(2, 3).weight.data.dtype == np.float64
