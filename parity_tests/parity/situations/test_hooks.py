"""Hooks are part of what a torch module computes, wherever they are registered."""

import contextlib

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from helpers.small_hooked_models import roots_with_child, scaled_root, triple_root
from torch import nn
from torch.nn.modules import module as torch_module

X = draw(5, 4)
WEIGHT = draw(3, 4)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def forward_hook_on_the_root(factor):
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, y: 2 * y)
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def forward_hook_on_the_root_that_edits_in_place(factor):
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, y: y.mul_(2))
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def forward_pre_hook_on_the_root(factor):
    model = triple_root()
    model.register_forward_pre_hook(lambda module, arguments: (2 * arguments[0],))
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def forward_hook_with_keyword_arguments(factor):
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, keywords, y: 2 * y, with_kwargs=True)
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0])
def forward_hook_on_a_child(factor):
    model_left, model = roots_with_child(factor)
    model.child.register_forward_hook(lambda module, arguments, y: 2 * y)
    return pair(model_left, model, X)


@situation("1", agrees=[0.5], differs=[0.0])
def forward_pre_hook_on_a_child(shift):
    model_left, model = roots_with_child(shift=shift)
    model.child.register_forward_pre_hook(lambda module, arguments: (arguments[0] + 0.5,))
    return pair(model_left, model, X)


@contextlib.contextmanager
def _global(register, hook):
    handle = register(hook)
    try:
        yield
    finally:
        handle.remove()


@situation("1", agrees=[2.0], differs=[1.0])
def global_forward_hook(factor):
    def hook(module, arguments, y):
        return 2 * y if isinstance(module, nn.Tanh) else None

    def tanh(self, x):
        y = np.tanh(x)
        return factor * y, lambda dy: factor * dy * (1 - y**2)

    def left_forward(self, x):
        return self.act(x)

    during = _global(torch_module.register_module_forward_hook, hook)
    root = right(forward=lambda self, x: self.act(x), act=nn.Tanh())
    return pair(left(forward=left_forward, act=left(forward=tanh)), root, X, during=during)


@situation("1", agrees=[4.0], differs=[1.0])
def global_forward_pre_hook(factor):
    """The hook doubles the input of the root and that of its child."""
    model_left, model = roots_with_child()
    slope = factor / 4

    def forward(self, x):
        y, vjp = type(model_left).forward(model_left, 4 * slope * x)
        return y, lambda dy: 4 * slope * vjp(dy)

    during = _global(
        torch_module.register_module_forward_pre_hook, lambda module, arguments: (2 * arguments[0],)
    )
    return pair(left(forward=forward), model, X, during=during)


@situation("1", agrees=[1.0], differs=[2.0], first="forward")
def hook_that_was_removed_again(factor):
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, y: 2 * y).remove()
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[1.0], differs=[2.0], first="forward")
def hook_that_only_records(factor):
    model, activations = triple_root(), []
    model.register_forward_hook(lambda module, arguments, y: activations.append(y))
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def hook_that_swallows_its_own_exception(factor):
    def hook(module, arguments, y):
        try:
            raise RuntimeError("a hook of the user")
        except RuntimeError:
            return 2 * y

    model = triple_root()
    model.register_forward_hook(hook)
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def hook_that_always_runs(factor):
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, y: 2 * y, always_call=True)
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def call_operator_of_the_root_overridden(factor):
    class Doubled(nn.Module):
        def __call__(self, x):
            return 2 * super().__call__(x)

        def forward(self, x):
            return 3 * x

    return pair(scaled_root(factor), Doubled(), X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def call_operator_of_the_left_root_overridden(factor):
    """The user calls `left(x)`, so that the overridden operator counts here as well."""
    model = scaled_root(1.0)

    def call(self, x):
        y, vjp = self.forward(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    type(model).__call__ = call
    return pair(model, right(forward=lambda self, x: 3 * factor * x), X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def forward_replaced_on_the_instance(factor):
    model = triple_root()
    original = model.forward
    model.forward = lambda x: 2 * original(x)
    return pair(scaled_root(factor), model, X)


@situation("1", agrees=[2.0], differs=[1.0], first="forward")
def hook_registered_by_the_constructor_of_a_layer(factor):
    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_forward_hook(self.double)

        @staticmethod
        def double(module, arguments, y):
            return 2 * y

        def forward(self, x):
            return 3 * x

    return pair(scaled_root(factor), Clipped(), X)


@situation("1", agrees=[2.0], differs=[1.0], first="loss.total")
def forward_hook_under_a_loss(factor):
    """The loss calls `self(x)`, so that the hook on the root runs inside it."""

    def left_loss(self, x):
        y = factor * x @ self.w.data

        def backward():
            self.w.grad += factor * x.T @ (2 * y)

        return {"total": np.sum(y**2)}, backward

    model = right(
        loss=lambda self, x: {"total": (self(x) ** 2).sum()},
        forward=lambda self, x: x @ self.w,
        w=draw(4),
    )
    model.register_forward_hook(lambda module, arguments, y: 2 * y)
    return pair(left(loss=left_loss, w=draw(4)), model, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_models_with_hooks(case):
    case.check()


def test_a_comparison_leaves_the_hooks_of_a_model_in_place():
    model = triple_root()
    model.register_forward_hook(lambda module, arguments, y: 2 * y)
    hooks = dict(model._forward_hooks)
    pair(scaled_root(2.0), model, X).run()
    assert dict(model._forward_hooks) == hooks and not model._forward_pre_hooks
    assert torch.equal(model(torch.ones(1)), torch.tensor([6.0]))
