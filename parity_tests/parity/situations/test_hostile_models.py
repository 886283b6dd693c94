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


@situation("hostile", agrees=["initialised"], refused=["uninitialised"],
           says="initiali|takes")  # fmt: skip
def lazy_layer(kind):
    layer = nn.LazyLinear(3, dtype=torch.float64)
    reference = Linear(4, 3)
    if kind == "initialised":
        layer(torch.zeros(2, 4, dtype=torch.float64))
        weights.transfer(layer, reference)
    return pair(reference, layer, X)


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
        "lambda": lambda x: torch.tanh(x),
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
def test_the_verdict_on_unusual_models(case):
    case.check()
