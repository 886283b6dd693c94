"""The localiser is itself tested: faults are planted, and each must be named at its own tensor."""

import functools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from diptych import pairs, parity, weights
from diptych.parity.bounds import rounding_bound
from diptych.parity.comparison import masks_equal
from diptych.parity.report import Report, compare_arrays, normwise
from model_specs.key import Key
from model_specs.mlp_vae import LogvarParams, MLPVAEConfig, MLPVAELoss
from numpy_ref import random
from numpy_ref.layers import Linear, ReLU, Tanh
from numpy_ref.module import Module, Parameter, Sequential

CONFIG = MLPVAEConfig(input_dim=13, hidden_dim=11, latent_dim=3, beta=0.7, samples=2)
KEY = Key(31)


@pytest.fixture
def vae(make_pair):
    """(left, right, batch, noise), all well."""
    left, right = make_pair(CONFIG)
    return left, right, random.uniform(KEY, (5, 13)), left.draw_noise(KEY, 5)


def method(instance, name):
    """Replace a method of one instance: the decorated function gets the old one first."""

    def plant(function):
        inherited = getattr(type(instance), name)

        @functools.wraps(inherited)
        def faulty(self, *arguments):
            return function(inherited.__get__(self), *arguments)

        instance.__class__ = type(type(instance).__name__, (type(instance),), {name: faulty})

    return plant


def with_vjp(change):
    """A fault in the vjp alone: (y, vjp) with `change` applied to what the vjp returns."""

    def faulty(original, *arguments):
        y, vjp = original(*arguments)
        return y, lambda *dy: change(vjp(*dy))

    return faulty


def transposed_weight_gradient(left, right):
    @method(left.posterior.mu, "forward")
    def _(original, x):
        y, vjp = original(x)

        def bad(dy):
            before = left.posterior.mu.weight.grad.copy()
            dx = vjp(dy)
            added = left.posterior.mu.weight.grad - before
            left.posterior.mu.weight.grad[...] = before + added.T.reshape(added.shape)
            return dx

        return y, bad


def missing_bias_gradient(left, right):
    @method(left.decoder_hidden, "forward")
    def _(original, x):
        y, vjp = original(x)

        def bad(dy):
            dx = vjp(dy)
            left.decoder_hidden.bias.grad.fill(0)
            return dx

        return y, bad


def doubled_input_gradient(left, right):
    method(left.decoder_logits, "forward")(with_vjp(lambda dx: 2 * dx))


def forgotten_factor_one_half(left, right):
    method(left.posterior, "reparameterize")(with_vjp(lambda d: (d[0], 2 * d[1])))


def swapped_mu_and_logvar(left, right):
    @method(left, "encode")
    def _(original, x):
        q, vjp = original(x)
        return LogvarParams(q.logvar, q.mu), lambda dmu, dlogvar: vjp(dlogvar, dmu)


def kl_without_its_constant(left, right):
    @method(left.posterior, "kl")
    def _(original, mu, logvar):
        kl, vjp = original(mu, logvar)
        return kl + 0.5, vjp


def missing_term_in_the_kl_gradient(left, right):
    method(left.posterior, "kl")(with_vjp(lambda d: (d[0], 0 * d[1])))


def relu_that_passes_everything_back(left, right):
    @method(left.encoder_activation, "forward")
    def _(original, x):
        return original(x)[0], lambda dy: dy


def beta_forgotten_in_the_total(left, right):
    @method(left, "loss")
    def _(original, x, noise):
        loss, backward = original(x, noise)
        return MLPVAELoss(loss.recon + loss.kl, loss.recon, loss.kl), backward


def nan_on_one_side(left, right):
    @method(right.decoder_activation, "forward")
    def _(original, x):
        y = original(x).clone()
        y[2, 1, 4] = math.nan
        return y


def one_bias_for_two_uses(left, right):
    """The classic: a parameter of another value on one side."""
    with torch.no_grad():
        right.posterior.logvar.bias.copy_(right.posterior.mu.bias)


def mean_over_the_wrong_axis(left, right):
    @method(right.likelihood, "nll")
    def _(original, logits, x):
        return original(logits, x).flip(0)


