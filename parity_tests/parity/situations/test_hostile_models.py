"""Models of unusual structure: exceptions inside, proxies, objects that no one can copy."""

import functools
import threading

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

from diptych import weights
from numpy_ref.nn import Linear

X, W = draw(5, 4), draw(3, 4)


def _tanh(factor=1.0):
    """y = tanh x, whose gradient may have a factor."""
    return left(forward=lambda self, x: (np.tanh(x), lambda dy: factor * dy / np.cosh(x) ** 2))


def _root(factor=1.0, name="act", child=None):
    def forward(self, x):
        y, vjp = getattr(self, name)(x)
        return 2 * y, lambda dy: vjp(2 * dy)

    return left(forward=forward, **{name: child or _tanh(factor)})


def _right_root(name="act", **attributes):
    return right(forward=lambda self, x: 2 * getattr(self, name)(x), **attributes)


@situation("hostile", agrees=[1.0], differs=[1.001], first="slow(x)")
def exception_of_a_child_that_the_forward_swallows(factor):
    """A fast path fails, and a slow one takes over."""

    def fail(self, x):
        raise RuntimeError("the fast path is not available")

    def forward(self, x):
        try:
            return 2 * self.fast(x)
        except RuntimeError:
            return 2 * self.slow(x)

    root = _root(factor, "slow")
    root.fast = left(forward=fail)
    return pair(root, right(forward=forward, fast=right(forward=fail), slow=nn.Tanh()), X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="act(x)")
def exception_of_a_child_after_inner_calls(factor):
    """The child fails after it has called its own child, so that two calls are open."""

    def fail(self, x):
        self.inner(x)
        raise KeyError("no such key")

    def left_forward(self, x):
        try:
            self.fast(x)
        except KeyError:
            y, vjp = self.act(x)
            return 2 * y, lambda dy: vjp(2 * dy)

    def forward(self, x):
        try:
            return self.fast(x)
        except KeyError:
            return 2 * self.act(x)

    fast = left(forward=fail, inner=_tanh()), right(forward=fail, inner=nn.Tanh())
    twins = (
        left(forward=left_forward, fast=fast[0], act=_tanh(factor)),
        right(forward=forward, fast=fast[1], act=nn.Tanh()),
    )
    return pair(*twins, X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="act(x)")
def type_error_that_a_forward_uses_to_choose(factor):
    """The child is first called with an argument that it does not take."""

    def forward(self, x):
        try:
            return 2 * self.act(x, scale=2.0)
        except TypeError:
            return 2 * self.act(x)

    return pair(_root(factor), right(forward=forward, act=nn.Tanh()), X)


class Stubborn:
    """An object that cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("this object cannot be copied")


UNCOPYABLE = {
    "lock": threading.Lock,
    "generator": lambda: (i for i in range(3)),
    "stubborn": Stubborn,
    "thread local": threading.local,
}


@situation("hostile", agrees=UNCOPYABLE)
def right_that_cannot_be_copied(kind):
    model = _right_root(act=nn.Tanh())
    model.resource = UNCOPYABLE[kind]()
    return pair(_root(), model, X)


@situation("hostile", differs=UNCOPYABLE, first="act(x)")
def right_that_cannot_be_copied_with_a_fault(kind):
    model = _right_root(act=nn.Tanh())
    model.resource = UNCOPYABLE[kind]()
    return pair(_root(1.001), model, X)


@situation("hostile", agrees=UNCOPYABLE, or_refused=True)
def left_that_cannot_be_copied(kind):
    root = _root()
    root.resource = UNCOPYABLE[kind]()
    return pair(root, _right_root(act=nn.Tanh()), X)


@situation("hostile", agrees=["float32"], or_refused=True)
def float32_left_that_cannot_be_copied(dtype):
    root = _root()
    root.resource = threading.Lock()
    return pair(root, _right_root(act=nn.Tanh()), X.astype(dtype))


class Proxy(nn.Module):
    """Passes every unknown attribute to the model that it wraps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, x):
        return self.model(x)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"\(x\)")
def proxy_of_a_model(factor):
    return pair(_root(factor), Proxy(_right_root(act=nn.Tanh())), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"(act|forward)\(x\)")
def child_behind_a_property(factor):
    class Right(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({"act": nn.Tanh()})

        @property
        def act(self):
            return self.layers["act"]

        def forward(self, x):
            return 2 * self.act(x)

    return pair(_root(factor), Right(), X)


@situation("hostile", agrees=[1.0], differs=[1.001], says=r"(layers|forward)\S*\(")
def layers_in_a_list_that_are_called_twice(factor):
    def left_forward(self, x):
        vjps = []
        for _ in range(2):
            for name in ("0", "1"):
                x, vjp = getattr(self.layers, name)(x)
                vjps.append(vjp)
        return x, lambda dy: functools.reduce(lambda d, vjp: vjp(d), reversed(vjps), dy)

    def forward(self, x):
        for _ in range(2):
            for layer in self.layers:
                x = layer(x)
        return x

    layers = left(**{"0": _tanh(), "1": _tanh(factor)})
    model = right(forward=forward, layers=nn.ModuleList([nn.Tanh(), nn.Tanh()]))
    return pair(left(forward=left_forward, layers=layers), model, X)


@situation("hostile", agrees=["initialised"], refused=["uninitialised"], says="initiali|takes")
def lazy_layer(kind):
    layer = nn.LazyLinear(3, dtype=torch.float64)
    reference = Linear(4, 3)
    if kind == "initialised":
        layer(torch.zeros(2, 4, dtype=torch.float64))
        weights.transfer(layer, reference)
    return pair(reference, layer, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_unusual_models(case):
    case.check()
