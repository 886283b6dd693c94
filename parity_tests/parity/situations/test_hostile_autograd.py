"""Right models that use autograd in unusual ways: islands, own functions, nested derivatives."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

X, W = draw(5, 4), draw(3, 4)


def _left(value, slope):
    """y = value(x), dx = slope(x, dy)."""
    return left(forward=lambda self, x: (value(x), lambda dy: slope(x, dy)))


@situation("hostile", agrees=["constant"], differs=["differentiated"], first="forward(x)")
def statistic_without_gradient(kind):
    """y = x / s, where the right computes s under no_grad."""

    def slope(x, dy):
        s = np.abs(x).sum()
        ds = -(dy * x).sum() / s**2
        return dy / s + (ds * np.sign(x) if kind == "differentiated" else 0)

    def forward(self, x):
        with torch.no_grad():
            s = x.abs().sum()
        return x / s

    return pair(_left(lambda x: x / np.abs(x).sum(), slope), right(forward=forward), X)


@situation("hostile", agrees=["constant"], differs=["differentiated"], says=r"teacher|forward\(x\)")
def child_that_runs_without_gradient(kind):
    """A teacher network: its output is a constant for the student."""

    def left_forward(self, x):
        y, vjp = self.teacher(x)
        return y * x, lambda dy: dy * y + (vjp(dy * x) if kind == "differentiated" else 0)

    def forward(self, x):
        with torch.no_grad():
            y = self.teacher(x)
        return y * x

    teacher = left(forward=lambda self, x: (np.tanh(x), lambda dy: dy / np.cosh(x) ** 2))
    model = right(forward=forward, teacher=nn.Tanh())
    return pair(left(forward=left_forward, teacher=teacher), model, X)


@situation(
    "hostile", differs=["decorated", "inference"], says=r"detached|no gradient|missing|forward\(x\)"
)
def forward_that_records_no_gradient(kind):
    def forward(self, x):
        return 2 * x

    decorator = torch.no_grad() if kind == "decorated" else torch.inference_mode()
    return pair(_left(lambda x: 2 * x, lambda x, dy: 2 * dy), right(forward=decorator(forward)), X)


@situation("hostile", agrees=[1.0], differs=[0.0], first="forward(x)")
def straight_through_estimator(slope):
    model = right(forward=lambda self, x: x + (x.round() - x).detach())
    return pair(_left(np.round, lambda x, dy: slope * dy), model, X)


class WrongBackward(torch.autograd.Function):
    """y = x^2 with the derivative 3 x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, dy):
        return 3 * ctx.saved_tensors[0] * dy


@situation("hostile", agrees=[3.0], differs=[2.0], first="forward(x)")
def own_function_with_a_wrong_backward(slope):
    model = right(forward=lambda self, x: WrongBackward.apply(x))
    return pair(_left(lambda x: x**2, lambda x, dy: slope * x * dy), model, X)


class DoubleInPlace(torch.autograd.Function):
    """x <- 2 x in place."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, dy):
        return 2 * dy


@situation("hostile", agrees=[4.0], differs=[3.0], first="forward")
def own_function_that_edits_its_input(factor):
    """h + double(h) is 4 times the old h."""

    def forward(self, x):
        h = 1.0 * x
        return DoubleInPlace.apply(h) + h

    model_left = _left(lambda x: factor * x, lambda x, dy: factor * dy)
    return pair(model_left, right(forward=forward), X)


class RoundedWithIndex(torch.autograd.Function):
    """Two outputs, of which the second has no gradient."""

    @staticmethod
    def forward(ctx, x):
        index = x.argmax(-1)
        ctx.mark_non_differentiable(index)
        return 2 * x, index

    @staticmethod
    def backward(ctx, dy, _):
        return 2 * dy


@situation("hostile", agrees=[2.0], differs=[2.001], first="forward(x)")
def own_function_with_an_output_without_gradient(slope):
    model_left = left(forward=lambda self, x: ((2 * x, x.argmax(-1)), lambda dy, *rest: slope * dy))
    return pair(model_left, right(forward=lambda self, x: RoundedWithIndex.apply(x)), X)


@situation("hostile", agrees=[9.0], differs=[3.0], first="forward(x)")
def derivative_inside_a_forward(slope):
    """y = x f'(x) with f = x^3, by autograd.grad: y = 3 x^3."""

    def forward(self, x):
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        return x * gradient

    model_left = _left(lambda x: 3 * x**3, lambda x, dy: slope * x**2 * dy)
    return pair(model_left, right(forward=forward), X)


