"""Arguments that `compare` does not take: one sentence each, which says what is taken.

Two torch modules, or two NumPy modules, are taken.
"""

import numpy as np
import pytest
import torch
from helpers.situations import Comparison, draw, left, pair, right, situation, situations_of
from torch import nn

X, W = draw(5, 4), draw(3, 4)


def _left(factor=1.0):
    def forward(self, x):
        def vjp(dy):
            self.weight.grad += dy.T @ x
            return factor * (dy @ self.weight.data)

        return x @ self.weight.data.T, vjp

    return left(forward=forward, weight=W)


def _right(factor=1.0):
    return right(forward=lambda self, x: factor * (x @ self.weight.T), weight=W)


class Estimator:
    """A class of another library."""

    def forward(self, x):
        return 2 * x

    def predict(self, x):
        return 2 * x


@situation("2", refused=["torch, NumPy"], says="takes")
def panels_that_are_swapped(_):
    return pair(_right(), _left(), X)


@situation("2", agrees=[1.0], differs=[1.001], first="forward")
def two_torch_modules(factor):
    return pair(_right(), _right(factor), X)


@situation("2", agrees=[1.0], differs=[1.001], first="forward(x)")
def two_numpy_modules(factor):
    return pair(_left(factor), _left(), X)


@situation("2", agrees=["module"], or_refused=True)
def one_module_on_both_sides(_):
    model = _right()
    return pair(model, model, X)


THINGS = {
    "function": lambda: lambda x: 2 * x,
    "foreign object": Estimator,
    "class of a module": lambda: nn.Linear,
    "class of a NumPy module": lambda: type(_left()),
    "number": lambda: 3.0,
    "array": lambda: X,
    "tensor": lambda: torch.ones(2),
    "dict of weights": lambda: {"weight": W},
    "list of modules": lambda: [nn.Linear(4, 3)],
    "pair of functions": lambda: (lambda x: 2 * x, lambda dy: 2 * dy),
    "generator": lambda: (x for x in X),
    "bytes": lambda: b"mlp_vae",
}


@situation("2", refused=[*THINGS, "None"], says="left.*takes")
def left_that_is_no_module(kind):
    return pair(THINGS[kind]() if kind != "None" else None, _right(), X)


@situation("2", refused=[*THINGS, "None"], says="right.*takes")
def right_that_is_no_module(kind):
    return pair(_left(), THINGS[kind]() if kind != "None" else None, X)


@situation("2", refused=["function"], says="compare_functions")
def functions_have_a_comparison_of_their_own(_):
    return pair(lambda x: (2 * x, lambda dy: 2 * dy), lambda x: 2 * x, X)


@situation(
    "2",
    refused=["mlp_va", "", "no such pair", "mlp_vae[nothing]", "golden.txt", "a.b.c"],
    says="pair|takes|mean|variant|file",
)
def string_that_is_no_pair(text):
    return Comparison("compare", (text,))


@situation(
    "2",
    refused=["missing.safetensors", "mlp_vae", "missing/golden.safetensors"],
    says="takes|no such|not found|does not exist|missing|cannot",
)
def string_beside_a_model(text):
    return pair(text, _right(), X)


@situation("2", refused=["left", "right", "both"], says="forward")
def model_without_a_method(side):
    twins = _left(), _right()
    if side in ("left", "both"):
        twins = left(weight=W), twins[1]
    if side in ("right", "both"):
        twins = twins[0], right(weight=W)
    return pair(*twins, X)


BATCHES = {
    "missing": (),
    "None": (None,),
    "string": ("images",),
    "strings": (np.array(["a", "b"]),),
    "objects": (np.array([object()]),),
    "list of numbers": ([1.0, 2.0],),
    "number": (3.0,),
    "one array too many": ((X, X),),
    "no array": ((),),
    "another width": (draw(5, 7),),
    "complex": (X + 1j,),
    "a data loader": (iter([X]),),
    "set": ({1.0},),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"),),
}


@situation("2", refused=BATCHES, says=r"batch|forward|takes|x:")
def batch_that_the_models_do_not_take(kind):
    return pair(_left(), _right(), *BATCHES[kind])


