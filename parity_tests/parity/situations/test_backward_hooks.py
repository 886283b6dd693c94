"""Hooks that change gradients: of modules, of tensors and of parameters."""

import pytest
from helpers.situations import draw, left, pair, right, situation, situations_of
from helpers.small_hooked_models import roots_with_child, scaled_root, triple_root

X, WEIGHT = draw(5, 4), draw(3, 4)


@situation("1", agrees=[2.0], differs=[1.0], first="forward(x)")
def full_backward_hook_on_the_root(slope):
    model = triple_root()
    model.register_full_backward_hook(lambda module, grad_x, grad_y: (2 * grad_x[0],))
    return pair(scaled_root(1.0, slope), model, X)


@situation("1", agrees=[2.0], differs=[1.0])
def full_backward_hook_on_a_child(slope):
    model_left, model = roots_with_child(1.0, slope)
    model.child.register_full_backward_hook(lambda module, grad_x, grad_y: (2 * grad_x[0],))
    return pair(model_left, model, X)


@situation("1", agrees=[2.0], differs=[1.0])
def full_backward_pre_hook_on_a_child(slope):
    model_left, model = roots_with_child(1.0, slope)
    model.child.register_full_backward_pre_hook(lambda module, grad_y: (2 * grad_y[0],))
    return pair(model_left, model, X)


@situation("1", agrees=[0.0], differs=[1.0])
def backward_hook_that_removes_a_gradient(slope):
    model_left, model = roots_with_child(1.0, slope)
    model.child.register_full_backward_hook(lambda module, grad_x, grad_y: (0 * grad_x[0],))
    return pair(model_left, model, X)


@situation("1", agrees=[2.0], differs=[1.0])
def tensor_hook_inside_a_forward(slope):
    def forward(self, x):
        h = 3 * x
        h.register_hook(lambda gradient: 2 * gradient)
        return h

    return pair(scaled_root(1.0, slope), right(forward=forward), X)


def _linear_left(factor):
    def forward(self, x):
        def vjp(dy):
            self.weight.grad += factor * (dy.T @ x)
            return dy @ self.weight.data

        return x @ self.weight.data.T, vjp

    return left(forward=forward, weight=WEIGHT)


def _linear_right():
    return right(forward=lambda self, x: x @ self.weight.T, weight=WEIGHT)


@situation("1", agrees=[2.0], differs=[1.0], first="weight")
def hook_on_a_parameter(factor):
    model = _linear_right()
    model.weight.register_hook(lambda gradient: 2 * gradient)
    return pair(_linear_left(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="weight")
def hook_after_the_accumulation_of_a_gradient(factor):
    model = _linear_right()

    def double(parameter):
        parameter.grad.mul_(2)

    model.weight.register_post_accumulate_grad_hook(double)
    return pair(_linear_left(factor), model, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_models_with_backward_hooks(case):
    case.check()
