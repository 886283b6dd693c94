"""Plain functions on the left, in `compare_functions`."""

import pytest
import torch
from helpers.situations import draw, functions, situation, situations_of
from torch import nn

X, W, B = draw(5, 4), draw(4, 3), draw(3)


def _affine(factor=1.0, shift=0.0):
    """y = x w + b and its vjp, in one function."""

    def affine(x, w, b):
        return x @ w + b + shift, lambda dy: (dy @ w.T, factor * (x.T @ dy), dy.sum(0))

    return affine


def _cached(factor=1.0):
    def forward(x, w, b):
        return x @ w + b, (x, w)

    def backward(dout, cache):
        x, w = cache
        return dout @ w.T, factor * (x.T @ dout), dout.sum(0)

    return forward, backward


def _linear():
    layer = nn.Linear(4, 3).double()
    layer.weight.data.copy_(torch.from_numpy(W.T))
    layer.bias.data.copy_(torch.from_numpy(B))
    return layer


OPTIONS = {
    "inputs": [X],
    "params": {"w": W, "b": B},
    "names": {"w": "weight", "b": "bias"},
    "layout": {"w": "i o -> o i"},
}


@situation("2", agrees=[1.0], differs=[1.001], first="w")
def function_with_a_vjp(factor):
    return functions(_affine(factor), _linear(), **OPTIONS)


@situation("2", differs=[1e-9])
def function_with_a_wrong_output(shift):
    return functions(_affine(shift=shift), _linear(), **OPTIONS)


@situation("2", agrees=[1.0], differs=[1.001], first="w")
def pair_of_functions_with_a_cache(factor):
    return functions(_cached(factor), _linear(), style="cache", **OPTIONS)


@situation("2", agrees=["io->oi", "i o -> o i"])
def layout_of_a_parameter(layout):
    return functions(_affine(), _linear(), **OPTIONS | {"layout": {"w": layout}})


@situation("2", differs=["none"], says="w", or_refused=True)
def layout_that_is_missing(_):
    options = {name: value for name, value in OPTIONS.items() if name != "layout"}
    return functions(_affine(), _linear(), **options)


@situation("2", agrees=[0.0], differs=[1e-9], mentions="not compared: ")
def function_without_a_vjp(shift):
    return functions(lambda x, w, b: x @ w + b + shift, _linear(), **OPTIONS)


@situation("2", agrees=[2.0], differs=[2.001])
def two_functions_without_parameters(slope):
    return functions(lambda x: (x**2, lambda dy: slope * x * dy), lambda x: x**2, inputs=[X])


@situation("hostile", agrees=["copy"], differs=["edit"])
def function_that_edits_its_input(manner):
    def centre(x):
        if manner == "edit":
            x -= 1.0
            return x, lambda dy: dy
        return x.copy(), lambda dy: dy

    return functions(centre, lambda x: 1.0 * x, inputs=[X])


@situation("hostile", agrees=["copy"], differs=["edit"], says="deterministic|w", or_refused=True)
def function_that_edits_its_parameter(manner):
    """y = x w + b; the forward adds 1 to w after use, or does not."""

    def affine(x, w, b):
        y, start = x @ w + b, w.copy()
        if manner == "edit":
            w += 1.0
        return y, lambda dy: (dy @ w.T, x.T @ dy, dy.sum(0)) if len(start) else None

    return functions(affine, _linear(), **OPTIONS)


@situation(
    "2", refused=["too few", "unknown", "no function", "style"], says="takes|vjp|names|style"
)
def functions_that_do_not_fit(kind):
    def affine(x, w, b):
        return x @ w + b, lambda dy: (dy @ w.T,)

    options = dict(OPTIONS)
    if kind == "unknown":
        options["names"] = {"w": "weight", "v": "bias"}
    if kind == "style":
        options["style"] = "tape"
    left = {"no function": 3.0, "too few": affine}.get(kind, _affine())
    return functions(left, _linear(), **options)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_functions(case):
    case.check()
