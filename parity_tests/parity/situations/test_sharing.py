"""Parameters and modules that stand under two names, on both sides or on one."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of

X, W = draw(5, 3), draw(3, 3)


def _layer(factor=1.0):
    def forward(self, x):
        def vjp(dy):
            self.weight.grad += factor * (dy.T @ x)
            return dy @ self.weight.data

        return x @ self.weight.data.T, vjp

    return left(forward=forward, weight=W)


def _right_layer():
    return right(forward=lambda self, x: x @ self.weight.T, weight=W)


def _chain_left(first, second):
    def forward(self, x):
        h, first_vjp = self.a(x)
        y, second_vjp = self.b(np.tanh(h))
        return y, lambda dy: first_vjp(second_vjp(dy) / np.cosh(h) ** 2)

    return left(forward=forward, a=first, b=second)


def _chain_right(first, second):
    return right(forward=lambda self, x: self.b(torch.tanh(self.a(x))), a=first, b=second)


def _tied(a, b):
    """Tie the parameters of two modules, of either panel."""
    b.weight = a.weight
    return a, b


def _sides(which):
    lefts, rights = (_layer(), _layer()), (_right_layer(), _right_layer())
    if which in ("left", "both"):
        lefts = _tied(*lefts)
    if which in ("right", "both"):
        rights = _tied(*rights)
    return _chain_left(*lefts), _chain_right(*rights)


@situation("2", agrees=["both", "neither"])
def tied_weights(which):
    return pair(*_sides(which), X)


@situation("2", differs=["left", "right"], says="tied")
def weights_that_are_tied_on_one_side_only(which):
    """Their values are equal, but their gradients add up on one side only."""
    return pair(*_sides(which), X)


@situation("2", agrees=["both"])
def module_under_two_names(which):
    lefts, rights = _layer(), _right_layer()
    return pair(_chain_left(lefts, lefts), _chain_right(rights, rights), X)


@situation("2", differs=["left", "right"], says="tied|shared")
def module_under_two_names_on_one_side_only(which):
    lefts, rights = (_layer(), _layer()), (_right_layer(), _right_layer())
    if which == "left":
        lefts = (lefts[0], lefts[0])
    else:
        rights = (rights[0], rights[0])
    return pair(_chain_left(*lefts), _chain_right(*rights), X)


@situation("2", differs=[1.01], says=r"(^|[\s:])[ab]\.weight($|[\s:,])")
def wrong_gradient_of_a_tied_weight(factor):
    lefts = _tied(_layer(factor), _layer())
    return pair(_chain_left(*lefts), _chain_right(*_tied(_right_layer(), _right_layer())), X)


@situation("2", agrees=[1.0], differs=[1.01], says=r"(^|[\s:])[ab]\.weight($|[\s:,])")
def module_under_two_names_with_its_gradient(factor):
    lefts, rights = _layer(factor), _right_layer()
    return pair(_chain_left(lefts, lefts), _chain_right(rights, rights), X)


@situation("hostile", agrees=["same"], differs=["the other one is called"])
def shared_activation(which):
    """One activation without parameters, under two names and called under both or under one."""
    names = ("p", "p") if which != "same" else ("p", "q")

    def left_forward(self, x):
        h, first = getattr(self, names[0])(x)
        y, second = getattr(self, names[1])(h + 1)
        return (y if which == "same" else 1.001 * y), lambda dy: first(second(dy))

    def activation():
        return left(forward=lambda self, x: (np.tanh(x), lambda dy: dy / np.cosh(x) ** 2))

    act, act_right = activation(), right(forward=lambda self, x: torch.tanh(x))
    model = right(forward=lambda self, x: self.q(self.p(x) + 1), p=act_right, q=act_right)
    return pair(left(forward=left_forward, p=act, q=act), model, X)


@situation("hostile", agrees=["view"], differs=["copy"], first="weight")
def bias_that_is_a_row_of_the_weight(kind):
    """The right adds the first row of its weight; on the left that row may be a copy."""

    def left_forward(self, x):
        b = self.weight.data[0] if kind == "view" else self.fixed
        y = x @ self.weight.data.T + b

        def vjp(dy):
            self.weight.grad += dy.T @ x
            if kind == "view":
                self.weight.grad[0] += dy.sum(0)
            return dy @ self.weight.data

        return y, vjp

    root = left(forward=left_forward, weight=W)
    root.fixed = W[0]
    model = right(forward=lambda self, x: x @ self.weight.T + self.weight[0], weight=W)
    return pair(root, model, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_shared_parameters(case):
    case.check()
