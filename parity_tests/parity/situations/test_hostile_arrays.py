"""Arrays of unusual shapes, strides and owners, and vjps that return their gradients unusually."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn

X, W = draw(5, 4), draw(3, 4)


def _square(slope=2.0, returned=None):
    """y = x^2; `returned` changes the form of the gradient."""
    returned = returned or (lambda dx: dx)
    return left(forward=lambda self, x: (x**2, lambda dy: returned(slope * x * dy)))


def _right_square():
    return right(forward=lambda self, x: x**2)


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


BATCHES = {
    "reversed": X[::-1],
    "transposed": X.T,
    "every second": draw(10, 4)[::2],
    "Fortran order": np.asfortranarray(X),
    "broadcast": np.broadcast_to(draw(4), (5, 4)),
    "read only": _read_only(X),
    "one element": draw(1),
    "scalar": np.asarray(1.5),
    "permuted tensor": torch.from_numpy(X.copy()).t(),
    "expanded tensor": torch.from_numpy(draw(4)).expand(5, 4),
    "zeros": np.zeros((5, 4)),
    "huge": 1e150 * X,
    "tiny": 1e-160 * X,
}


@situation("hostile", agrees=BATCHES)
def batch_with_unusual_memory(kind):
    return pair(_square(), _right_square(), BATCHES[kind])


@situation("hostile", differs=[k for k in BATCHES if k != "zeros"], first="forward(x)")
def batch_with_unusual_memory_and_a_wrong_gradient(kind):
    return pair(_square(2.001), _right_square(), BATCHES[kind])


@situation("hostile", agrees=[2.0], differs=[2.001], first="forward(x)", or_refused=True)
def batch_in_another_byte_order(slope):
    return pair(_square(slope), _right_square(), X.astype(">f8"))


@situation("hostile", agrees=[(0, 4), (5, 0)], or_refused=True)
def empty_batch(shape):
    """No element was compared: to agree or to refuse are both honest."""
    return pair(_square(), _right_square(), np.empty(shape))


@situation("hostile", agrees=[1.0], differs=[1.001], first="w")
def parameters_of_unusual_shapes(factor):
    """A scalar, an empty and a transposed parameter."""

    def left_forward(self, x):
        def vjp(dy):
            self.w.grad += factor * (dy.T @ x)
            self.s.grad += dy.sum()
            return dy @ self.w.data

        return x @ self.w.data.T + self.s.data, vjp

    twins = (
        left(forward=left_forward, w=W, s=np.asarray(0.5), e=np.empty((0, 3))),
        right(forward=lambda self, x: x @ self.w.T + self.s + self.e.sum(), s=np.asarray(0.5)),
    )
    twins[1].w = nn.Parameter(torch.from_numpy(W.T.copy()).t())
    twins[1].e = nn.Parameter(torch.empty(0, 3).double())
    return pair(*twins, X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="w")
def parameters_that_share_their_memory(factor):
    """torch.from_numpy without a copy: both panels own the same numbers."""

    def left_forward(self, x):
        def vjp(dy):
            self.w.grad += factor * (dy.T @ x)
            return dy @ self.w.data

        return x @ self.w.data.T, vjp

    model_left = left(forward=left_forward, w=W)
    model = right(forward=lambda self, x: x @ self.w.T)
    model.w = nn.Parameter(torch.from_numpy(model_left.w.data))
    return pair(model_left, model, X)


@situation("hostile", differs=["both"], says="NaN")
def parameter_that_is_nan_on_both_sides(_):
    w = np.array([1.0, np.nan, 2.0, 1.0])
    twins = (
        left(forward=lambda self, x: (2 * x, lambda dy: 2 * dy), w=w),
        right(forward=lambda self, x: 2 * x + 0 * self.w.sum().nan_to_num(0), w=w),
    )
    return pair(*twins, X, allow_unused=True)


@situation(
    "hostile", agrees=["list", "tuple of one", "masked array", "Fortran order"], or_refused=True
)
def form_of_an_input_gradient(form):
    forms = {
        "list": lambda dx: [dx],
        "tuple of one": lambda dx: (dx,),
        "masked array": np.ma.masked_array,
        "Fortran order": np.asfortranarray,
    }
    return pair(_square(returned=forms[form]), _right_square(), X)


@situation(
    "hostile",
    differs=["row", "transposed", "float32", "scalar", "flat", "object"],
    first="forward(x)",
    or_refused=True,
)
def form_of_an_input_gradient_that_is_wrong(form):
    """The shape or the dtype is not that of the input."""
    forms = {
        "row": lambda dx: dx[:1],
        "transposed": lambda dx: dx.T,
        "float32": lambda dx: dx.astype(np.float32),
        "scalar": lambda dx: float(dx.sum()),
        "flat": np.ravel,
        "object": lambda dx: dx.astype(object) + 1,
    }
    return pair(_square(returned=forms[form]), _right_square(), X)


@situation("hostile", agrees=["x, y"], differs=["y, x"], says=r"forward\([xy]\)")
def order_of_the_input_gradients(order):
    def left_forward(self, x, y):
        def vjp(dz):
            gradients = dz * y, dz * x
            return gradients if order == "x, y" else gradients[::-1]

        return x * y, vjp

    model = right(forward=lambda self, x, y: x * y)
    return pair(left(forward=left_forward), model, (X, draw(5, 4, seed=7)))


@situation("hostile", agrees=["none"], differs=["gradient"], first="forward(y)")
def gradient_of_a_constant_input(kind):
    """The right detaches y, so that it has no gradient."""

    def left_forward(self, x, y):
        return x * y, lambda dz: (dz * y, None if kind == "none" else dz * x)

    model = right(forward=lambda self, x, y: x * y.detach())
    return pair(left(forward=left_forward), model, (X, draw(5, 4, seed=7)))


@situation("hostile", agrees=[2.0], differs=[1.0], first="forward(x)")
def input_that_is_used_twice(count):
    def left_forward(self, x):
        return x * x, lambda dy: count * dy * x

    return pair(left(forward=left_forward), right(forward=lambda self, x: x * x), X)


@situation("hostile", agrees=["array"], differs=["used once"], says=r"forward\([xy]\)")
def one_array_as_two_inputs(kind):
    def left_forward(self, x, y):
        return x * y, lambda dz: (dz * y, dz * x if kind == "array" else 0 * dz)

    return pair(left(forward=left_forward), right(forward=lambda self, x, y: x * y), (X, X))


@situation("hostile", agrees=[1.0], differs=[1.5], first="forward(x)")
def root_that_returns_its_input(slope):
    return pair(
        left(forward=lambda self, x: (x, lambda dy: slope * dy)),
        right(forward=lambda self, x: x),
        X,
    )


@situation("hostile", agrees=[1.0], differs=[1.5], first="forward(x)")
def views_of_the_input(slope):
    def left_forward(self, x):
        def vjp(dtop, dall, dt):
            dx = dall + slope * dt.T
            dx[:2] += dtop
            return dx

        return (x[:2], x, x.T), vjp

    return pair(left(forward=left_forward), right(forward=lambda self, x: (x[:2], x, x.T)), X)


@situation("hostile", agrees=[1.0], differs=[1.001], first="w")
def parameter_that_is_returned(factor):
    def left_forward(self, x):
        def vjp(dy, dw):
            self.w.grad += dy.T @ x + factor * dw
            return dy @ self.w.data

        return (x @ self.w.data.T, self.w.data), vjp

    return pair(
        left(forward=left_forward, w=W),
        right(forward=lambda self, x: (x @ self.w.T, self.w), w=W),
        X,
    )


class Batch(NamedTuple):
    x: Any
    mask: Any


@situation("hostile", agrees=["dict", "NamedTuple"])
def batch_that_is_a_record(kind):
    """A dict or a NamedTuple is one argument."""
    mask = X > 0
    batch = Batch(X, mask) if kind == "NamedTuple" else {"x": X, "mask": mask}

    def parts(b):
        return b if isinstance(b, tuple) else (b["x"], b["mask"])

    def left_forward(self, b):
        x, m = parts(b)
        return x * m, lambda dy: (dy * m, None) if kind == "NamedTuple" else {"x": dy * m}

    model = right(forward=lambda self, b: parts(b)[0] * parts(b)[1])
    return pair(left(forward=left_forward), model, batch)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_unusual_arrays(case):
    case.check()
