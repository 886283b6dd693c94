"""Gradients that are missing, added too often, overwritten, or specially computed."""

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of, with_buffers
from torch import nn
from torch.utils import checkpoint

X = draw(5, 4)
W, V = draw(3, 4), draw(3, 3)


def _linear(factor=1.0, accumulate=None, returned=None):
    """A left linear layer y = x wᵀ; `accumulate(module, gradient)` adds the weight's gradient."""

    def forward(self, x):
        def vjp(dy):
            gradient = factor * (dy.T @ x)
            if accumulate:
                accumulate(self, gradient)
            else:
                self.w.grad += gradient
            return dy @ self.w.data if returned is None else returned(dy @ self.w.data)

        return x @ self.w.data.T, vjp

    return left(forward=forward, w=W)


def _right_linear(**attributes):
    return right(forward=lambda self, x: x @ self.w.T, w=W, **attributes)


def _overwrite(self, gradient):
    self.w.grad[...] = gradient


def _replace(self, gradient):
    self.w.grad = gradient


@situation("2", agrees=["add"])
def vjp_that_adds(_):
    return pair(_linear(), _right_linear(), X)


@situation("2", differs=["in place", "a new array"], says="overwr")
def vjp_that_overwrites(manner):
    return pair(
        _linear(accumulate=_overwrite if manner == "in place" else _replace), _right_linear(), X
    )


@situation("2", differs=["twice"], says="added")
def vjp_that_adds_too_often(_):
    """From a gradient of 0 it adds once; a second backward pass adds the first one again."""

    def accumulate(self, gradient):
        self.w.grad += self.w.grad + gradient

    return pair(_linear(accumulate=accumulate), _right_linear(), X)


@situation("2", differs=["always"], first="w")
def vjp_that_adds_its_gradient_twice(_):
    return pair(_linear(2.0), _right_linear(), X)


@situation("2", agrees=["raises", "frees its cache"])
def vjp_that_may_be_called_once(manner):
    def forward(self, x):
        cache = [x]

        def vjp(dy):
            if not cache and manner == "raises":
                raise RuntimeError("the graph was freed")
            self.w.grad += dy.T @ cache.pop()
            return dy @ self.w.data

        return x @ self.w.data.T, vjp

    return pair(left(forward=forward, w=W), _right_linear(), X)


@situation("2", agrees=["gradients of an earlier pass"])
def parameter_that_has_a_gradient_before(_):
    twins = _linear(), _right_linear()
    twins[0].w.grad += 3.0
    twins[1].w.grad = torch.full((3, 4), 7.0).double()
    return pair(*twins, X)


@situation("2", differs=["None", "zero"], first="forward(x)")
def input_gradient_that_is_missing_on_the_left(kind):
    returned = (lambda dx: None) if kind == "None" else lambda dx: 0 * dx
    return pair(_linear(returned=returned), _right_linear(), X)


@situation("2", agrees=[True, ["w"], ["[uvw]"]])
def frozen_parameter_that_is_allowed(allowed):
    model = _right_linear()
    model.w.requires_grad_(False)
    return pair(_linear(), model, X, allow_unused=allowed)


@situation("2", differs=[False, ["v"]], says="w.*frozen|frozen.*w")
def frozen_parameter_that_is_not_allowed(allowed):
    twins = _linear(), _right_linear(v=V)
    twins[0].v = left(v=V).v
    twins[1].w.requires_grad_(False)
    return pair(*twins, X, allow_unused=allowed)


def _with_unused(options, factor=1.0):
    twins = _linear(factor), _right_linear(v=V)
    twins[0].v = left(v=V).v
    return pair(*twins, X, **options)


@situation("2", agrees=[True, ["v"]])
def unused_parameter_that_is_allowed(allowed):
    return _with_unused({"allow_unused": allowed})


@situation("2", differs=[False, ["w"]], says="v.*unused|unused.*v")
def unused_parameter_that_is_not_allowed(allowed):
    return _with_unused({"allow_unused": allowed})


@situation("2", differs=[True, ["v"]], first="w", cause="w")
def wrong_gradient_beside_an_unused_parameter(allowed):
    return _with_unused({"allow_unused": allowed}, factor=1.001)


@situation("2", differs=[True], first="w")
def parameter_that_is_detached_by_mistake(allowed):
    """The left differentiates w, the right forgot to: no parameter that nothing uses."""
    model = right(forward=lambda self, x: x @ self.w.detach().T, w=W)
    return pair(_linear(), model, X, allow_unused=allowed)


@situation("2", differs=["left"], first="w")
def parameter_without_a_gradient_on_the_left(_):
    return pair(
        _linear(accumulate=lambda self, gradient: None), _right_linear(), X, allow_unused=True
    )


