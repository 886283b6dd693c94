"""A function as a module: its arguments, its gradients, and one error for each wrong form."""

import functools
import inspect
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers import affine_functions as affine

from diptych import parity
from diptych.parity.functions.function_modules import function_module
from diptych.parity.functions.functions import compare_functions

X = np.arange(20.0).reshape(4, 5)


def _module(function, style="vjp", params=None, inputs=1):
    return function_module(function, style, params or {}, inputs)


class State(NamedTuple):
    h: np.ndarray
    c: np.ndarray


@pytest.mark.parametrize("keys", [("dx", "dw", "db"), ("x", "w", "b")])
def test_gradients_may_be_a_dict_by_name(rng, keys):
    def backward(dout, cache):
        return dict(zip(keys, affine.affine_backward(dout, cache), strict=True))

    x, params = affine.affine_arrays(rng)
    module = _module((affine.affine_forward, backward), "cache", params)
    y, vjp = module.forward(x)
    dx = vjp(y)
    expected = affine.affine_backward(y, affine.affine_forward(x, **params)[1])
    for gradient, value in zip((dx, *module.gradients().values()), expected, strict=True):
        np.testing.assert_array_equal(gradient, value)
    vjp(y)
    np.testing.assert_array_equal(module.w.grad, 2 * expected[1])


def test_gradients_may_have_the_names_of_the_parameters(rng):
    x, params = affine.affine_arrays(rng)
    params = {"fc.weight": params["w"], "fc.bias": params["b"]}

    def backward(dout, cache):
        names = ("dx", "fc.weight", "dfc.bias")
        return dict(zip(names, affine.affine_backward(dout, cache), strict=True))

    module = _module((affine.affine_forward, backward), "cache", params)
    y, vjp = module.forward(x)
    vjp(y)
    assert all(gradient.any() for gradient in module.gradients().values())


def test_every_output_but_the_last_has_a_cotangent():
    def step(x, h):
        return x + h, x * h, (x, h)

    def backward(da, db, cache):
        x, h = cache
        return da + db * h, da + db * x

    module = _module((step, backward), "cache", inputs=2)
    y, vjp = module.forward(X, X + 1)
    assert isinstance(y, tuple)
    assert len(y) == 2
    dx, dh = vjp(np.ones_like(X), 2 * np.ones_like(X))
    np.testing.assert_array_equal(dx, 1 + 2 * (X + 1))
    np.testing.assert_array_equal(dh, 1 + 2 * X)


def test_a_partial_function_keeps_its_names_and_settings():
    def scale(x, w, factor):
        return factor * w * x, lambda dy: (factor * w * dy, (factor * x * dy).sum())

    module = _module(functools.partial(scale, factor=3.0), params={"w": np.array(2.0)})
    y, vjp = module.forward(X)
    np.testing.assert_array_equal(y, 6 * X)
    assert type(module).__name__ == "scale"
    vjp(np.ones_like(X))
    assert module.w.grad == 3 * X.sum()


def test_keywords_reach_the_function():
    module = _module(lambda x, power=1: (x**power, lambda dy: power * x ** (power - 1) * dy))
    np.testing.assert_array_equal(module.forward(X, power=2)[0], X**2)


def test_a_report_finds_the_source_of_the_function():
    partial = functools.partial(affine.affine_vjp, b=np.ones(3))
    assert _module(partial).source_object is affine.affine_vjp
    pair = affine.affine_forward, affine.affine_backward
    assert _module(pair, "cache").source_object is affine.affine_forward


def test_a_vjp_has_the_arguments_of_the_functions_own():
    def of_dict(x):
        return {"a": x, "b": 2 * x}, lambda dy: dy["a"] + 2 * dy["b"]

    _, vjp = _module(of_dict).forward(X)
    assert list(inspect.signature(vjp).parameters) == ["dy"]
    np.testing.assert_array_equal(vjp({"a": X, "b": X}), 3 * X)
    pair = (lambda x, h: (x, h, x)), (lambda dx, dh, cache, scale=1: (dx, dh))
    _, vjp = _module(pair, "cache", inputs=2).forward(X, X)
    assert list(inspect.signature(vjp).parameters) == ["dx", "dh", "scale"]


