"""The two measurements of the witness, for one function at one point.

1. Is the vjp the derivative? With a random cotangent c and a random direction d of one array,

       <g, d> = (F(h) - F(-h)) / 2 h + O(h^2),   F(s) = <c, y(x + s d)>,   g = vjp(c)

   In 50 digits with h = 1e-17 the right side has an error of about 1e-33. An element of the
   Jacobian that is wrong by e changes the left side by e times an element of c and one of d, none
   of which is near 0. So one direction shows any single wrong element whose error is not 1e25 times
   smaller than the gradient.

2. How far is float64 from the truth? The inputs are float64 numbers, and the 50 digits of the left
   panel's output and gradients are the truth for both panels, in units in the last place (ulp).
"""

from __future__ import annotations

import copy
import math
import zlib
from typing import NamedTuple

import numpy as np
from helpers.many_digits import Number, many
from helpers.witness.panel import many_digit_arguments, many_digit_module, many_digit_panel
from helpers.witness.runs import Case, inputs, nonzero, run_left, run_right

STEP = Number(10) ** -17
BOUND = 1e-25
"""Of the relative error of a vjp."""
EPS = 2.0**-52
NEGLIGIBLE = 1e-30
"""An element smaller than this, relative to the largest, is 0 but for the rounding of 50 digits."""


class Errors(NamedTuple):
    """Errors of float64 arrays in ulp: the largest of the arrays' norms, and of the elements."""

    normwise: float
    worst: float


class Proof(NamedTuple):
    """The relative error of each gradient in 50 digits, and of both panels in float64, in ulp."""

    vjp: dict[str, float]
    left_values: Errors
    left_gradients: Errors
    right_values: Errors
    right_gradients: Errors
    size: int
    """The number of elements of the gradients."""
    first_error: str
    """The element of a gradient that is wrong, with both values; "" within BOUND."""


def prove(name: str, case: Case) -> Proof:
    """Both measurements of one case. `name` seeds the cotangents and the directions."""
    with many_digit_panel():
        witness = Witness(name, case)
        vjp = witness.errors()
        first_error = witness.first_error() if not max(vjp.values()) <= BOUND else ""
    truth = witness.truth
    left = run_left(case.left, copy.deepcopy(case.left_module), case.arguments, witness.cotangents)
    right = run_right(case, witness.cotangents, list(truth.gradients))
    errors = []
    for run in (left, right):
        errors.append(_largest(run.outputs, truth.outputs))
        gradients = [run.gradients[name] for name in truth.gradients]
        errors.append(_largest(gradients, list(truth.gradients.values())))
    return Proof(vjp, *errors, sum(g.size for g in truth.gradients.values()), first_error)


class Witness:
    """A case in 50 digits: its outputs and gradients, and differences to check these by.

    To be used within `many_digit_panel()`.
    """

    def __init__(self, name: str, case: Case) -> None:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.case = case
        shapes = [y.shape for y in run_left(case.left, case.left_module, case.arguments).outputs]
        self.cotangents = [nonzero(rng, shape) for shape in shapes]
        self.module = many_digit_module(case.left_module) if case.modules else None
        self.arguments = many_digit_arguments(case.arguments)
        exact = [many(c) for c in self.cotangents]
        self.truth = run_left(case.left, self.module, self.arguments, exact)
        self.arrays = dict(inputs(self.arguments))
        if self.module is not None:
            self.arrays |= {name: p.data for name, p in self.module.named_parameters()}
        gradients = self.truth.gradients
        self.directions = {name: nonzero(rng, g.shape) for name, g in gradients.items()}

    def errors(self) -> dict[str, float]:
        """|<g, d> - difference| / sum |g_i d_i| by the array's name, or "all" for all at once."""
        groups = [list(self.directions)] if self.case.together else [[n] for n in self.directions]
        errors = {}
        for group in groups:
            directions = {name: self.directions[name] for name in group}
            products = (self.truth.gradients[name] * d for name, d in directions.items())
            scale = float(sum(np.sum(abs(product)) for product in products)) or 1.0
            label = "all" if self.case.together else group[0]
            errors[label] = abs(float(self.gap(directions))) / scale
        return errors

    def gap(self, directions: dict[str, np.ndarray]) -> Number:
        """<g, d> - (F(h) - F(-h)) / 2 h"""
        product = sum(np.sum(self.truth.gradients[name] * d) for name, d in directions.items())
        ahead, behind = self._product(directions, STEP), self._product(directions, -STEP)
        return Number(product - (ahead - behind) / (2 * STEP))

    def _product(self, directions: dict[str, np.ndarray], step: Number) -> Number:
        """F(s): <c, y> with the arrays moved by s along their directions."""
        starts = {name: self.arrays[name].copy() for name in directions}
        for name, direction in directions.items():
            self.arrays[name][...] = starts[name] + step * many(direction)
        try:
            outputs = run_left(self.case.left, self.module, self.arguments).outputs
            # while the arrays are moved: an output may be an input itself
            return sum(np.sum(c * y) for c, y in zip(self.cotangents, outputs, strict=True))
        finally:
            for name, start in starts.items():
                self.arrays[name][...] = start

    def first_error(self) -> str:
        """An element of a gradient that is not the derivative, with both values.

        The errors of two halves add up to that of the whole: bisection follows the larger one.
        """
        places = [(n, index) for n, d in self.directions.items() for index in np.ndindex(d.shape)]
        error = self.gap(self._part(places))
        while len(places) > 1:
            half = places[: len(places) // 2]
            half_error = self.gap(self._part(half))
            if abs(half_error) >= abs(error - half_error):
                places, error = half, half_error
            else:
                places, error = places[len(half) :], error - half_error
        ((name, index),) = places
        value = self.truth.gradients[name][index]
        expected = value - error / self.directions[name][index]
        return f"{name} at {list(index)}: {value} for {expected}"

    def _part(self, places: list[tuple[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
        """The directions, 0 but at these places."""
        part = {name: np.zeros(self.directions[name].shape) for name, _ in places}
        for name, index in places:
            part[name][index] = self.directions[name][index]
        return part


def _largest(arrays: list[np.ndarray], truths: list[np.ndarray]) -> Errors:
    errors = [ulps(array, truth) for array, truth in zip(arrays, truths, strict=True)]
    return Errors(*map(max, zip(Errors(0.0, 0.0), *errors, strict=True)))


def ulps(array: np.ndarray, truth: np.ndarray) -> Errors:
    """The error of a float64 array against an array of Numbers.

    normwise: |a - t| / |t| in units of 2^-52. worst: the largest |a_i - t_i| in units of the last
    place of t_i, over the elements that are not negligible.
    """
    exact = [Number(t) for t in truth.ravel()]
    errors = [abs(float(Number(a) - t)) for a, t in zip(array.ravel(), exact, strict=True)]
    sizes = [abs(float(t)) for t in exact]
    length, norm = math.hypot(*errors), math.hypot(*sizes)
    least = NEGLIGIBLE * max(sizes, default=0.0)
    single = [e / np.spacing(s) for e, s in zip(errors, sizes, strict=True) if s > least]
    normwise = length / (norm * EPS) if norm else length * math.inf if length else 0.0
    return Errors(normwise, float(max(single, default=0.0)))
