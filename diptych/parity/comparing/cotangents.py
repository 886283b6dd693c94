"""The cotangents of a comparison: the gradients of the root's outputs, with which it begins."""

from __future__ import annotations

import numpy as np

from diptych.arrays import is_float
from diptych.options.options import Options
from diptych.parity.running.alignment import match_leaves
from diptych.parity.running.trace import Arrays
from model_specs.common.key import Key
from numpy_ref.nn import random

COTANGENTS = Key(0).fold_in("cotangents")


class Cotangents:
    """One cotangent for each floating-point output of the root, equal on both sides.

    They are random, because arrays of ones would hide a transpose; if a side is a recording, they
    are the gradients that it holds. `recorded_left` and `recorded_right` are empty for models.
    A plan refers to this object instead of to the comparison, which refers to its plans: so both
    models are freed with the last reference to them, without the garbage collector.
    """

    def __init__(
        self, recorded_left: Arrays, recorded_right: Arrays, options: Options, dtype: np.dtype
    ) -> None:
        self.recorded_left, self.recorded_right = recorded_left, recorded_right
        self.options, self.dtype = options, dtype
        self.left_outputs: Arrays = {}
        """The outputs of the left's run"""

    def of_left(self, outputs: Arrays) -> Arrays:
        """The cotangents of the left's outputs by name."""
        floats = {name: array for name, array in outputs.items() if is_float(array)}
        if self.recorded_left:
            zeros = {name: np.zeros(array.shape, self.dtype) for name, array in floats.items()}
            return {name: self.recorded_left.get(name, zero) for name, zero in zeros.items()}
        if self.recorded_right:
            names = match_leaves(outputs, self.recorded_right)
            return {
                name: np.asarray(
                    self.options.to_left(f"output{name}", self.recorded_right[names[name]])
                )
                if name in names
                else np.zeros(array.shape, self.dtype)
                for name, array in floats.items()
            }
        return {
            name: random.normal(
                COTANGENTS.fold_in(name or "output"), tuple(array.shape), dtype=self.dtype
            )
            for name, array in floats.items()
        }

    def of_right(self, outputs: Arrays) -> Arrays:
        """The left's cotangents in the right's layout, under the names of the right's outputs."""
        left = self.of_left(self.left_outputs)
        matches = match_leaves(self.left_outputs, outputs)
        arrays = {
            matches[name]: contiguous(self.options.to_right(f"output{name}", array))
            for name, array in left.items()
            if name in matches
        }
        # a shape of its own is a row of its own; the backward pass must run all the same
        return {
            name: array
            if (array := arrays.get(name)) is not None and array.shape == output.shape
            else np.zeros(output.shape, self.dtype)
            for name, output in outputs.items()
        }


def contiguous(array: np.ndarray) -> np.ndarray:
    """A copy in C order; np.ascontiguousarray would give a number an axis."""
    return np.array(array, order="C")
