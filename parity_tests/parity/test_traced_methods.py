"""Methods whose vjp has an unusual signature, and calls within calls, are compared correctly."""

import pytest
from torch import nn

from diptych import parity, weights
from model_specs.common.key import Key
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Module, Sequential


class LeftScaled(Linear):
    """y = x (b W)^T, where a method of its own computes the weight b W."""

    factor = 1.0

    def scaled(self):
        w, b = self.weight.data, self.bias.data[:, None]
        return w * b, lambda d: (self.factor * d * b, (d * w).sum(1))

    def forward(self, x):
        w, w_vjp = self.scaled()

        def vjp(dy):
            dw, db = w_vjp(dy.T @ x)
            self.weight.grad += dw
            self.bias.grad += db
            return dy @ w

        return x @ w.T, vjp


class RightScaled(nn.Linear):
    def scaled(self):
        return self.weight * self.bias[:, None]

    def forward(self, x):
        return x @ self.scaled().T


def _scaled_pair():
    left = Sequential(Linear(4, 5, Key(1)), LeftScaled(5, 3, Key(2)))
    right = nn.Sequential(nn.Linear(4, 5), RightScaled(5, 3)).double()
    getattr(left, "1").bias.data += 0.5
    weights.transfer(left, right)
    return left, right


def test_a_method_that_computes_a_weight_is_compared(rng):
    """Its vjp returns gradients of parameters; a fault in it shows in the parameter's gradient."""
    left, right = _scaled_pair()
    x = rng.normal(size=(6, 4))
    report = parity.assert_parity(left, right, x)
    assert {"1.scaled", "1"} <= {row.name for row in report.rows if row.kind == "output"}
    getattr(left, "1").factor = 1 + 1e-6
    failures = [(row.kind, row.name, row.origin) for row in parity.compare(left, right, x).failures]
    assert failures == [("parameter gradient", "1.weight", "root cause")]


def test_a_vjp_may_return_a_gradient_for_an_argument_that_is_none(rng):
    class Left(Module):
        def shift(self, x, b, y):
            return x + y, lambda d: (d, None, self.factor * d)

        def forward(self, x):
            y, shift_vjp = self.shift(x, None, x)

            def vjp(d):
                dx, _, dy = shift_vjp(d)
                return dx + dy

            return y, vjp

    class Right(nn.Module):
        def shift(self, x, b, y):
            return x + y

        def forward(self, x):
            return self.shift(x, None, x)

    left, x = Left(), rng.normal(size=(3, 2))
    left.factor = 1.0
    assert parity.compare(left, Right(), x).ok
    left.factor = 2.0
    row = parity.compare(left, Right(), x).root_cause
    assert (row.kind, row.name) == ("input gradient", "shift(y)")


def test_a_nested_call_is_not_replayed_twice(rng):
    """The replay of a parameter's gradient must not count `scaled` besides the `forward` above."""
    left, right = _scaled_pair()
    first = getattr(left, "0")
    forward = first.forward
    first.forward = lambda x: (1.001 * forward(x)[0], forward(x)[1])
    report = parity.compare(left, right, rng.normal(size=(6, 4)))
    origins = {row.name: row.origin for row in report.failures if row.kind == "parameter gradient"}
    assert origins["1.weight"] == origins["1.bias"] == "propagated"


@pytest.mark.parametrize("returned", [None, 0])
def test_a_vjp_that_returns_nothing_is_a_failure(returned, rng):
    class Left(Module):
        def forward(self, x):
            return 2 * x, lambda dy: returned

    class Right(nn.Module):
        def forward(self, x):
            return 2 * x

    row = parity.compare(Left(), Right(), rng.normal(size=(3, 2))).first_divergence
    assert (row.kind, row.name) == ("input gradient", "forward(x)")
    assert "missing on the left" in row.note


def test_a_vjp_with_too_many_gradients_is_refused(rng):
    class Left(Module):
        def forward(self, x):
            return 2 * x, lambda dy: (2 * dy, dy)

    class Right(nn.Module):
        def forward(self, x):
            return 2 * x

    with pytest.raises(ValueError, match="gave 2 gradients for 1 inputs"):
        parity.compare(Left(), Right(), rng.normal(size=(3, 2)))
