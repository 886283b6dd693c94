"""compare_functions: each style agrees with torch, and a planted fault is found at its tensor."""

import numpy as np
import pytest
import torch
from helpers import affine_functions as affine

from diptych import parity

STYLES = {
    "vjp": affine.affine_vjp,
    "cache": (affine.affine_forward, affine.affine_backward),
    "autograd": affine.affine_autograd,
    "jax": affine.affine_jax,
}
ROWS = [
    ("w", "parameter"),
    ("b", "parameter"),
    ("forward", "output"),
    ("forward(x)", "input gradient"),
    ("w", "parameter gradient"),
    ("b", "parameter gradient"),
]


def _rows(report):
    return [(row.name, row.kind) for row in report.rows]


@pytest.fixture(params=STYLES)
def style(request):
    if request.param in ("autograd", "jax"):
        pytest.importorskip(request.param)
    return request.param


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_style_agrees_with_a_torch_function(rng, style, dtype):
    x, params = affine.affine_arrays(rng, dtype)
    report = parity.compare_functions(STYLES[style], affine.affine_torch, [x], params, style=style)
    assert report.ok, str(report)
    assert report.dtype == dtype
    assert _rows(report) == ROWS


def test_each_style_agrees_with_a_module_of_another_layout(rng, style):
    x, params = affine.affine_arrays(rng)
    report = parity.compare_functions(
        STYLES[style],
        affine.Affine(5, 3),
        inputs=[x],
        params=params,
        names={"w": "linear.weight", "b": "linear.bias"},
        layout={"w": "io->oi"},
        style=style,
    )
    assert report.ok, str(report)
    assert _rows(report) == ROWS


@pytest.mark.parametrize(
    ("position", "row"),
    [(0, ("forward(x)", "input gradient")), (1, ROWS[4]), (2, ROWS[5])],
)
def test_a_wrong_gradient_is_found_in_its_row(rng, position, row):
    def backward(dout, cache):
        gradients = list(affine.affine_backward(dout, cache))
        gradients[position] = gradients[position] * 1.001
        return tuple(gradients)

    x, params = affine.affine_arrays(rng)
    report = parity.compare_functions(
        (affine.affine_forward, backward), affine.affine_torch, [x], params, style="cache"
    )
    assert [(failure.name, failure.kind) for failure in report.failures] == [row]


def test_a_module_has_its_own_values_again_after_the_run(rng):
    x, params = affine.affine_arrays(rng)
    module = affine.Affine(5, 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    options = {"names": {"w": "linear.weight", "b": "linear.bias"}, "layout": {"w": "io->oi"}}
    parity.compare_functions(affine.affine_vjp, module, [x], params, **options)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with pytest.raises(ValueError, match="affine_forward"):
        parity.compare_functions(affine.affine_forward, module, [x], params, **options)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_split_parameters_are_compared_with_slices_of_a_fused_one(rng):
    def split(x, q, k):
        return (x @ q, x @ k), lambda dq, dk: (dq @ q.T + dk @ k.T, x.T @ dq, x.T @ dk)

    class Fused(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qk = torch.nn.Linear(5, 6, bias=False).double()

        def forward(self, x):
            return self.qk(x).split([2, 4], -1)

    x, q, k = rng.normal(size=(4, 5)), rng.normal(size=(5, 2)), rng.normal(size=(5, 4))
    report = parity.compare_functions(
        split,
        Fused(),
        [x],
        {"q": q, "k": k},
        names={"q": "qk.weight[0:2]", "k": "qk.weight[2:6]"},
        layout={"[qk]": "io->oi"},
    )
    assert report.ok, str(report)
    assert [row.name for row in report.rows if row.kind == "parameter gradient"] == ["q", "k"]


@pytest.mark.parametrize("pair", [("vjp", "cache"), ("cache", "autograd"), ("jax", "vjp")])
def test_two_numpy_functions_are_compared_with_each_other(rng, pair):
    for style in {"autograd", "jax"}.intersection(pair):
        pytest.importorskip(style)
    x, params = affine.affine_arrays(rng)
    left, right = (STYLES[style] for style in pair)
    report = parity.compare_functions(left, right, [x], params, style=pair)
    assert report.ok, str(report)
    assert _rows(report) == ROWS


def test_two_torch_functions_are_compared_with_each_other(rng):
    x, params = affine.affine_arrays(rng)

    def refactored(x, w, b):
        return torch.addmm(b, x, w).tanh()

    report = parity.compare_functions(affine.affine_torch, refactored, [x], params, style="torch")
    assert report.ok, str(report)
    assert _rows(report) == ROWS


def test_values_alone_are_compared_and_the_report_says_so(rng):
    x, params = affine.affine_arrays(rng)
    report = parity.compare_functions(
        lambda x, w, b: np.tanh(x @ w + b), affine.affine_torch, [x], params, style="forward"
    )
    assert report.ok, str(report)
    assert _rows(report) == ROWS[:3]
    assert any("vjp" in reason for reason in report.not_compared)


def test_a_dict_of_outputs_in_another_order_is_compared_by_name(rng):
    def sums(x):
        return {"a": x.sum(0), "b": x.sum(1)}, lambda dy: dy["a"] + dy["b"][:, None]

    x = rng.normal(size=(3, 4))
    report = parity.compare_functions(sums, lambda x: {"b": x.sum(1), "a": x.sum(0)}, [x])
    assert report.ok, str(report)
    assert [row.name for row in report.rows] == ["forward.a", "forward.b", "forward(x)"]


def test_integer_inputs_and_settings_have_no_gradient(rng):
    def lookup(ids, settings, table):
        def vjp(dy):
            dtable = np.zeros_like(table)
            np.add.at(dtable, ids, settings["scale"] * dy)
            return dtable

        return settings["scale"] * table[ids], vjp

    ids, table = np.array([[2, 0, 2], [1, 1, 3]]), rng.normal(size=(4, 5))
    report = parity.compare_functions(
        lookup,
        lambda ids, settings, table: settings["scale"] * table[ids],
        [ids, {"scale": 3.0}],
        {"table": table},
    )
    assert report.ok, str(report)
    assert _rows(report) == [
        ("table", "parameter"),
        ("forward", "output"),
        ("table", "parameter gradient"),
    ]


def test_parameters_are_passed_where_the_function_has_arguments_of_their_names(rng):
    def scaled(gain, x, offset):
        return gain * x + offset, lambda dy: (dy * x, dy * gain, dy)

    arrays = [rng.normal(size=3) for _ in range(3)]
    report = parity.compare_functions(
        scaled,
        lambda x, offset, gain: gain * x + offset,
        [arrays[0]],
        {"offset": arrays[1], "gain": arrays[2]},
    )
    assert report.ok, str(report)
    assert ("forward(x)", "input gradient") in _rows(report)


def test_without_parameters_a_function_of_its_inputs_is_compared(rng):
    def product(a, b):
        return a * b, lambda dy: {"a": dy * b, "db": dy * a}

    a, b = rng.normal(size=(2, 4))
    report = parity.compare_functions(product, torch.mul, [a, b])
    assert report.ok, str(report)
    assert [row.name for row in report.rows] == ["forward", "forward(a)", "forward(b)"]


def test_dtype_casts_inputs_and_parameters(rng):
    x, params = affine.affine_arrays(rng)
    report = parity.compare_functions(
        affine.affine_vjp, affine.affine_torch, [x], params, dtype="float32"
    )
    assert report.ok, str(report)
    assert report.dtype == "float32"
