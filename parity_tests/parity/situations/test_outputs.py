"""Outputs of every form: nested, named, in another order, missing, constant, integer or None."""

import collections
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of

X = draw(5, 4)


class Moments(NamedTuple):
    mu: Any
    logvar: Any


@dataclass
class MomentsRecord:
    mu: Any
    logvar: Any


class ModelOutput(collections.OrderedDict):
    """A mapping whose entries are attributes too, as in popular libraries of models."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class AttributeMapping(collections.abc.Mapping):
    """A mapping that is no dict."""

    def __init__(self, **entries):
        self.__dict__.update(entries)

    def __getitem__(self, name):
        return self.__dict__[name]

    def __iter__(self):
        return iter(self.__dict__)

    def __len__(self):
        return len(self.__dict__)


def _two(form, other_form=None, shift=0.0, slope=3.0):
    """mu = 2 x + shift and logvar = 3 x. The left's form gets (mu, logvar), so does the right's."""

    def left_forward(self, x):
        return form(2 * x + shift, 3 * x), lambda dmu, dlogvar: 2 * dmu + slope * dlogvar

    def right_forward(self, x):
        return (other_form or form)(2 * x, 3 * x)

    return pair(left(forward=left_forward), right(forward=right_forward), X)


FORMS = {
    "tuple": lambda mu, logvar: (mu, logvar),
    "list": lambda mu, logvar: [mu, logvar],
    "dict": lambda mu, logvar: {"mu": mu, "logvar": logvar},
    "NamedTuple": Moments,
    "dataclass": MomentsRecord,
    "ModelOutput": lambda mu, logvar: ModelOutput(mu=mu, logvar=logvar),
    "mapping": lambda mu, logvar: AttributeMapping(mu=mu, logvar=logvar),
    "nested": lambda mu, logvar: {"state": (mu, [logvar])},
    "nested records": lambda mu, logvar: (MomentsRecord(mu, {"a": logvar}),),
}


@situation("2", agrees=FORMS)
def form_of_two_outputs(form):
    return _two(FORMS[form])


@situation("2", differs=FORMS, says=r"forward\S*(mu|\[0\]|state)\S* ?:")
def form_of_two_outputs_of_which_one_is_wrong(form):
    return _two(FORMS[form], shift=1e-6)


@situation("2", differs=FORMS, first="forward(x)")
def form_of_two_outputs_whose_gradient_is_wrong(form):
    return _two(FORMS[form], slope=3.001)


def _reversed(mu, logvar):
    return {"logvar": logvar, "mu": mu}


@situation("2", agrees=[3.0], differs=[2.0], first="forward(x)")
def dict_in_another_order(slope):
    """The vjp of the left takes the cotangents in the order of the left's own dict."""
    return _two(FORMS["dict"], _reversed, slope=slope)


@situation("2", differs=["swapped"], says=r"forward\S*(mu|logvar)")
def dict_with_two_entries_swapped(_):
    return _two(FORMS["dict"], lambda mu, logvar: {"mu": logvar, "logvar": mu})


@situation("2", agrees=["dataclass", "ModelOutput", "dict", "mapping"])
def named_tuple_on_the_left_beside_another_record(form):
    return _two(Moments, FORMS[form])


@situation("2", differs=["dataclass", "ModelOutput", "dict", "mapping"], says=r"forward\S*mu")
def named_tuple_beside_another_record_with_a_fault(form):
    return _two(Moments, FORMS[form], shift=1e-6)


@situation("2", agrees=[0.0], differs=[1e-6])
def outputs_of_different_names_by_position(shift):
    return _two(lambda a, b: {"mean": a, "spread": b}, FORMS["dict"], shift=shift)


@situation("2", agrees=["list"], differs=[])
def list_beside_a_tuple(form):
    return _two(FORMS["tuple"], FORMS[form])


@situation("2", differs=["left", "right"], says="missing|2 outputs|1 output|one output more|extra")
def one_output_more_on_one_side(side):
    def left_forward(self, x):
        y = 2 * x, 3 * x
        if side == "left":
            return y, lambda dy, dz: 2 * dy + 3 * dz
        return y[:1], lambda dy: 2 * dy

    def right_forward(self, x):
        return (2 * x, 3 * x) if side == "right" else (2 * x,)

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", differs=["left", "right"], says="missing|outputs?|extra")
def pair_beside_a_single_array(side):
    def left_forward(self, x):
        if side == "left":
            return (2 * x, 3 * x), lambda dy, dz: 2 * dy + 3 * dz
        return 2 * x, lambda dy: 2 * dy

    return pair(
        left(forward=left_forward),
        right(forward=lambda self, x: (2 * x, 3 * x) if side == "right" else 2 * x),
        X,
    )


def _beside(left_extra, right_extra, vjp=None):
    """y = 2 x beside another output, which has no gradient."""

    def left_forward(self, x):
        return (2 * x, left_extra(x)), vjp or (lambda dy, *rest: 2 * dy)

    return pair(
        left(forward=left_forward), right(forward=lambda self, x: (2 * x, right_extra(x))), X
    )


