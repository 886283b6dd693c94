"""Faults in a vjp that the witness must show, and name at the right element."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from helpers.many_digits import Number, many
from helpers.witness import coverage, functions, layers, limits, models
from helpers.witness.panel import many_digit_panel
from helpers.witness.proof import BOUND, Witness, prove, ulps
from helpers.witness.runs import Case

import numpy_ref.rnn
from numpy_ref.nn import functional

FACTOR = 1 + 1e-12


@pytest.mark.parametrize("name", functions.CASES)
def test_one_element_that_is_wrong_in_the_twelfth_digit_is_shown(name):
    """Of each gradient the smallest element that is not 1e10 times smaller than the largest."""
    with many_digit_panel():
        witness = Witness(name, functions.CASES[name])
        assert max(witness.errors().values()) <= BOUND
        for array, gradient in witness.truth.gradients.items():
            sizes = abs(gradient).astype(float)
            index = np.unravel_index(
                np.where(sizes > 1e-10 * sizes.max(), sizes, np.inf).argmin(), sizes.shape
            )
            right = gradient[index]
            gradient[index] = right * FACTOR if right else Number(1e-12)
            assert [label for label, e in witness.errors().items() if e > BOUND] == [array]
            gradient[index] = right


def replaced(monkeypatch, file, name, change):
    """Replace a function of the panel by one whose vjp is changed: change(vjp, *dy)."""
    original = getattr(file, name)

    @functools.wraps(original)
    def function(*arguments, **options):
        y, vjp = original(*arguments, **options)
        return y, lambda *dy: change(vjp, *dy)

    monkeypatch.setattr(file, name, function)


def test_a_sign_in_one_element_is_named_with_both_values(monkeypatch):
    def flip(vjp, dy):
        dx, dW, db = vjp(dy)
        dW[2, 1] *= -1
        return dx, dW, db

    replaced(monkeypatch, functional, "linear", flip)
    proof = prove("Linear", layers.CASES["Linear"])
    assert proof.vjp["weight"] > BOUND and proof.vjp["[0]"] <= BOUND
    place, _, values = proof.first_error.partition(": ")
    value, expected = map(float, values.split(" for "))
    assert place == "weight at [2, 1]" and value == -expected


@pytest.mark.parametrize(
    "file, function, name",
    [(functional, "tanh", "loss of mlp_vae, tanh"), (numpy_ref.rnn, "rnn_cell", "loss of rnn")],
)
def test_a_factor_of_one_and_1e_12_in_a_vjp_is_shown_in_a_whole_model(
    monkeypatch, file, function, name
):
    """The finite differences of float64, whose error is 1e-10 at best, cannot show it."""
    replaced(monkeypatch, file, function, lambda vjp, *dy: vjp(*dy) * FACTOR)
    with many_digit_panel():
        witness = Witness(name, models.make_case(name))
        assert BOUND < witness.errors()["all"] < 1e-11
        assert "weight" in witness.first_error()


def test_a_function_without_a_case_is_missed_by_name(monkeypatch):
    def cube(x):
        return x**3, lambda dy: 3 * dy * x * x

    cube.__module__, cube.__qualname__ = functional.__name__, "cube"
    monkeypatch.setattr(functional, "cube", cube, raising=False)
    names = coverage.functions_with_vjp()
    assert names["nn.functional.cube"] is cube and cube not in functions.COVERED
    assert coverage.vjp_codes(cube)[0] not in coverage.executed_codes(functions.CASES["tanh"])


def test_an_error_in_float64_is_measured_in_units_of_the_last_place(rng):
    truth = many(1 + rng.random(7))
    array = truth.astype(float)
    assert ulps(array, truth) == (0.0, 0.0)
    array[3] += 5 * 2.0**-52
    errors = ulps(array, truth)
    norm = np.sqrt((truth.astype(float) ** 2).sum())
    assert errors.worst == 5.0 and errors.normwise == pytest.approx(5 / norm)
    assert ulps(np.array([1e-3]), many([0.0])).normwise == np.inf


def expm1(x):
    return np.expm1(x), lambda dy: dy * np.exp(x)


def expm1_with_cancellation(x):
    """Near 0 it loses the digits of x in float64; in 50 digits more than 16 are left."""
    return np.exp(x) - 1, lambda dy: dy * np.exp(x)


@pytest.mark.parametrize(
    "side, left, right",
    [
        ("left", expm1_with_cancellation, torch.expm1),
        ("right", expm1, lambda x: x.exp() - 1),
    ],
)
def test_a_panel_that_loses_digits_in_float64_is_above_the_limit(side, left, right):
    x = 1e-9 * functions.CASES["tanh"].arguments[0]
    proof = prove("expm1", Case(left, right, (x,)))
    (excess,) = limits.excesses("expm1", proof, limits.LAYER)
    assert excess.startswith(f"{side}_values") and max(proof.vjp.values()) <= BOUND