@situation("hostile", agrees=[1.0], differs=[1.001])
def derivative_of_a_child_inside_a_forward(factor):
    """The gradient of a potential that a child computes, as in physics-informed networks."""

    def forward(self, x):
        x = x if x.requires_grad else x.detach().requires_grad_()
        (force,) = torch.autograd.grad(self.potential(x).sum(), x, create_graph=True)
        return force

    model_left = _left(lambda x: 4 * x**3, lambda x, dy: factor * 12 * x**2 * dy)
    model = right(forward=forward, potential=right(forward=lambda self, x: x**4))
    return pair(model_left, model, X)


@situation("hostile", agrees=[1.0], differs=[1.001], says="forward")
def functional_gradient_inside_a_forward(factor):
    model_left = _left(lambda x: 3 * x**2, lambda x, dy: factor * 6 * x * dy)
    model = right(forward=lambda self, x: torch.func.grad(lambda a: (a**3).sum())(x))
    return pair(model_left, model, X)


def _tanh_left(factor):
    def left_forward(self, x):
        y, vjp = self.act(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    act = left(forward=lambda self, x: (np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2))
    return left(forward=left_forward, act=act)


@situation("hostile", agrees=[1.0], differs=[1.001])
def child_that_runs_under_vmap(factor):
    """Inside vmap the child gets tensors without their batch axis, which cannot be copied."""
    model = right(forward=lambda self, x: 2 * torch.vmap(self.act)(x), act=nn.Tanh())
    return pair(_tanh_left(factor), model, X)


@situation("hostile", agrees=[1.0], differs=[1.001])
def child_that_runs_by_functional_call(factor):
    def forward(self, x):
        return 2 * torch.func.functional_call(self.act, {}, (x,))

    return pair(_tanh_left(factor), right(forward=forward, act=nn.Tanh()), X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="act.w")
def weights_that_a_functional_call_replaces(factor):
    """The right doubles the weights of its child before it calls it."""

    def left_forward(self, x):
        w = 2 * self.act.w.data

        def vjp(dy):
            self.act.w.grad += 2 * factor * (dy.T @ x)
            return dy @ w

        return x @ w.T, vjp

    def forward(self, x):
        return torch.func.functional_call(self.act, {"w": 2 * self.act.w}, (x,))

    child = right(forward=lambda self, x: x @ self.w.T, w=W)
    return pair(left(forward=left_forward, act=left(w=W)), right(forward=forward, act=child), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward")
def value_that_is_edited_behind_autograd(factor):
    """`.data` changes the value, and autograd does not see it."""

    def forward(self, x):
        y = 1.0 * x
        y.data.mul_(2)
        return y

    return pair(_left(lambda x: factor * x, lambda x, dy: dy), right(forward=forward), X)


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward(x)")
def input_that_the_forward_marks_itself(slope):
    def forward(self, x):
        x.requires_grad_()
        y = 2 * x
        y.retain_grad()
        return y

    return pair(_left(lambda x: 2 * x, lambda x, dy: slope * dy), right(forward=forward), X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="w")
def forward_that_runs_a_backward_of_its_own(factor):
    """The forward uses a gradient of a copy, and leaves the gradients of its parameters alone."""

    def left_forward(self, x):
        def vjp(dy):
            self.w.grad += factor * (dy.T @ x)
            return dy @ self.w.data

        return x @ self.w.data.T + 1.0, vjp

    def forward(self, x):
        with torch.enable_grad():
            probe = torch.ones(3, dtype=x.dtype, requires_grad=True)
            probe.sum().backward()
        return x @ self.w.T + probe.grad

    return pair(left(forward=left_forward, w=W), right(forward=forward, w=W), X)


@situation("hostile", agrees=[1.0], differs=[1.001])
def gradient_that_a_forward_scales(factor):
    """A gradient reversal layer by a tensor hook, with a factor of -1."""

    def forward(self, x):
        y = x.clone()
        y.register_hook(lambda gradient: -gradient)
        return self.act(y)

    def left_forward(self, x):
        y, vjp = self.act(x)
        return y, lambda dy: -factor * vjp(dy)

    act = left(forward=lambda self, x: (np.tanh(x), lambda dy: dy / np.cosh(x) ** 2))
    return pair(left(forward=left_forward, act=act), right(forward=forward, act=nn.Tanh()), X)


@situation("hostile", differs=["left", "right"])
def cut_between_parent_and_child(side):
    """One side forgets to pass the gradient of a child on."""

    def left_forward(self, x):
        y, vjp = self.act(x)
        return y + x, lambda dy: dy + (0 * vjp(dy) if side == "left" else vjp(dy))

    def forward(self, x):
        return self.act(x.detach() if side == "right" else x) + x

    act = left(forward=lambda self, x: (np.tanh(x), lambda dy: dy / np.cosh(x) ** 2))
    return pair(left(forward=left_forward, act=act), right(forward=forward, act=nn.Tanh()), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_unusual_uses_of_autograd(case):
    case.check()