def detached_latent(left, right):
    @method(right, "reparameterize")
    def _(original, mu, spread, eps):
        return original(mu.detach(), spread, eps)


def slightly_wrong_constant(left, right):
    @method(right.encoder_hidden, "forward")
    def _(original, x):
        return original(x) * (1 + 1e-11)


def wrong_only_in_one_element(left, right):
    @method(left.decoder_logits, "forward")
    def _(original, x):
        y, vjp = original(x)
        y = y.copy()
        y[3, 1, 7] += 1e-9
        return y, vjp


def gradient_overwritten_instead_of_added(left, right):
    @method(left.decoder_hidden, "forward")
    def _(original, x):
        y, vjp = original(x)

        def bad(dy):
            left.decoder_hidden.bias.grad[...] = 0
            return vjp(dy)

        return y, bad


FAULTS = {
    gradient_overwritten_instead_of_added: ("parameter gradient", "decoder_hidden.bias"),
    transposed_weight_gradient: ("parameter gradient", "posterior.mu.weight"),
    missing_bias_gradient: ("parameter gradient", "decoder_hidden.bias"),
    doubled_input_gradient: ("input gradient", "decoder_logits(x)"),
    forgotten_factor_one_half: ("input gradient", "posterior.reparameterize(logvar)"),
    swapped_mu_and_logvar: ("output", "encode.mu"),
    kl_without_its_constant: ("output", "posterior.kl"),
    missing_term_in_the_kl_gradient: ("input gradient", "posterior.kl(logvar)"),
    relu_that_passes_everything_back: ("input gradient", "encoder_activation(x)"),
    beta_forgotten_in_the_total: ("output", "loss.total"),
    nan_on_one_side: ("output", "decoder_activation"),
    one_bias_for_two_uses: ("parameter", "posterior.logvar.bias"),
    mean_over_the_wrong_axis: ("output", "likelihood.nll"),
    detached_latent: ("input gradient", "reparameterize(mu)"),
    slightly_wrong_constant: ("output", "encoder_hidden"),
    wrong_only_in_one_element: ("output", "decoder_logits"),
}


def test_the_unspoilt_pair_agrees(vae):
    report = parity.compare(*vae)
    assert report.ok and report.first_divergence is None and report.worst.error <= 1e-13


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_named_at_its_tensor(vae, fault):
    fault(*vae[:2])
    report = parity.compare(*vae)
    found = report.first_divergence
    assert found is not None, "the fault went unnoticed"
    assert (report.first_new.kind, report.first_new.name) == FAULTS[fault]
    assert found is report.first_new or found.origin == "inherited"
    assert not report.ok and found.name in str(report) and "FAIL" in str(report)


def test_what_follows_a_fault_is_told_apart_from_a_second_fault(vae):
    """Only the two planted tensors are called new; all that is computed from them is inherited."""
    doubled_input_gradient(*vae[:2])
    slightly_wrong_constant(*vae[:2])
    report = parity.compare(*vae)
    new = [(row.kind, row.name) for row in report.failures if row.origin == "new"]
    assert new[0] == ("output", "encoder_hidden")
    assert ("input gradient", "decoder_logits(x)") in new
    outputs = [
        row for row in report.failures if row.kind == "output" and row.name != "encoder_hidden"
    ]
    assert outputs and all(row.origin == "inherited" for row in outputs)


def test_a_fault_in_the_glue_is_named_at_what_the_glue_hands_on(vae):
    """The cotangent of z loses its decoder part between two modules that are both right."""

    @method(vae[0], "decode")
    def _(original, z):
        logits, vjp = original(z)
        return logits, lambda dy: 0.5 * vjp(dy)

    found = parity.compare(*vae).first_divergence
    assert (found.kind, found.name, found.origin) == ("input gradient", "decode(z)", "new")


def test_the_worst_element_is_found(vae):
    wrong_only_in_one_element(*vae[:2])
    found = parity.compare(*vae).first_divergence
    assert found.index == (3, 1, 7)
    assert found.values[0] - found.values[1] == pytest.approx(1e-9, rel=1e-5)


