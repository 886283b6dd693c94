"""Methods of unusual form: assigned, recursive, with keyword arguments, without a vjp."""

import functools

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

from diptych import weights
from numpy_ref.nn import Linear

X = draw(5, 4)


def _tanh(factor=1.0):
    """y = tanh x, whose gradient may have a factor."""
    return left(forward=lambda self, x: (np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2))


def _root(factor=1.0, name="act", child=None):
    def forward(self, x):
        y, vjp = getattr(self, name)(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    return left(forward=forward, **{name: child or _tanh(factor)})


@situation("hostile", agrees=[1.0], differs=[1.001], says="forward|w")
def root_that_calls_itself(factor):
    """A recursion of depth 2."""

    def left_forward(self, x, depth=2):
        if depth == 0:
            return x, lambda dy: dy
        inner, inner_vjp = self(np.tanh(x), depth - 1)
        return inner, lambda dy: factor * inner_vjp(dy) / np.cosh(x) ** 2

    def forward(self, x, depth=2):
        return x if depth == 0 else self(torch.tanh(x), depth - 1)

    return pair(left(forward=left_forward), right(forward=forward), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"mix")
def child_with_keyword_arguments_on_one_side(factor):
    def mix(self, a, b=None, scale=1.0):
        return a * b * scale, lambda dy: (factor * dy * b * scale, dy * a * scale)

    def left_forward(self, x):
        y, vjp = self.mix(x, x + 1, 2.0)
        return y, lambda dy: sum(vjp(dy))

    def forward(self, x):
        return self.mix(x, scale=2.0, b=x + 1)

    child = right(forward=lambda self, a, b=None, scale=1.0: a * b * scale)
    return pair(
        left(forward=left_forward, mix=left(forward=mix)), right(forward=forward, mix=child), X
    )


@situation("hostile", agrees=[1.0], differs=[1.001], says="cell")
def child_with_a_tuple_and_a_string(factor):
    def cell(self, state, x, mode):
        h, c = state
        return (h * x, c + x), lambda dh, dc: ((factor * dh * x, dc), dh * h + dc, None)

    def left_forward(self, x):
        (h, c), vjp = self.cell((x + 1, 2 * x), x, "relu")

        def backward(dh, dc):
            (dh0, dc0), dx, _ = vjp(dh, dc)
            return dh0 + 2 * dc0 + dx

        return (h, c), backward

    child = right(forward=lambda self, state, x, mode: (state[0] * x, state[1] + x))
    model = right(forward=lambda self, x: self.cell((x + 1, 2 * x), x, "relu"), cell=child)
    return pair(left(forward=left_forward, cell=left(forward=cell)), model, X)


def _linears(factor=1.0):
    layer, torch_layer = Linear(4, 3), nn.Linear(4, 3).double()
    layer.bias.data += 0.5
    weights.transfer(layer, torch_layer)
    torch_layer.bias.data *= factor
    return layer, torch_layer


@situation("hostile", agrees=[1.0], differs=[1.001], first="bias")
def root_that_is_a_bare_layer(factor):
    return pair(*_linears(factor), X)


def _forwards(kind):
    tanh = nn.Tanh()
    return {
        "partial": functools.partial(torch.tanh),
        "builtin": torch.tanh,
        "module": tanh,
        "lambda": lambda x: 1.0 * torch.tanh(x),
    }[kind]


@situation("hostile", agrees=["partial", "builtin", "lambda"])
def forward_that_is_no_method(kind):
    model = nn.Module()
    model.forward = _forwards(kind)
    return pair(_tanh(), model, X)


@situation("hostile", differs=["partial", "builtin", "lambda"], says=r"forward\(")
def forward_that_is_no_method_with_a_fault(kind):
    model = nn.Module()
    model.forward = _forwards(kind)
    return pair(_tanh(1.001), model, X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"forward\(")
def left_forward_that_is_an_attribute(factor):
    root = left()
    root.forward = lambda x: (np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2)
    return pair(root, nn.Tanh(), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"act|forward")
def child_that_is_replaced_inside_a_forward(factor):
    def forward(self, x):
        self.act = nn.Tanh()
        return 2 * self.act(x)

    return pair(_root(factor), right(forward=forward, act=nn.ReLU()), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def right_that_returns_its_workspace(factor):
    """The right writes each result into one buffer, and returns that buffer."""

    def forward(self, x):
        with torch.no_grad():
            torch.mul(x, 2, out=self.workspace)
        return self.workspace

    model = right(forward=forward)
    model.workspace = torch.empty(5, 4).double()
    return pair(left(forward=lambda self, x: factor * x), model, X)


@situation("hostile", agrees=["list"], mentions="not compared: ", or_refused=True)
def vjp_in_a_list_instead_of_a_tuple(_):
    """`[y, vjp]` is no pair of an output and its vjp: it must not be taken for one in silence."""
    return pair(left(forward=lambda self, x: [np.tanh(x), lambda dy: dy]), nn.Tanh(), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_unusual_methods(case):
    case.check()