@situation("2", differs=["inside the forward"], says="w.*(frozen|unused)|(frozen|unused).*w")
def parameter_that_is_frozen_inside_a_forward(_):
    def forward(self, x):
        self.w.requires_grad_(False)
        return x @ self.w.T

    return pair(_linear(), right(forward=forward, w=W), X)


def _counter_pair(fault):
    """A pair of two linear layers and a batch normalisation, whose counter the left lacks."""

    def layer(key, factor=1.0):
        def forward(self, x):
            def vjp(dy):
                self.weight.grad += dy.T @ x
                return factor * (dy @ self.weight.data)

            return x @ self.weight.data.T, vjp

        return left(forward=forward, weight=draw(4, 4, seed=key))

    def norm(self, x):
        mu, s = x.mean(0), np.sqrt(x.var(0) + 1e-5)
        n = (x - mu) / s
        self.running_mean.data[...] = 0.9 * self.running_mean.data + 0.1 * mu
        self.running_var.data[...] = 0.9 * self.running_var.data + 0.1 * x.var(0, ddof=1)

        def vjp(dy):
            self.weight.grad += (dy * n).sum(0)
            self.bias.grad += dy.sum(0)
            dn = dy * self.weight.data
            return (dn - dn.mean(0) - n * (dn * n).mean(0)) / s

        return n * self.weight.data + self.bias.data, vjp

    def left_forward(self, x):
        vjps = []
        for module in (self.a, self.norm, self.b):
            x, vjp = module(x)
            vjps.append(vjp)
        return x, lambda dy: vjps[0](vjps[1](vjps[2](dy)))

    batch_norm = nn.BatchNorm1d(4).double()
    batch_norm.weight.data += torch.from_numpy(draw(4))
    arrays = {n: p.detach().numpy() for n, p in batch_norm.named_parameters()}
    buffers = {"running_mean": np.zeros(4), "running_var": np.ones(4)}
    children = {"a": layer(1), "norm": with_buffers(left(forward=norm, **arrays), **buffers)}
    linears = [nn.Linear(4, 4, bias=False).double() for _ in range(2)]
    for i, linear in enumerate(linears, 1):
        linear.weight.data.copy_(torch.from_numpy(draw(4, 4, seed=i)))
    right_forward = lambda self, x: self.b(self.norm(self.a(x)))  # noqa: E731
    return (
        left(forward=left_forward, **children, b=layer(2, 1 + fault)),
        right(forward=right_forward, a=linears[0], norm=batch_norm, b=linears[1]),
    )


@situation("2", agrees=[0.0], differs=[1e-3], first="b(x)", cause="b(x)")
def counter_missing_on_the_left_and_ignored(fault):
    return pair(*_counter_pair(fault), X, ignore=["*num_batches_tracked"])


@situation("2", differs=[1e-3], cause="b(x)")
def counter_missing_on_the_left_beside_a_fault(fault):
    """The row of the counter fails too, but it changes no computation."""
    return pair(*_counter_pair(fault), X)


def _checkpointed(slope, wrap):
    def left_forward(self, x):
        y, vjp = self.child(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    child = left(forward=lambda self, x: (np.tanh(x), lambda dy: slope * dy / np.cosh(x) ** 2))
    model = right(forward=lambda self, x: 2 * wrap(self.child, x), child=nn.Tanh())
    return pair(left(forward=left_forward, child=child), model, X)


@situation("2", agrees=[1.0], differs=[1.01], first="child(x)")
def checkpoint_without_reentry(slope):
    return _checkpointed(slope, lambda f, x: checkpoint.checkpoint(f, x, use_reentrant=False))


@situation("2", agrees=[1.0], differs=[1.01])
def checkpoint_with_reentry(slope):
    return _checkpointed(slope, lambda f, x: checkpoint.checkpoint(f, x, use_reentrant=True))


@situation("2", agrees=[1.0], differs=[1.01])
def checkpoint_of_a_sequence(slope):
    def wrap(f, x):
        return checkpoint.checkpoint_sequential([f], 1, x, use_reentrant=False)

    return _checkpointed(slope, wrap)


@situation("2", agrees=[1.0], differs=[1.01], first="child.w")
def checkpoint_of_a_layer_with_a_parameter(factor):
    def left_forward(self, x):
        y, vjp = self.child(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    def forward(self, x):
        return 2 * checkpoint.checkpoint(self.child, x, use_reentrant=False)

    root = left(forward=left_forward, child=_linear(factor))
    return pair(root, right(forward=forward, child=_right_linear()), X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_gradients(case):
    case.check()
