"""Rows, and pairs of a user's own. Planted faults are in test_localiser.py."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from diptych import pairs, parity, weights
from diptych.parity.measures.rows import compare_arrays, masks_equal, normwise
from model_specs.common.key import Key
from numpy_ref.nn.functional import ReLU, Tanh
from numpy_ref.nn.layers import Linear
from numpy_ref.nn.module import Module, Sequential

# Rows


def test_normwise_error():
    a, b = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert normwise(a, b) == pytest.approx(0.5 / np.hypot(3, 4.5))
    assert normwise(a * 0, b * 0) == 0 and normwise(a, b * 0) == math.inf
    # the squares of these under- or overflow
    assert normwise(a * 1e-200, 2 * a * 1e-200) == pytest.approx(0.5)
    assert normwise(a * 1e200, 2 * a * 1e200) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
def test_nan_and_inf_fail_on_either_side_and_on_both(bad, sides):
    arrays = [np.array([1.0, bad if side else 2.0]) for side in sides]
    row = compare_arrays("x", "output", *arrays, bound=1.0)
    assert not row.ok and "NaN or inf" in row.note


def test_booleans_and_integers_must_be_equal():
    mask = np.array([True, False, True])
    assert compare_arrays("mask", "noise", mask, mask, bound=1.0).ok
    row = compare_arrays("mask", "noise", mask, ~mask, bound=1e9)
    assert not row.ok and row.note == "3 of 3 differ"


def test_shapes_must_match():
    row = compare_arrays("x", "output", np.zeros((2, 3)), np.zeros((3, 2)), bound=1.0)
    assert not row.ok and "(2, 3)" in row.note and "(3, 2)" in row.note


# Pairs of a user's own


def _mlps():
    left = Sequential(Linear(4, 6, Key(1)), Tanh(), Linear(6, 3, Key(2)), ReLU())
    right = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.ReLU()).double()
    weights.transfer(left, right)
    return left, right


def test_any_two_modules_with_matching_names_can_be_compared(rng):
    left, right = _mlps()
    report = parity.assert_parity(left, right, rng.normal(size=(5, 4)))
    assert {"0", "1", "2", "3", "forward"} <= {row.name for row in report.rows}
    assert "forward(x)" in {row.name for row in report.rows if row.kind == "input gradient"}


def test_repeated_calls_of_one_module_are_numbered(rng):
    class Left(Module):
        def __init__(self, shift):
            self.cell, self._shift = Linear(3, 3, Key(1)), shift

        def forward(self, x):
            y, first = self.cell(x)
            z, second = self.cell(y + self._shift)
            return z, lambda dz: first(second(dz))

    class Right(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3).double()

        def forward(self, x):
            return self.cell(self.cell(x))

    for shift in (0.0, 1e-6):
        left, right = Left(shift), Right()
        weights.transfer(left, right)
        report = parity.compare(left, right, rng.normal(size=(4, 3)))
        assert {"cell", "cell#2"} <= {row.name for row in report.rows}
        if shift:
            row = report.first_divergence
            assert (row.name, row.origin) == ("cell#2", "propagated")  # its input differs
            # `forward` computes it, and has no method that does
            assert report.verdict.startswith("Left: forward: output off by ")
        else:
            assert report.ok


def test_a_method_assigned_to_an_instance_is_compared_and_stays_there(vae):
    left, right, *_ = vae
    good = right.encoder_hidden.forward
    right.encoder_hidden.forward = lambda input: good(input) * 1.01
    bad = left.posterior.kl
    left.posterior.kl = lambda mu, logvar: bad(mu, logvar + 0.1)
    for _ in range(2):
        report = parity.compare(*vae)
        causes = [row.name for row in report.failures if row.origin == "root cause"]
        assert causes[0] == "encoder_hidden" and "posterior.kl" in causes


def test_a_dtype_that_the_models_do_not_have_is_refused(vae):
    assert parity.compare(*vae, dtype=torch.float64, device="cpu").ok
    with pytest.raises(ValueError, match="dtype: got 'float32', the models have float64"):
        parity.compare(*vae, dtype="float32")
    with pytest.raises(ValueError, match="right: has parameters of float32, takes float64"):
        parity.compare(vae[0], vae[1].float(), *vae[2:])


def test_tf32_is_refused(make_vae, monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    with pytest.raises(ValueError, match="float32 matmul precision: got 'high'"):
        parity.compare(*make_vae("float32"))


def test_a_left_layer_that_changes_the_dtype_fails(rng):
    class Left(Module):
        def forward(self, x):
            return 2.0 * x.astype(np.float64), lambda dy: 2 * dy

    class Right(nn.Module):
        def forward(self, x):
            return 2.0 * x

    report = parity.compare(Left(), Right(), rng.normal(size=(3, 2)).astype(np.float32))
    assert "computed in float64 and float32" in report.first_divergence.note


def test_in_place_layers_on_the_right_can_be_compared(rng):
    left = Sequential(Linear(4, 3, Key(1)), ReLU())
    right = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)).double()
    weights.transfer(left, right)
    assert "1" in {row.name for row in parity.compare(left, right, rng.normal(size=(5, 4))).rows}


def test_models_without_a_common_method_are_refused():
    with pytest.raises(ValueError, match="share neither"):
        parity.compare(Module(), nn.Identity(), np.zeros(3))
    with pytest.raises(ValueError, match="right: got None"):
        parity.compare(Linear(2, 3))


def test_masks_of_the_noise_are_reported():
    """`masks_equal` is True only if each boolean array of the noise is equal on both sides."""
    mask = np.array([True])
    rows = [compare_arrays("noise.mask", "noise", mask, mask, 0.0)]
    assert masks_equal(rows) is True
    for other in (~mask, None, np.array([True, True])):
        row = compare_arrays("noise.mask", "noise", mask, other, 0.0)
        assert masks_equal([*rows, row]) is False
    assert masks_equal([]) is None
    assert masks_equal([compare_arrays("z", "output", np.ones(1), np.ones(1), 0.0)]) is None


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'mlp_vae'"):
        parity.compare("mpl_vae")
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        pairs.find("mlp_vae[gausian]")


def test_a_comparison_leaves_the_attributes_of_the_models_unchanged(vae):
    left, right, *_ = vae
    before = [(set(vars(m)), type(m)) for _, m in [*left.named_modules(), *right.named_modules()]]
    parity.compare(*vae)
    after = [(set(vars(m)), type(m)) for _, m in [*left.named_modules(), *right.named_modules()]]
    assert before == after