def test_an_edit_in_place_does_not_change_the_parameters():
    def edit(x, w):
        w *= 2
        return x * w, lambda dy: (dy * w, (dy * x).sum())

    module = _module(edit, params={"w": np.array(3.0)})
    assert module.forward(X)[0][0, 1] == 6.0
    assert module.w.data == 3.0


@pytest.mark.parametrize("form", [tuple, list, dict])
def test_a_loss_and_its_gradients_are_scaled_by_the_cotangent(form):
    def half_square(x, w, target):
        r = w * x - target
        gradients = {"x": w * r, "w": float((x * r).sum()), "target": None}
        return 0.5 * (r**2).sum(), gradients if form is dict else form(gradients.values())

    module = _module(half_square, "value_and_grad", {"w": np.array(2.0)}, inputs=2)
    loss, vjp = module.forward(X, X)
    dx, dtarget = vjp(3.0)
    np.testing.assert_array_equal(dx, 6 * X)
    assert dtarget is None
    assert module.w.grad == 6 * loss


def test_values_alone_have_no_vjp():
    np.testing.assert_array_equal(_module(np.tanh, "forward").forward(X), np.tanh(X))


@pytest.mark.parametrize("style", ["autograd", "jax"])
def test_nested_outputs_and_inputs_of_a_traced_function(rng, style):
    framework = pytest.importorskip("jax.numpy" if style == "jax" else "autograd.numpy")

    def step(state, ids, pair, scale=1.0):
        h = framework.tanh(state.h + pair["a"][ids])
        outputs = {"h": h, "best": framework.argmax(h, 1), "none": None}
        return State(scale * h, pair["b"] * state.c), [outputs, 2.0]

    state = State(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))
    ids, pair = np.array([1, 0, 1]), {"a": rng.normal(size=(4, 2)), "b": rng.normal(size=2)}
    module = _module(step, style, inputs=3)
    (new, (outputs, constant)), vjp = module.forward(state, ids, pair, scale=3.0)
    h = np.tanh(state.h + pair["a"][ids])
    np.testing.assert_allclose(new.h, 3 * h, rtol=1e-15)
    assert (outputs["none"], constant) == (None, 2.0)
    np.testing.assert_array_equal(outputs["best"], h.argmax(1))
    assert all(type(array) is np.ndarray for array in (new.h, outputs["h"], outputs["best"]))

    ones = np.ones((3, 2))
    for cotangents in (
        (ones, ones, ones),
        (ones, ones, ones, np.zeros(3)),
        (ones, ones, ones, None),
    ):
        dh, dc, dids, da, db = vjp(*cotangents)
        np.testing.assert_allclose(dh, 4 * (1 - h**2), rtol=1e-14)
        np.testing.assert_allclose(dc, ones * pair["b"], rtol=1e-15)
        assert dids is None
        np.testing.assert_allclose(da[1], (4 * (1 - h**2))[[0, 2]].sum(0), rtol=1e-14)
        np.testing.assert_allclose(db, state.c.sum(0), rtol=1e-14)
    with pytest.raises(ValueError, match="got 2 cotangents, takes 3"):
        vjp(ones, ones)