@pytest.mark.parametrize("missing_on", ["left", "right"])
def test_missing_and_unused_parameters_are_failures(vae, missing_on):
    left, right, *rest = vae
    if missing_on == "right":
        left.extra = Parameter(np.ones(2))
    else:
        right.extra = nn.Parameter(torch.ones(2, dtype=torch.float64))
    report = parity.compare(left, right, *rest)
    row = next(row for row in report.failures if row.name == "extra")
    assert f"missing on the {missing_on}" in row.note
    left.extra, right.extra = Parameter(np.ones(2)), nn.Parameter(torch.ones(2).double())
    row = next(row for row in parity.compare(left, right, *rest).failures if row.name == "extra")
    assert "unused" in row.note


def test_a_fault_within_rounding_of_float32_is_seen_in_float64_only(make_pair):
    """1e-11 is nothing to float32, and TF32's 2^-11 is far too much for its bound."""
    left, right = make_pair(CONFIG, "float32")
    x, noise = random.uniform(KEY, (5, 13), dtype="float32"), left.draw_noise(KEY, 5)
    slightly_wrong_constant(left, right)
    assert parity.compare(left, right, x, noise).ok

    @method(right.encoder_hidden, "forward")
    def _(original, x):
        with torch.no_grad():
            y = original(x)
        return original(x) + (y * 2**-11 - 0 * y)

    report = parity.compare(left, right, x, noise)
    assert report.first_divergence.name == "encoder_hidden"
    assert "right panel is off" in report.first_divergence.note


def test_the_float32_bound_has_room_for_rounding_and_no_more():
    """It grows as the root of the number of roundings, and u is half an eps."""
    single = rounding_bound(np.dtype("float32"), 100)
    assert single == pytest.approx(8 * 2**-24 * 10)
    assert rounding_bound(np.dtype("float64"), 400) == pytest.approx(8 * 2**-53 * 20)


# Rows


def test_normwise_error():
    a, b = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert normwise(a, b) == pytest.approx(0.5 / np.hypot(3, 4.5))
    assert normwise(a * 0, b * 0) == 0 and normwise(a, b * 0) == math.inf
    # squares that under- or overflow hide nothing
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


def test_an_empty_report_is_not_a_success():
    assert not Report("nothing", "float64", "cpu", ()).ok


