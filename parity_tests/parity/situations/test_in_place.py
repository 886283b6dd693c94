"""Operations that change an array in place, on either side.

What counts is the model as its user runs it: an edit is seen by everything that holds the same
array. A left that models the edit agrees; one that models independent copies differs.
"""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

from diptych import weights
from numpy_ref.nn import Linear, Module

X = draw(5, 4)


def _relu(self, x):
    y = np.maximum(x, 0)
    return y, lambda dy: dy * (x > 0)


def _with_linear(left_forward, right_forward, **children):
    """A pair with a linear layer in front, so that the edited array is no leaf."""
    twins = (
        left(forward=left_forward, linear=Linear(4, 3), **{n: c[0] for n, c in children.items()}),
        right(
            forward=right_forward,
            linear=nn.Linear(4, 3).double(),
            **{n: c[1] for n, c in children.items()},
        ),
    )
    weights.transfer(*twins)
    return pair(*twins, X)


@situation("1", agrees=["edit"], differs=["copy"], first="forward")
def relu_in_place_beside_its_input(model):
    def left_forward(self, x):
        y, vjp = self.relu(x)
        if model == "edit":
            return 2 * y, lambda dy: vjp(2 * dy)
        return x + y, lambda dy: dy + vjp(dy)

    def right_forward(self, h):
        return h + self.relu(h)

    model_left = left(forward=left_forward, relu=left(forward=_relu))
    return pair(model_left, right(forward=right_forward, relu=nn.ReLU(inplace=True)), X)


@situation("1", agrees=["edit"], differs=["copy"], first="forward")
def relu_in_place_beside_the_output_of_a_layer(model):
    def left_forward(self, x):
        h, h_vjp = self.linear(x)
        y, vjp = self.relu(h)
        if model == "edit":
            return 2 * y, lambda dy: h_vjp(vjp(2 * dy))
        return h + y, lambda dy: h_vjp(dy + vjp(dy))

    def right_forward(self, x):
        h = self.linear(x)
        return h + self.relu(h)

    return _with_linear(
        left_forward, right_forward, relu=(left(forward=_relu), nn.ReLU(inplace=True))
    )


def _skip_pair(edit, model, slope):
    """h + block(h), where block edits h; `slope` is the derivative of the edit."""

    def block_left(self, h):
        return np.tanh(edit(h)), lambda dy: dy * (1 - np.tanh(edit(h)) ** 2) * slope(h)

    def left_forward(self, x):
        h, h_vjp = self.linear(x)
        y, vjp = self.block(h)
        if model == "edit":
            return edit(h) + y, lambda dy: h_vjp(dy * slope(h) + vjp(dy))
        return h + y, lambda dy: h_vjp(dy + vjp(dy))

    return block_left, left_forward


@situation("1", agrees=["edit"], differs=["copy"], first="forward")
def skip_connection_around_a_block_that_adds_in_place(model):
    block_left, left_forward = _skip_pair(lambda h: h + 0.7, model, lambda h: 1.0)

    def block_right(self, x):
        x += 0.7
        return torch.tanh(x)

    def right_forward(self, x):
        h = self.linear(x)
        y = self.block(h)
        return h + y

    return _with_linear(
        left_forward, right_forward, block=(left(forward=block_left), right(forward=block_right))
    )


@situation("1", agrees=["edit"], differs=["copy"], first="forward")
def skip_connection_around_a_block_that_clamps_in_place(model):
    block_left, left_forward = _skip_pair(
        lambda h: np.maximum(h, 0.1), model, lambda h: (h > 0.1) * 1.0
    )

    def block_right(self, x):
        return torch.tanh(x.clamp_(min=0.1))

    def right_forward(self, x):
        h = self.linear(x)
        y = self.block(h)
        return h + y

    return _with_linear(
        left_forward, right_forward, block=(left(forward=block_left), right(forward=block_right))
    )


@situation("1", agrees=["edit"], differs=["copy"], first="forward")
def block_that_writes_a_column_through_a_view(model):
    factor = np.array([3.0, 1.0, 1.0])
    block_left, left_forward = _skip_pair(lambda h: h * factor, model, lambda h: factor)

    def block_right(self, x):
        first = x[:, :1]
        first.mul_(3)
        return torch.tanh(x)

    def right_forward(self, x):
        h = self.linear(x)
        y = self.block(h)
        return h + y

    return _with_linear(
        left_forward, right_forward, block=(left(forward=block_left), right(forward=block_right))
    )


@situation("1", agrees=["skip"], differs=["no skip"])
def skip_connection_added_in_place_to_the_output_of_a_block(model):
    """`y += x` edits the output of the block after the call; the block itself is correct."""

    def left_forward(self, x):
        h, h_vjp = self.linear(x)
        y, vjp = self.relu(h)
        if model == "skip":
            return y + h, lambda dy: h_vjp(dy + vjp(dy))
        return y, lambda dy: h_vjp(vjp(dy))

    def right_forward(self, x):
        h = self.linear(x)
        y = 1.0 * self.relu(h)
        y += h
        return y

    return _with_linear(left_forward, right_forward, relu=(left(forward=_relu), nn.ReLU()))


@situation("2", agrees=[0.01], differs=[0.02], first="1")
def activation_in_place_in_a_sequence(slope):
    class LeakyReLU(Module):
        def forward(self, x):
            factor = np.where(x > 0, 1.0, slope)
            return x * factor, lambda dy: dy * factor

    twins = (
        left(forward=lambda self, x: getattr(self, "1")(x), **{"1": LeakyReLU()}),
        nn.Sequential(nn.Identity(), nn.LeakyReLU(0.01, inplace=True)),
    )
    return pair(*twins, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_models_that_edit_in_place(case):
    case.check()