@pytest.mark.parametrize("style", ["autograd", "jax"])
def test_a_traced_function_of_integers_alone_is_one_error(style):
    pytest.importorskip(style)
    module = _module(affine.affine_torch, style)
    with pytest.raises(ValueError, match="affine_torch: got no floating-point array"):
        module.forward(np.arange(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jax_keeps_dtypes_and_its_global_flag(dtype):
    jax = pytest.importorskip("jax")
    module = _module(jax.jit(affine.affine_jax), "jax", affine.affine_arrays(np.random, dtype)[1])
    y, vjp = module.forward(X.astype(dtype))
    assert y.dtype == vjp(y).dtype == module.w.grad.dtype == dtype
    assert jax.numpy.ones(1).dtype == "float32"
    assert not jax.config.jax_enable_x64


def test_a_torch_function_has_its_parameters(rng):
    x, params = affine.affine_arrays(rng)
    module = _module(affine.affine_torch, "torch", params)
    assert [name for name, _ in module.named_parameters()] == ["w", "b"]
    module.forward(torch.from_numpy(x)).sum().backward()
    assert module.w.grad.shape == (5, 3)


def wrong_gradients(*gradients):
    """A function of x and w whose vjp returns these."""
    result = gradients[0] if len(gradients) == 1 else gradients
    return lambda x, w: (x @ w, lambda dy: result)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wrong_gradients(X), "got 1 gradients, takes 2: of x, w"),
        (wrong_gradients(X, X, X), "got 3 gradients, takes 2: of x, w"),
        (wrong_gradients({"dx": X, "dq": X}), "got a gradient 'dq', takes x, dx, w, dw"),
    ],
)
def test_a_wrong_number_or_name_of_gradients_is_one_error(function, message):
    module = _module(function, params={"w": np.ones((5, 3))})
    y, vjp = module.forward(X)
    with pytest.raises(ValueError, match=message):
        vjp(y)


def test_a_gradient_of_another_shape_fails_in_its_row():
    report = compare_functions(
        wrong_gradients(X, X), lambda x, w: x @ w, [X], {"w": np.ones((5, 3))}
    )
    (row,) = (row for row in report.failures if row.name == "w")
    assert row.kind == "parameter gradient"
    assert "shape" in row.note


def compare(left=affine.affine_vjp, right=affine.affine_torch, inputs=(X,), params=None, **options):
    own = {"w": np.ones((5, 3)), "b": np.ones(3)}
    return compare_functions(left, right, inputs, own if params is None else params, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"style": "vjps"}, "style: got 'vjps', takes one or two of 'vjp', 'cache'"),
        ({"style": ("vjp", "cache", "vjp")}, "style: got .*takes one or two of"),
        ({"left": 3}, "left: got int, style 'vjp' takes a function or a module"),
        ({"left": (np.sin, np.cos)}, r"a pair \(forward, backward\) has style='cache'"),
        ({"style": "cache"}, "left: got affine_vjp, style 'cache' takes"),
        (
            {"left": affine.affine_forward},
            r"affine_forward: style .vjp. takes a function that returns \(y, vjp\), got a tuple",
        ),
        (
            {"left": (np.exp, np.exp), "params": {}, "style": "cache"},
            r"exp: style 'cache' takes a function that returns \(y, cache\), got ndarray alone",
        ),
        (
            {"left": lambda x: (x, x), "params": {}, "style": "value_and_grad"},
            "style 'value_and_grad' takes a function that returns .number, gradients",
        ),
        ({"params": [X]}, "params: got list, takes a dict from names to arrays"),
        ({"params": {"w": np.ones(3, int)}}, "params: 'w' is int64, takes float32 or float64"),
        ({"params": {"w": X, "b": X.astype("f")}}, "params: got dtypes .*takes one dtype"),
        ({"params": {"forward": X}}, "params: got the name 'forward', which a module uses itself"),
        ({"inputs": (X, X)}, "got 2 inputs and the parameters w, b, takes x, w, b"),
        ({"inputs": ()}, "got 0 inputs and the parameters w, b, takes x, w, b"),
        (
            {"right": torch.nn.Linear(5, 3).double()},
            "'w' -> got 'w', takes a parameter of the right",
        ),
        (
            {"right": affine.Affine(5, 3), "names": {"w": "linear.weight", "b": "linear.bias"}},
            r"params: got \(5, 3\) for 'w', 'linear.weight' .* takes \(3, 5\); a `layout`",
        ),
        ({"names": {"w": "w[0:2]"}}, "names: got .* a slice, takes them for a module only"),
    ],
)
def test_a_wrong_argument_is_one_error_that_says_what_is_taken(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(**arguments)


def test_a_missing_framework_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "autograd", None)
    with pytest.raises(ValueError, match="style: 'autograd' needs the package autograd"):
        parity.compare_functions(affine.affine_autograd, affine.affine_torch, [X], style="autograd")
