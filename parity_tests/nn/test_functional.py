"""softmax, log_softmax, logsumexp and elu: both panels, SciPy as witness, and extreme inputs."""

import numpy as np
import pytest
import torch
from scipy import special

import numpy_ref.nn.functional
import torch_impl.nn.functional
from diptych.parity.measures.rows import normwise
from numpy_ref.nn.functional import ELU

NAMES = ("softmax", "log_softmax", "logsumexp")
INF = np.inf


def left(name, x, axis=-1):
    return getattr(numpy_ref.nn.functional, name)(x, axis)


def right(name, x, axis=-1):
    return getattr(torch_impl.nn.functional, name)(x, axis)


def both(name, x, dy, axis):
    """(y, dx) of each panel."""
    y, vjp = left(name, x, axis)
    there = torch.from_numpy(x).requires_grad_()
    theirs = right(name, there, axis)
    (dx,) = torch.autograd.grad(theirs, there, torch.from_numpy(dy))
    return (y, vjp(dy)), (theirs.detach().numpy(), dx.numpy())


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_both_panels_agree(rng, name, axis, dtype, bound):
    x = (5 * rng.normal(size=(4, 3, 6))).astype(dtype)
    dy = np.asarray(rng.normal(size=left(name, x, axis)[0].shape), dtype)
    ours, theirs = both(name, x, dy, axis)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype == np.dtype(dtype)
        assert normwise(a, b) <= bound


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_scipy(rng, name, axis):
    x = 5 * rng.normal(size=(4, 6))
    x[1, 2] = -INF
    witness = getattr(special, name)(x, axis=axis)
    np.testing.assert_allclose(left(name, x, axis)[0], witness, rtol=1e-14)
    np.testing.assert_allclose(right(name, torch.from_numpy(x), axis), witness, rtol=1e-14)


@pytest.mark.parametrize("shift", [-1e6, -700.0, 700.0, 1e6])
def test_results_are_invariant_to_a_shift(rng, shift):
    """For shifts at which e^x is 0 or inf. All are multiples of 1/8, so that sums are exact."""
    x = np.round(rng.normal(size=(5, 7)) * 8) / 8
    for name in NAMES:
        (y, vjp), (shifted, moved_vjp) = left(name, x), left(name, x + shift)
        expected = y + shift if name == "logsumexp" else y
        np.testing.assert_allclose(shifted, expected, rtol=1e-15)
        dy = rng.normal(size=y.shape)
        np.testing.assert_array_equal(moved_vjp(dy), vjp(dy))


@pytest.mark.parametrize(
    "row",
    [
        [1000.0, 0.0, -1000.0],
        [-1000.0, -1001.0, -1002.0],
        [1e308, 1e308, 0.0],
        [-1e308, -1e308, -1e308],
        [0.0, -INF, 1.0],
        [-INF, -INF, 5.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_give_finite_gradients(name, row):
    """Forward and backward without overflow, log 0 or 0 / 0: warnings are errors in this suite."""
    x = np.array([row])
    dy = np.array([0.3]) if name == "logsumexp" else np.array([[0.3, -0.7, 1.1]])
    (y, dx), (theirs, their_dx) = both(name, x, dy, -1)
    np.testing.assert_allclose(y, theirs, rtol=1e-15)
    np.testing.assert_allclose(dx, their_dx, rtol=1e-14, atol=1e-16)
    assert np.isfinite(dx).all()
    finite = np.isfinite(row)
    assert np.isfinite(y if name == "logsumexp" else y[0, finite]).all()
    if name == "softmax":
        assert y.sum() == pytest.approx(1, rel=1e-15) and (y[0, ~finite] == 0).all()
    if name == "log_softmax":
        assert (y[0, ~finite] == -INF).all()


@pytest.mark.parametrize("row", [[-INF, -INF, -INF], [INF, 0.0, 1000.0], [INF, -INF, INF]], ids=str)
def test_undefined_results_are_nan_without_a_warning(row):
    """The same as in torch; other rows are not affected."""
    x = np.array([row, [0.0, 1.0, 2.0]])
    for name in NAMES:
        y, vjp = left(name, x)
        np.testing.assert_array_equal(y[0], right(name, torch.from_numpy(x))[0])
        assert name == "logsumexp" or np.isnan(y[0]).all()
        good, good_vjp = left(name, x[1:])
        np.testing.assert_array_equal(y[1:], good)
        dy = np.ones_like(y)
        np.testing.assert_array_equal(vjp(dy)[1:], good_vjp(dy[1:]))


@pytest.mark.parametrize("offset", [-1e5, -1e12, 1e17])
def test_the_derivative_of_logsumexp_keeps_its_digits_far_from_zero(rng, offset):
    """torch computes it as e^(x - y), with a relative error of eps |y|."""
    x = offset + 64 * rng.integers(-2, 3, size=(3, 5))
    dy = rng.normal(size=3)
    witness = dy[:, None] * special.softmax(x, axis=-1)
    for _, dx in both("logsumexp", x, dy, -1):
        assert normwise(dx, witness) <= 1e-15


def test_log_softmax_is_finite_where_softmax_is_zero():
    x = np.array([0.0, -2000.0])
    assert left("softmax", x)[0][1] == 0
    assert left("log_softmax", x)[0][1] == -2000.0


def test_logsumexp_is_between_its_bounds(rng):
    """max x <= logsumexp x <= max x + log n, with equality on the right if all x are equal."""
    x = 4 * rng.normal(size=(50, 9))
    y, _ = left("logsumexp", x)
    assert (y >= x.max(1)).all() and (y <= x.max(1) + np.log(9)).all()
    assert left("logsumexp", np.full(9, -3.0))[0] == pytest.approx(np.log(9) - 3, rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_axis_is_the_last(rng, name):
    x = rng.normal(size=(4, 3, 6))
    ours = getattr(numpy_ref.nn.functional, name)(x)[0]
    theirs = getattr(torch_impl.nn.functional, name)(torch.from_numpy(x)).numpy()
    for y in (ours, theirs):
        np.testing.assert_allclose(y, getattr(special, name)(x, axis=-1), rtol=1e-13)


def test_the_input_is_not_changed(rng):
    x = rng.normal(size=(3, 4))
    original = x.copy()
    for name in NAMES:
        y, vjp = left(name, x)
        vjp(np.ones_like(y))
    np.testing.assert_array_equal(x, original)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_elu_is_that_of_torch_for_all_magnitudes(rng, dtype):
    """No overflow, all digits near 0, and the same derivative at 0."""
    edges = [0.0, -0.0, 1e-20, -1e-20, 1e-7, -1e-7, 40.0, -40.0, 1e4, -1e4, INF, -INF]
    x = np.concatenate((edges, 3 * rng.normal(size=100))).astype(dtype)
    dy = rng.normal(size=x.shape).astype(dtype)
    read = torch.from_numpy(x).requires_grad_()
    reference = torch.nn.functional.elu(read)
    reference.backward(torch.from_numpy(dy))
    rtol = 4 * np.finfo(dtype).eps
    for function in (numpy_ref.nn.functional.elu, ELU()):
        y, vjp = function(x)
        assert y.dtype == vjp(dy).dtype == np.dtype(dtype)
        np.testing.assert_allclose(y, reference.detach(), rtol=rtol)
        # e^x is 1 + y, which where x is far below 0 keeps eps of 1
        np.testing.assert_allclose(vjp(dy), read.grad, rtol=rtol, atol=rtol)
    assert vjp(np.ones_like(x))[0] == 1