@situation("2", refused=["left", "right"], says="inner")
def layer_that_raises(side):
    """The path of the layer stands in the message, besides what the layer says."""

    def fail(self, x):
        return (
            np.ones((2, 3)) @ np.ones((5, 4))
            if side == "left"
            else torch.ones(2, 3) @ x.new_ones(5, 4)
        )

    good_left = left(forward=lambda self, x: (2 * x, lambda dy: 2 * dy))
    good_right = right(forward=lambda self, x: 2 * x)
    twins = (
        left(
            forward=lambda self, x: self.inner(x),
            inner=left(forward=fail) if side == "left" else good_left,
        ),
        right(
            forward=lambda self, x: self.inner(x),
            inner=right(forward=fail) if side == "right" else good_right,
        ),
    )
    return pair(*twins, X)


OPTIONS = {
    "bound": [-1.0, "small", float("nan"), {"w": "small"}],
    "rename": ["weight", {"weight": 3}, {3: "weight"}],
    "ignore": [3, {"a": 1.0}],
    "layout": [
        "o i",
        {"weight": "o i -> o"},
        {"weight": "o i -> i o k"},
        {"nothing": "a b -> b a"},
    ],
    "allow_unused": [3, {"weight": 1}],
    "infinities": ["none", 1],
    "dtype": ["float16", "int64", 7],
    "device": ["abacus", 3.5],
    "kwargs": [3, {"no_such_argument": 1}],
    "key": [7, "seed"],
}


WRONG = [f"{name}-{i}" for name, values in OPTIONS.items() for i in range(len(values))]


@situation("2", refused=WRONG, says="takes|got|no |not ")
def option_of_a_wrong_value(case):
    name, i = case.split("-")
    return pair(_left(), _right(), X, **{name: OPTIONS[name][int(i)]})


@situation("1", differs=["*"], says="nothing|compared", or_refused=True)
def every_row_ignored(pattern):
    """Zero compared tensors is an error."""
    return pair(_left(), _right(), X, ignore=[pattern])


@situation(
    "1",
    differs=["None", "string", "object", "empty tuple"],
    says="nothing|compared|takes",
    or_refused=True,
)
def output_without_any_array(kind):
    value = {"None": None, "string": "x", "object": Estimator(), "empty tuple": ()}[kind]
    twins = (
        left(forward=lambda self, x: (value, lambda *dy: None)),
        right(forward=lambda self, x: value),
    )
    return pair(*twins, X)


@situation("1", differs=["object"], says="nothing|compared|takes|State", or_refused=True)
def output_of_a_foreign_class_that_differs(_):
    """The engine cannot look into the object, so that it must not say that the sides agree."""

    class State:
        def __init__(self, h):
            self.h = h

    twins = (
        left(forward=lambda self, x: (State(3 * x), lambda *dy: None)),
        right(forward=lambda self, x: State(2 * x)),
    )
    return pair(*twins, X)


@situation("1", differs=["generator"], says="generator|takes|compared|nothing", or_refused=True)
def output_that_is_a_generator(_):
    twins = (
        left(forward=lambda self, x: ((row for row in x), lambda *dy: None)),
        right(forward=lambda self, x: (2 * row for row in x)),
    )
    return pair(*twins, X)


@situation("2", agrees=["numpy", "tensor", "tracked tensor", "float32", "tuple", "list"])
def batch_that_is_taken(kind):
    batches = {
        "numpy": X,
        "tensor": torch.from_numpy(X),
        "tracked tensor": torch.from_numpy(X.copy()).requires_grad_(),
        "float32": torch.from_numpy(X).float(),
        "tuple": (X,),
        "list": [X],
    }
    twins = (_left(), _right())
    if kind == "list":
        twins = (
            left(forward=lambda self, xs: (2 * xs[0], lambda dy: [2 * dy])),
            right(forward=lambda self, xs: 2 * xs[0]),
        )
    return pair(*twins, batches[kind])


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_arguments(case):
    case.check()
