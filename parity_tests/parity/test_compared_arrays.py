"""Rows of single arrays: the element that a row names, its bound, and what infinities do."""

import math

import numpy as np
import pytest

from diptych.parity.measures.rows import Row, compare_arrays

INF, NAN = math.inf, math.nan


def row(array, reference, **options):
    arrays = (np.array(values, np.float64) for values in (array, reference))
    return compare_arrays("y", "output", *arrays, 1e-13, **options)


def test_a_row_names_the_largest_difference():
    result = row([[1.0, 2.0], [3.5, 4.1]], [[1.0, 2.0], [3.0, 4.0]])
    assert not result.ok and result.index == (1, 0) and result.values == (3.5, 3.0)


def test_a_difference_that_the_norm_hides_is_named():
    """Beside 1e9 an error of 1e-5 is nothing in the norm; the largest of the small ones counts."""
    array, reference = [-1e9, 1.0, 2.0 + 1e-6, 3.0 + 1e-5, 4.0], [-1e9, 1.0, 2.0, 3.0, 4.0]
    result = row(array, reference)
    assert not result.ok and result.index == (3,) and result.values == (3.0 + 1e-5, 3.0)
    assert result.error == pytest.approx(math.hypot(1e-6, 1e-5) / math.hypot(2, 3), rel=1e-6)
    assert "hidden by elements of 1e+09" in result.note
    assert row(reference, reference).ok


@pytest.mark.parametrize("infinities", ["masked", "equal"])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_an_infinity_that_is_allowed_is_not_the_one_that_is_named(infinities, bad):
    for array, reference in (([-INF, 1.0, bad], [-INF, 1.0, 2.0]),) * 2:
        for one, two in ((array, reference), (reference, array)):
            result = row(one, two, infinities=infinities)
            assert not result.ok and result.index == (2,) and result.error == INF
            assert result.note.startswith("NaN or inf on the")
    assert row([-INF, 1.0], [-INF, 1.0], infinities=infinities).ok
    assert not row([-INF, 1.0], [-INF, 1.1], infinities=infinities).ok


def test_equal_infinities_agree_only_where_they_are_allowed():
    for value, allowed in ((INF, {"equal"}), (-INF, {"masked", "equal"}), (NAN, set())):
        for infinities in ("masked", "equal"):
            agrees = row([value, 1.0], [value, 1.0], infinities=infinities).ok
            assert agrees == (infinities in allowed), (value, infinities)


def test_the_bound_is_widened_only_for_what_is_over_it():
    calls = []

    def widen(mask, error, norm):
        calls.append((mask, error, norm))
        return 1e-3

    assert row([3.0, 4.0], [3.0, 4.0], widen=widen).bound == 1e-13 and calls == []
    result = row([3.0, 4.0 + 5e-6], [3.0, 4.0], widen=widen)
    assert result.ok and result.bound == 1e-3 and result.error == pytest.approx(1e-6)
    ((mask, error, norm),) = calls
    assert mask is None and norm == pytest.approx(5) and error == pytest.approx(1e-6)
    assert not row([3.0, 4.1], [3.0, 4.0], widen=widen).ok
    assert calls[-1][2] == 5  # the norm of the reference
    assert not row([3.0, 4.0], [0.0, 0.0], widen=widen).ok
    assert calls[-1][2] == 5  # that of the array, where the reference is 0


def test_the_excess_of_a_row_is_its_error_in_units_of_its_bound():
    assert row([3.0, 4.5], [3.0, 4.0]).excess == pytest.approx(0.1 / 1e-13)
    assert Row("w", "parameter", (2,), 0.25, 0.0).excess == 0.25  # without a bound
    assert Row("w", "parameter", (2,), 0.25, 0.5).excess == 0.5
