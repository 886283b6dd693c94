"""Losses of every form: a scalar, a float, a dict, a record, with noise and without."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of

X, W, EPS = draw(5, 4), draw(4), draw(5, seed=3)


class Terms(NamedTuple):
    total: Any
    fit: Any


class UnusualOrder(NamedTuple):
    fit: Any
    total: Any


@dataclass
class Record:
    total: Any
    fit: Any


FORMS = {
    "scalar": lambda total, fit: total,
    "dict": lambda total, fit: {"total": total, "fit": fit},
    "dict in another order": lambda total, fit: {"fit": fit, "total": total},
    "dict with loss": lambda total, fit: {"fit": fit, "loss": total},
    "tuple": lambda total, fit: (total, fit),
    "NamedTuple": Terms,
    "NamedTuple, total last": lambda total, fit: UnusualOrder(fit, total),
    "dataclass": Record,
    "dict with an integer": lambda total, fit: {"total": total, "fit": fit, "count": 5},
    "one entry": lambda total, fit: {"nll": total},
    "None beside": lambda total, fit: {"total": total, "kl": None},
}


def _losses(form, right_form=None, factor=1.0, shift=0.0, noise=False, to_float=False):
    """total = 3 sum (x w)^2, fit = its third; with noise, x w + eps stands for x w."""

    def left_loss(self, x, *rest):
        y = x @ self.w.data + (rest[0] if rest else 0.0)
        fit = (y**2).sum()
        total = 3 * fit + shift

        def backward():
            self.w.grad += factor * 6 * (x.T @ y)

        if to_float:
            total, fit = float(total), float(fit)
        return form(total, fit), backward

    def right_loss(self, x, *rest):
        fit = ((x @ self.w + (rest[0] if rest else 0.0)) ** 2).sum()
        return (right_form or form)(3 * fit, fit)

    def without_noise(function):
        def plain(self, x):
            return function(self, x)

        return plain

    losses = (left_loss, right_loss) if noise else map(without_noise, (left_loss, right_loss))
    twins = [make(loss=loss, w=W) for make, loss in zip((left, right), losses, strict=True)]
    return pair(*twins, X, EPS) if noise else pair(*twins, X)


@situation("2", agrees=FORMS)
def form_of_a_loss(form):
    return _losses(FORMS[form])


@situation("2", agrees=FORMS)
def form_of_a_loss_with_noise(form):
    return _losses(FORMS[form], noise=True)


@situation("2", differs=FORMS, first="w")
def form_of_a_loss_with_a_wrong_gradient(form):
    return _losses(FORMS[form], factor=1.001)


@situation("2", differs=FORMS, says="loss")
def form_of_a_loss_with_a_wrong_total(form):
    return _losses(FORMS[form], shift=1e-6)


@situation("2", agrees=["scalar", "dict", "NamedTuple", "dataclass"])
def python_floats_on_the_left(form):
    return _losses(FORMS[form], to_float=True)


@situation("2", differs=["scalar", "dict", "NamedTuple", "dataclass"], says="loss")
def python_floats_on_the_left_with_a_wrong_total(form):
    return _losses(FORMS[form], to_float=True, shift=1e-6)


@situation("2", agrees=["dict", "dict in another order", "dataclass"])
def named_tuple_beside_another_form(form):
    return _losses(Terms, FORMS[form])


@situation("2", differs=["the last term"], first="loss.fit")
def wrong_term_beside_a_correct_total(_):
    return _losses(Terms, lambda total, fit: Terms(total, fit + 1e-6))


@situation("2", differs=["detached"], says="w|loss|detached|no gradient")
def detached_total_of_the_right(_):
    return _losses(Terms, lambda total, fit: Terms(total.detach(), fit.detach()))


@situation("2", differs=["float"], says="w|loss|detached|no gradient", or_refused=True)
def python_float_on_the_right_beside_a_backward(_):
    """A Python float has no gradient, but the left computes one."""
    return _losses(FORMS["scalar"], lambda total, fit: total.item())


def _value_only(form, shift=0.0):
    def left_loss(self, x):
        return form(float(((x @ self.w.data) ** 2).sum()) + shift, 1.0)

    def right_loss(self, x):
        return form(((x @ self.w) ** 2).sum(), 1.0)

    return pair(left(loss=left_loss, w=W), right(loss=right_loss, w=W), X)


@situation("2", agrees=["scalar", "dict", "NamedTuple"], mentions="not compared: ")
def loss_without_a_backward(form):
    return _value_only(FORMS[form])


@situation("2", differs=["scalar", "dict", "NamedTuple"], says="loss")
def loss_without_a_backward_that_is_wrong(form):
    return _value_only(FORMS[form], 1e-6)


@situation("2", differs=["right"], refused=["both"], says="loss", or_refused=True)
def loss_that_is_no_scalar(side):
    def left_loss(self, x):
        y = x @ self.w.data
        return (y if side == "both" else y.sum()), lambda: None

    return pair(left(loss=left_loss, w=W), right(loss=lambda self, x: x @ self.w, w=W), X)


@situation("2", differs=["left", "right"], says="shape|loss")
def loss_of_one_element(side):
    def left_loss(self, x):
        y = x @ self.w.data
        total = np.asarray((y**2).sum())

        def backward():
            self.w.grad += 2 * x.T @ y

        return (total[None] if side == "left" else total), backward

    def right_loss(self, x):
        total = ((x @ self.w) ** 2).sum()
        return total[None] if side == "right" else total

    return pair(left(loss=left_loss, w=W), right(loss=right_loss, w=W), X)


@situation("2", differs=[float("nan")], says="NaN")
def loss_that_is_nan_on_both_sides(value):
    return _losses(lambda total, fit: total * value)


def _with_forward(right_factor, missing):
    """Both have a forward, one side lacks the loss: the forward is compared."""

    def left_loss(self, x):
        return (x @ self.w.data).sum(), lambda: None

    def forward(self, x):
        def vjp(dy):
            self.w.grad += x.T @ dy
            return np.outer(dy, self.w.data)

        return x @ self.w.data, vjp

    methods = {"forward": lambda self, x: right_factor * (x @ self.w)}
    if missing == "left":
        return pair(
            left(forward=forward, w=W),
            right(**methods, loss=lambda self, x: (x @ self.w).sum(), w=W),
            X,
        )
    return pair(left(forward=forward, loss=left_loss, w=W), right(**methods, w=W), X)


@situation("2", agrees=["left", "right"])
def loss_that_one_side_lacks(missing):
    return _with_forward(1.0, missing)


@situation("2", differs=["left", "right"], first="forward")
def loss_that_one_side_lacks_with_a_fault(missing):
    return _with_forward(1.001, missing)


@situation("2", agrees=[0.3], differs=[0.4], first="loss")
def loss_with_keyword_arguments(weight):
    def left_loss(self, x, *, weight=1.0):
        def backward():
            self.w.grad += weight * x.sum(0)

        return weight * (x @ self.w.data).sum(), backward

    def right_loss(self, x, *, weight=1.0):
        return 0.3 / weight * weight * (x @ self.w).sum()

    twins = left(loss=left_loss, w=W), right(loss=right_loss, w=W)
    return pair(*twins, X, kwargs={"weight": weight})


@situation("2", agrees=["loss"], or_refused=True)
def noise_that_the_loss_does_not_take(_):
    """A noise is passed, but the losses take only the batch: one sentence, or it is left out."""

    def left_loss(self, x):
        def backward():
            self.w.grad += x.sum(0)

        return (x @ self.w.data).sum(), backward

    return pair(
        left(loss=left_loss, w=W), right(loss=lambda self, x: (x @ self.w).sum(), w=W), X, EPS
    )


@situation("2", agrees=[1.0], differs=[1.001], first="w")
def loss_of_a_batch_of_two_arrays(factor):
    targets = torch.from_numpy(EPS)

    def left_loss(self, x, t):
        error = x @ self.w.data - t

        def backward():
            self.w.grad += factor * 2 * x.T @ error

        return (error**2).sum(), backward

    model = right(loss=lambda self, x, t: ((x @ self.w - t) ** 2).sum(), w=W)
    return pair(left(loss=left_loss, w=W), model, (X, targets))


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_losses(case):
    case.check()