def test_json_round_trips_and_has_no_nan(vae):
    nan_on_one_side(*vae[:2])
    report = parity.compare(*vae, name="spoilt")
    told = json.loads(report.to_json(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert told["name"] == "spoilt" and told["ok"] is False and told["masks_equal"] is None
    assert told["tensors"] == len(told["rows"]) == len(report.rows)
    assert told["worst"]["error"] == "inf"


# Pairs of one's own


def _mlps():
    left = Sequential(Linear(4, 6, Key(1)), Tanh(), Linear(6, 3, Key(2)), ReLU())
    right = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.ReLU()).double()
    weights.transfer(left, right)
    return left, right


def test_any_module_tree_with_matching_names(rng):
    left, right = _mlps()
    report = parity.assert_parity(left, right, rng.normal(size=(5, 4)))
    assert {"0", "1", "2", "3", "forward"} <= {row.name for row in report.rows}
    assert "forward(x)" in {row.name for row in report.rows if row.kind == "input gradient"}


def test_tied_weights_and_repeated_calls_are_told_apart(rng):
    class Left(Module):
        def __init__(self, spoil):
            self.cell, self._spoil = Linear(3, 3, Key(1)), spoil

        def forward(self, x):
            y, first = self.cell(x)
            z, second = self.cell(y + self._spoil)
            return z, lambda dz: first(second(dz))

    class Right(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(3, 3).double()

        def forward(self, x):
            return self.cell(self.cell(x))

    for spoil in (0.0, 1e-6):
        left, right = Left(spoil), Right()
        weights.transfer(left, right)
        report = parity.compare(left, right, rng.normal(size=(4, 3)))
        assert {"cell", "cell#2"} <= {row.name for row in report.rows}
        if spoil:
            found = report.first_divergence
            assert (found.name, found.origin) == ("cell#2", "inherited")  # its input was wrong
        else:
            assert report.ok


@pytest.mark.parametrize("returned", [None, 0])
def test_a_vjp_that_returns_nothing_is_a_failure(returned, rng):
    class Left(Module):
        def forward(self, x):
            return 2 * x, lambda dy: returned

    class Right(nn.Module):
        def forward(self, x):
            return 2 * x

    found = parity.compare(Left(), Right(), rng.normal(size=(3, 2))).first_divergence
    assert (found.kind, found.name) == ("input gradient", "forward(x)")
    assert "missing on the left" in found.note


def test_a_vjp_with_too_many_gradients_is_refused(rng):
    class Left(Module):
        def forward(self, x):
            return 2 * x, lambda dy: (2 * dy, dy)

    class Right(nn.Module):
        def forward(self, x):
            return 2 * x

    with pytest.raises(ValueError, match="gave 2 gradients for 1 inputs"):
        parity.compare(Left(), Right(), rng.normal(size=(3, 2)))


def test_a_method_planted_on_an_instance_is_compared_and_left_there(vae):
    left, right, *_ = vae
    good = right.encoder_hidden.forward
    right.encoder_hidden.forward = lambda input: good(input) * 1.01
    bad = left.posterior.kl
    left.posterior.kl = lambda mu, logvar: bad(mu, logvar + 0.1)
    for _ in range(2):
        report = parity.compare(*vae)
        new = [row.name for row in report.failures if row.origin == "new"]
        assert new[0] == "encoder_hidden" and "posterior.kl" in new


def test_what_the_models_are_is_not_what_was_asked_for(make_pair):
    left, right = make_pair(CONFIG)
    arguments = (left, right, random.uniform(KEY, (5, 13)), left.draw_noise(KEY, 5))
    assert parity.compare(*arguments, dtype=torch.float64, device="cpu").ok
    with pytest.raises(ValueError, match="dtype: got 'float32', the models have float64"):
        parity.compare(*arguments, dtype="float32")
    with pytest.raises(ValueError, match="right: has parameters of float32, takes float64"):
        parity.compare(left, right.float(), *arguments[2:])


def test_tf32_is_refused(make_pair, monkeypatch):
    left, right = make_pair(CONFIG, "float32")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    with pytest.raises(ValueError, match="float32 matmul precision: got 'high'"):
        parity.compare(left, right, random.uniform(KEY, (5, 13)), left.draw_noise(KEY, 5))


def test_a_left_layer_that_changes_dtype_is_seen(rng):
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


def test_the_plugin_is_light():
    """pytest imports it in every project that has diptych installed."""
    code = "import sys, diptych.parity.plugin; assert not {'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compare_needs_something_in_common():
    with pytest.raises(ValueError, match="share neither"):
        parity.compare(Module(), nn.Identity(), np.zeros(3))
    with pytest.raises(ValueError, match="right: got None"):
        parity.compare(Linear(2, 3))


def test_masks_of_the_noise_are_reported():
    """A boolean array in the noise must be equal to the bit, and `masks_equal` says whether."""
    mask = np.array([True])
    rows = [compare_arrays("noise.mask", "noise", mask, mask, 0.0)]
    assert masks_equal(rows) is True
    for other in (~mask, None, np.array([True, True])):
        wrong = compare_arrays("noise.mask", "noise", mask, other, 0.0)
        assert masks_equal([*rows, wrong]) is False
    assert masks_equal([]) is None
    assert masks_equal([compare_arrays("z", "output", np.ones(1), np.ones(1), 0.0)]) is None


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'mlp_vae'"):
        parity.compare("mpl_vae")
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        pairs.find("mlp_vae[gausian]")


def test_comparing_leaves_no_trace_on_the_models(vae):
    left, right, *_ = vae
    before = [(set(vars(m)), type(m)) for _, m in [*left.named_modules(), *right.named_modules()]]
    parity.compare(*vae)
    after = [(set(vars(m)), type(m)) for _, m in [*left.named_modules(), *right.named_modules()]]
    assert before == after
