"""layer: an object of another library, with its own parameters and gradients, as a module."""

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity


class Dense:
    """A dense layer in the manner of numpy-ml: dicts, gradients that add up, stored inputs."""

    def __init__(self, rng):
        self.parameters = {"W": rng.normal(size=(5, 3)), "b": rng.normal(size=(1, 3)), "mean": None}
        self.gradients = {name: np.ones_like(self.parameters[name]) for name in ("W", "b")}
        self.X = []

    def forward(self, X, retain_derived=True):
        if retain_derived:
            self.X.append(X)
        return X @ self.parameters["W"] + self.parameters["b"]

    def backward(self, dLdy):
        (X,) = self.X
        self.gradients["W"] += X.T @ dLdy
        self.gradients["b"] += dLdy.sum(0, keepdims=True)
        return dLdy @ self.parameters["W"].T


class Attributes:
    """The same with attributes, gradients that are set anew, and two inputs."""

    def __init__(self, rng):
        self.W, self.b = rng.normal(size=(5, 3)), rng.normal(size=3)

    def fprop(self, x, shift):
        self.x = x + shift
        return self.x @ self.W + self.b

    def bprop(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        dx = dy @ self.W.T
        return dx, dx


ATTRIBUTES = {"forward": "fprop", "backward": "bprop", "parameters": {"W": "dW", "b": "db"}}
NAMES = {"names": {"W": "weight", "b": "bias"}, "layout": {"W": "io->oi", "b": "1 o -> o"}}


def test_a_layer_is_compared_with_torch_under_its_own_parameters(rng):
    dense, x = Dense(rng), rng.normal(size=(4, 5))
    report = parity.compare_functions(dense, nn.Linear(5, 3).double(), [x], style="layer", **NAMES)
    assert report.ok, str(report)
    assert report.name == "Dense"
    assert ("forward(X)", "input gradient") in [(row.name, row.kind) for row in report.rows]
    assert dense.X == []
    assert all((gradient == 1).all() for gradient in dense.gradients.values())


def test_a_fault_in_a_layer_is_found_at_its_gradient(rng):
    class Faulty(Dense):
        def backward(self, dLdy):
            result = super().backward(dLdy)
            self.gradients["b"] *= 0.999
            return result

    report = parity.compare_functions(
        parity.layer(Faulty(rng)), nn.Linear(5, 3).double(), [rng.normal(size=(4, 5))], **NAMES
    )
    assert [(row.name, row.kind) for row in report.failures] == [("b", "parameter gradient")]


@pytest.mark.parametrize("make", [Dense, Attributes])
def test_each_call_begins_anew_and_gradients_add_up(rng, make):
    options = ATTRIBUTES if make is Attributes else {}
    module = parity.layer(make(rng), **options)
    x, more = rng.normal(size=(4, 5)), [0.5] if make is Attributes else []
    y, vjp = module.forward(x, *more)
    np.testing.assert_array_equal(y, module.forward(x, *more)[0])
    dy = rng.normal(size=(4, 3))
    vjp(dy)
    once = {name: gradient.copy() for name, gradient in module.gradients().items()}
    np.testing.assert_allclose(once["W"], (x + sum(more)).T @ dy, rtol=1e-14)
    vjp(dy)
    for name, gradient in module.gradients().items():
        np.testing.assert_array_equal(gradient, 2 * once[name])


def test_parameters_as_attributes_follow_the_module(rng):
    module = parity.layer(Attributes(rng), **ATTRIBUTES)
    x = rng.normal(size=(4, 5))
    before = module.forward(x, x)[0]
    module.b.data += 1
    np.testing.assert_allclose(module.forward(x, x)[0], before + 1, rtol=1e-14)
    assert [array.shape for array in module.forward(x, x)[1](before)] == [(4, 5), (4, 5)]
    assert module.astype("float32").forward(x.astype("f"), x.astype("f"))[0].dtype == "float32"


def test_a_layer_with_attributes_agrees_with_a_torch_function(rng):
    def shifted(x, shift, W, b):
        return torch.addmm(b, x + shift, W)

    x, shift = rng.normal(size=(2, 4, 5))
    report = parity.compare_functions(
        parity.layer(Attributes(rng), **ATTRIBUTES), shifted, [x, shift]
    )
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forward": "fprop"}, "layer: got Dense without a method 'fprop'"),
        ({"backward": "bprop"}, "layer: got Dense without a method 'bprop'"),
        ({"parameters": "params"}, "layer: got Dense without a dict 'params'"),
        ({"gradients": "X"}, "layer: got Dense without a dict 'X'"),
        ({"parameters": {"w": "dw"}}, "layer: got Dense without an attribute 'w'"),
    ],
)
def test_an_object_of_another_form_is_one_error(rng, options, message):
    with pytest.raises(ValueError, match=message):
        parity.layer(Dense(rng), **options)


def test_parameters_that_are_no_arrays_yet_are_one_error(rng):
    dense = Dense(rng)
    dense.parameters["W"] = None
    with pytest.raises(
        ValueError, match="layer: parameter 'W' of Dense is NoneType, takes an array"
    ):
        parity.layer(dense)


class Unbuilt(Dense):
    """A layer whose parameters are made in its first forward."""

    def __init__(self):
        self.parameters, self.gradients, self.X = {"W": None, "b": None}, {}, []


def test_a_layer_without_parameters_gets_those_of_the_comparison(rng):
    params = {"W": rng.normal(size=(5, 3)), "b": rng.normal(size=(1, 3))}
    right, x = nn.Linear(5, 3).double(), rng.normal(size=(4, 5))
    report = parity.compare_functions(Unbuilt(), right, [x], params, style="layer", **NAMES)
    assert report.ok, str(report)
    assert {row.name for row in report.rows if row.kind == "parameter gradient"} == {"W", "b"}


def test_params_that_a_layer_does_not_have_are_an_error(rng):
    params = {"W": rng.normal(size=(5, 3)), "c": rng.normal(size=3)}
    with pytest.raises(ValueError, match="layer: got params c, takes W, b"):
        parity.layer(Attributes(rng), **ATTRIBUTES, params=params)