CONSTANTS = {
    "integer": (lambda x: x.argmax(-1), lambda x: x.argmax(-1)),
    "boolean": (lambda x: x > 0.1, lambda x: x > 0.1),
    "constant": (lambda x: np.ones(3), lambda x: torch.ones(3).double()),
    "detached": (np.exp, lambda x: x.detach().exp()),
    "Python float": (lambda x: 2.5, lambda x: 2.5),
    "Python int": (lambda x: 3, lambda x: 3),
    "float beside a tensor": (lambda x: float(x.sum()), lambda x: x.detach().sum()),
    "None": (lambda x: None, lambda x: None),
    "string": (lambda x: "mean", lambda x: "mean"),
    "empty": (lambda x: x[:0], lambda x: x[:0]),
    "empty list": (lambda x: [], lambda x: []),
    "bool beside an array": (lambda x: bool((x > 0).any()), lambda x: (x > 0).any()),
    "tuple of masks": (lambda x: (x > 0, x < 1), lambda x: (x > 0, x < 1)),
}
WRONG = {
    "integer": (lambda x: x.argmin(-1), CONSTANTS["integer"][1]),
    "boolean": (lambda x: x > 0.9, CONSTANTS["boolean"][1]),
    "constant": (lambda x: np.full(3, 1.1), CONSTANTS["constant"][1]),
    "detached": (lambda x: 1.1 * np.exp(x), CONSTANTS["detached"][1]),
    "Python float": (lambda x: 2.6, CONSTANTS["Python float"][1]),
    "Python int": (lambda x: 4, CONSTANTS["Python int"][1]),
    "float beside a tensor": (lambda x: float(x.sum()) + 0.1, lambda x: x.detach().sum()),
    "None on the left": (lambda x: None, lambda x: 3 * x),
    "None on the right": (lambda x: 3 * x, lambda x: None),
    "None beside a constant": (lambda x: None, lambda x: torch.ones(3).double()),
    "tuple of masks": (lambda x: (x > 0, x < 0), lambda x: (x > 0, x < 1)),
}


@situation("2", agrees=CONSTANTS)
def output_without_gradient_beside_a_float_one(kind):
    return _beside(*CONSTANTS[kind])


@situation("2", differs=WRONG, says="forward")
def output_without_gradient_that_is_wrong(kind):
    return _beside(*WRONG[kind])


@situation("2", differs=list(CONSTANTS)[:6], first="forward(x)")
def gradient_that_is_wrong_beside_a_constant_output(kind):
    return _beside(*CONSTANTS[kind], vjp=lambda dy, *rest: 2.001 * dy)


@situation("2", differs=[(1, 3), (3, 1), (3, 3)], says="forward.*shape|shape.*forward")
def output_that_only_broadcasts_to_the_other(shape):
    def left_forward(self, x):
        return x.sum(0), lambda dy: np.tile(dy, (3, 1))

    def right_forward(self, x):
        return x.sum(0).expand(3, 3) if shape == (3, 3) else x.sum(0).reshape(shape)

    return pair(left(forward=left_forward), right(forward=right_forward), draw(3, 3))


@situation("2", differs=["left", "right"], says="forward.*shape|shape.*forward")
def scalar_beside_an_array_of_one_element(side):
    def left_forward(self, x):
        y = np.asarray(x.sum())
        return (y if side == "right" else y[None]), lambda dy: np.ones_like(x) * dy

    def right_forward(self, x):
        return x.sum() if side == "left" else x.sum()[None]

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", differs=["right", "left"], says="float32")
def output_of_another_dtype(side):
    def left_forward(self, x):
        y = np.round(x)
        return (y.astype(np.float32) if side == "left" else y), lambda dy: 0 * x

    def right_forward(self, x):
        y = x.round()
        return y.float() if side == "right" else y

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", agrees=["same"], differs=["once"], first="forward(x)")
def one_tensor_returned_twice(count):
    def left_forward(self, x):
        y = 2 * x
        return (y, y), lambda da, db: 2 * (da + (db if count == "same" else 0))

    def right_forward(self, x):
        y = 2 * x
        return y, y

    return pair(left(forward=left_forward), right(forward=right_forward), X)


@situation("2", agrees=["left", "both"], mentions="not compared: .*(vjp|gradient)")
def forward_without_a_vjp(side):
    """The values are compared; without a vjp on the left no gradient can be."""

    def right_forward(self, x):
        return 2 * (x if side == "left" else x.detach())

    return pair(left(forward=lambda self, x: 2 * x), right(forward=right_forward), X)


@situation("2", agrees=[0.0], differs=[1.0], says=r"forward\(x\)")
def gradient_of_zero_beside_a_detached_right(slope):
    """A gradient of 0 and no gradient mean the same."""
    return pair(
        left(forward=lambda self, x: (2 * x, lambda dy: slope * dy)),
        right(forward=lambda self, x: 2 * x.detach()),
        X,
    )


@situation("2", differs=["left"], first="forward")
def forward_without_a_vjp_that_is_wrong(side):
    return pair(left(forward=lambda self, x: 2.001 * x), right(forward=lambda self, x: 2 * x), X)


@situation(
    "2", differs=["detached"], says=r"detached|no gradient|missing on the right|forward\(x\)"
)
def right_that_is_detached_from_its_input(_):
    return pair(
        left(forward=lambda self, x: (2 * x, lambda dy: 2 * dy)),
        right(forward=lambda self, x: 2 * x.detach()),
        X,
    )


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_outputs_of_every_form(case):
    case.check()
