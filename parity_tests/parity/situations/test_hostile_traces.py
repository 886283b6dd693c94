"""Models that would notice a trace, or whose fault a trace or a bound could hide."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

X, W = draw(5, 4), draw(4, 4)


def _tanh(factor=1.0):
    return left(forward=lambda self, x: (np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2))


def _root(factor=1.0):
    def forward(self, x):
        y, vjp = self.act(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    return left(forward=forward, act=_tanh(factor))


def _linear(dtype=np.float64, returned=None, after=None, factor=1.0):
    def forward(self, x):
        def vjp(dy):
            self.w.grad += factor * (dy.T @ x)
            dx = dy @ self.w.data
            if after:
                after(self)
            return dx

        return (returned or (lambda y: y))(x @ self.w.data.T), vjp

    return left(forward=forward, w=W.astype(dtype))


def _right_linear(dtype=np.float64):
    return right(forward=lambda self, x: x @ self.w.T, w=W.astype(dtype))


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward(x)")
def child_that_hooks_its_input(factor):
    """The hook doubles the whole gradient of x, the parent's own use of x included."""

    def child(self, x):
        x.register_hook(lambda gradient: 2 * gradient)
        return torch.tanh(x)

    def left_forward(self, x):
        y, vjp = self.act(x)
        return y + x, lambda dy: factor * dy + 2 * vjp(dy)

    def forward(self, x):
        h = 1.0 * x
        return self.act(h) + h

    model = right(forward=forward, act=right(forward=child))
    return pair(left(forward=left_forward, act=_tanh()), model, X, ignore=["act(x)"])


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def identity_that_the_parent_recognises(factor):
    """The child returns its own input, and the parent asks with `is`."""

    def forward(self, x):
        h = self.act(x)
        return 2 * h if h is x else h

    model_left = left(forward=lambda self, x: (factor * x, lambda dy: factor * dy))
    return pair(model_left, right(forward=forward, act=nn.Identity()), X)


@situation("hostile", agrees=["edited"], differs=["copied"], first="forward")
def left_child_that_returns_its_input(kind):
    """y = child(x) is x itself, so that y += 1 changes x as well."""

    def left_forward(self, x):
        h = 1.0 * x
        y, _ = self.act(h)
        y += 1
        return h * y, lambda dy: 2 * dy * y

    def forward(self, x):
        return (x + 1) ** 2 if kind == "edited" else x * (x + 1)

    identity = left(forward=lambda self, x: (x, lambda dy: dy))
    return pair(left(forward=left_forward, act=identity), right(forward=forward), X)


def _stateful_list(twin):
    """A child that keeps the list which it returned; its parent appends to that list."""

    def child(self, x):
        kept = self.__dict__.setdefault("kept", [])
        kept.append(2 * x)
        return (kept, lambda dys: 2 * sum(dys)) if twin == "left" else kept

    return child


@situation("hostile", agrees=[3], differs=[2], says="forward")
def list_that_a_child_returns_and_keeps(count):
    """The parent appends to the list, which the child then sees."""

    def forward(self, x):
        self.child.kept = []
        states = self.child(x)
        states.append(x)
        states = self.child(x)
        return len(states) * x

    model_left = left(forward=lambda self, x: (count * x, lambda dy: count * dy))
    return pair(model_left, right(forward=forward, child=right(forward=_stateful_list("right"))), X)


@situation("hostile", agrees=[3], differs=[2], says="forward")
def list_that_a_left_child_returns_and_keeps(count):
    def left_forward(self, x):
        self.child.kept = []
        states, _ = self.child(x)
        states.append(x)
        states, _ = self.child(x)
        length = len(states)
        return length * x, lambda dy: length * dy

    model = left(forward=left_forward, child=left(forward=_stateful_list("left")))
    return pair(model, right(forward=lambda self, x: count * x), X)


@situation("hostile", agrees=[1.0], differs=[1.001])
def left_that_calls_a_vjp_inside_its_forward(factor):
    """A force is the gradient of a potential: the left gets it from the vjp of its child."""

    def potential(self, x):
        return x**4, lambda dy: 4 * x**3 * dy

    def left_forward(self, x):
        y, vjp = self.potential(x)
        return vjp(np.ones_like(y)), lambda dy: factor * 12 * x**2 * dy

    def forward(self, x):
        x = x if x.requires_grad else x.detach().requires_grad_()
        (force,) = torch.autograd.grad(self.potential(x).sum(), x, create_graph=True)
        return force

    twins = (
        left(forward=left_forward, potential=left(forward=potential)),
        right(forward=forward, potential=right(forward=lambda self, x: x**4)),
    )
    return pair(*twins, X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"(act|forward)\(x\)")
