"""Taps inside functions of autograd and jax: values and gradients, also under jit and scan."""

import numpy as np
import pytest
import torch
from helpers.affine_functions import affine_arrays

from diptych import parity

ROWS = [
    ("a", "output"),
    ("forward", "output"),
    ("a", "output gradient"),
    ("forward(x)", "input gradient"),
]


def affine_torch(x, w, b):
    return torch.tanh(parity.tap("a", x @ w + b))


def affine_in(framework, fault=1.0):
    def affine(x, w, b):
        return framework.tanh(fault * parity.tap("a", fault * framework.dot(x, w) + b))

    return affine


def numpy_of(style):
    return pytest.importorskip("jax.numpy" if style == "jax" else "autograd.numpy")


@pytest.mark.parametrize("style", ["autograd", "jax"])
def test_a_tap_in_a_traced_function_is_compared(rng, style):
    x, params = affine_arrays(rng)
    function = affine_in(numpy_of(style))
    report = parity.compare_functions(function, affine_torch, [x], params, style=style)
    assert report.ok, str(report)
    rows = [(row.name, row.kind) for row in report.rows if not row.kind.startswith("param")]
    assert rows == ROWS
    function(*map(numpy_of(style).asarray, (x, *params.values())))  # without a trace


@pytest.mark.parametrize("style", ["autograd", "jax"])
def test_a_fault_before_a_tap_is_found_at_the_tap(rng, style):
    x, params = affine_arrays(rng)
    function = affine_in(numpy_of(style), fault=1.001)
    report = parity.compare_functions(function, affine_torch, [x], params, style=style)
    assert report.first_divergence.name == "a"


def test_taps_in_scan_and_jit_are_numbered_and_run_backwards(rng):
    jax = pytest.importorskip("jax")

    @jax.jit
    def rnn(x, u):
        def step(h, x_t):
            h = parity.tap("h", jax.numpy.tanh(x_t + h @ u))
            return h, h

        return jax.lax.scan(step, jax.numpy.zeros(x.shape[1:]), x)[1]

    def rnn_torch(x, u):
        h, hs = torch.zeros_like(x[0]), []
        for x_t in x:
            h = parity.tap("h", torch.tanh(x_t + h @ u))
            hs.append(h)
        return torch.stack(hs)

    x, u = rng.normal(size=(3, 4, 5)), rng.normal(size=(5, 5))
    for _ in range(2):  # the compiled function is in jax's cache the second time
        report = parity.compare_functions(rnn, rnn_torch, [x], {"u": u}, style="jax")
        assert report.ok, str(report)
        names = [row.name for row in report.rows if row.kind == "output gradient"]
        assert names == ["h#3", "h#2", "h"]


@pytest.mark.parametrize("style", ["autograd", "jax"])
def test_a_constant_may_be_tapped_and_a_tuple_may_not(rng, style):
    framework = numpy_of(style)

    def scale(x):
        return x * parity.tap("c", np.full(4, 2.0))

    def pair(x):
        return parity.tap("p", (x, x))[0] + framework.sum(x)

    x = rng.normal(size=4)
    report = parity.compare_functions(
        scale, lambda x: x * parity.tap("c", torch.full_like(x, 2)), [x], style=style
    )
    assert report.ok, str(report)
    with pytest.raises(ValueError, match="tap: got a tuple for 'p', takes one array"):
        parity.compare_functions(pair, lambda x: x, [x], style=style)