def child_that_runs_in_another_thread(factor):
    def forward(self, x):
        with ThreadPoolExecutor(1) as pool:
            return 2 * pool.submit(self.act, x).result()

    return pair(_root(factor), right(forward=forward, act=nn.Tanh()), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"(act|forward)\(x\)")
def child_whose_forward_is_called_directly(factor):
    """`self.act.forward(x)` runs no hook of `act`, so that a hook on it counts for nothing."""
    model = right(forward=lambda self, x: 2 * self.act.forward(x), act=nn.Tanh())
    model.act.register_forward_hook(lambda module, arguments, y: 5 * y)
    return pair(_root(factor), model, X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"(act|forward)\(x\)")
def left_child_whose_forward_is_called_directly(factor):
    def forward(self, x):
        y, vjp = self.act.forward(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    model = right(forward=lambda self, x: 2 * self.act(x), act=nn.Tanh())
    return pair(left(forward=forward, act=_tanh(factor)), model, X)


def _decay(self):
    self.w.data *= 0.9


@situation("hostile", differs=["weight"], says=r"(^|[\s:])w($|[\s:,])|deterministic")
def weight_that_a_vjp_changes(_):
    """Outputs and gradients agree, but the next step would start from other weights."""
    return pair(_linear(after=_decay), _right_linear(), X)


@situation("hostile", agrees=["w"], mentions="not compared: .*w")
def wrong_gradient_that_is_ignored(pattern):
    """The report says what it did not compare."""
    return pair(_linear(factor=1.5), _right_linear(), X, ignore=[pattern])


@situation("hostile", agrees=[1e-9], differs=[1e-3], says="w", mentions="loosened")
def wrong_gradient_under_a_bound_set_by_hand(error):
    return pair(_linear(factor=1 + error), _right_linear(), X, bound={"w": 1e-6})


@situation("hostile", agrees=[1.0], differs=[1.0001], says="forward|w")
def float32_layer_with_a_small_fault(factor):
    twins = _linear(np.float32, lambda y: y * np.float32(factor)), _right_linear(np.float32)
    return pair(*twins, X.astype(np.float32))


@situation("hostile", agrees=[0.0], differs=[1e-6], first="b")
def gradient_that_is_zero_up_to_rounding(error):
    """A bias before a normalisation has no effect; both sides compute rounding errors for it."""

    def left_forward(self, x):
        h = x @ self.w.data.T + self.b.data
        s = np.sqrt(h.var(0) + 1e-5)
        n = (h - h.mean(0)) / s

        def vjp(dy):
            dh = (dy - dy.mean(0) - n * (dy * n).mean(0)) / s
            self.w.grad += dh.T @ x
            self.b.grad += dh.sum(0) + error
            return dh @ self.w.data

        return n, vjp

    def forward(self, x):
        h = x @ self.w.T + self.b
        return torch.nn.functional.batch_norm(h, None, None, training=True)

    return pair(
        left(forward=left_forward, w=W, b=draw(4)), right(forward=forward, w=W, b=draw(4)), X
    )


@situation("hostile", agrees=[1.0], differs=[1.5], says="forward")
def chaotic_map(factor):
    """60 steps of the logistic map: its condition number of about 2^60 must not allow any error."""

    def left_forward(self, x):
        for _ in range(60):
            x = 3.9 * x * (1 - x)
        return factor * x

    def forward(self, x):
        for _ in range(60):
            x = 3.9 * x * (1 - x)
        return x

    x = np.random.default_rng(0).uniform(0.2, 0.8, (5, 4))
    return pair(left(forward=left_forward), right(forward=forward), x)


@situation("hostile", agrees=[0.0], differs=[0.5], says="forward")
def output_without_a_correct_digit(error):
    """(x + 1e16) - 1e16 holds rounding errors only; a fault of its own size is a fault."""

    def left_forward(self, x):
        return (x + 1e16) - 1e16 + error, lambda dy: dy

    model = right(forward=lambda self, x: (x + 1e16) - 1e16)
    return pair(left(forward=left_forward), model, X)


@situation("hostile", agrees=["order"], differs=["fault"])
def children_that_are_called_in_another_order(kind):
    """a and b do not depend on each other, so that their order means nothing."""

    def left_forward(self, x):
        b, b_vjp = self.b(x)
        a, a_vjp = self.a(x)
        factor = 1.001 if kind == "fault" else 1.0
        return a * b, lambda dy: a_vjp(factor * dy * b) + b_vjp(dy * a)

    exp = left(forward=lambda self, x: (np.exp(x), lambda dy: dy * np.exp(x)))
    exp_right = right(forward=lambda self, x: x.exp())
    model = right(forward=lambda self, x: self.a(x) * self.b(x), a=nn.Tanh(), b=exp_right)
    return pair(left(forward=left_forward, a=_tanh(), b=exp), model, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_models_that_notice_a_trace(case):
    case.check()
