"""A comparison must locate a fault: each planted fault is reported at its own tensor."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity
from diptych.parity.measures.bounds import rounding_bound
from model_specs.mlp_vae import LogvarParams, MLPVAELoss
from numpy_ref.nn.module import Parameter


def method(instance, name):
    """Decorator that replaces a method of one instance; the function gets the original first."""

    def plant(function):
        original = getattr(type(instance), name)

        @functools.wraps(original)
        def faulty(self, *arguments):
            return function(original.__get__(self), *arguments)

        instance.__class__ = type(type(instance).__name__, (type(instance),), {name: faulty})

    return plant


def with_vjp(change):
    """A faulty method that applies `change` to the gradients which the original's vjp returns."""

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


def clearing_a_bias_gradient(left, after):
    """Set the bias gradient of decoder_hidden to 0, before or after its vjp has added to it."""

    @method(left.decoder_hidden, "forward")
    def _(original, x):
        y, vjp = original(x)

        def bad(dy):
            if not after:
                left.decoder_hidden.bias.grad[...] = 0
            dx = vjp(dy)
            if after:
                left.decoder_hidden.bias.grad[...] = 0
            return dx

        return y, bad


def missing_bias_gradient(left, right):
    clearing_a_bias_gradient(left, after=True)


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


def different_bias_on_one_side(left, right):
    """One parameter has different values on the two sides."""
    with torch.no_grad():
        right.posterior.logvar.bias.copy_(right.posterior.mu.bias)


def mean_over_the_wrong_axis(left, right):
    @method(right.likelihood, "nll")
    def _(original, logits, x):
        return original(logits, x).flip(0)


def detached_latent(left, right):
    @method(right, "reparameterize")
    def _(original, mu, scale, eps):
        return original(mu.detach(), scale, eps)


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
    clearing_a_bias_gradient(left, after=False)


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
    different_bias_on_one_side: ("parameter", "posterior.logvar.bias"),
    mean_over_the_wrong_axis: ("output", "likelihood.nll"),
    detached_latent: ("input gradient", "reparameterize(mu)"),
    slightly_wrong_constant: ("output", "encoder_hidden"),
    wrong_only_in_one_element: ("output", "decoder_logits"),
}


def test_a_correct_pair_agrees(vae):
    report = parity.compare(*vae)
    assert report.ok and report.first_divergence is None and report.worst.error <= 1e-13
    assert report.verdict.startswith(f"MLPVAE: all {len(report.rows)} tensors agree; worst ")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_named_at_its_tensor(vae, fault):
    fault(*vae[:2])
    report = parity.compare(*vae)
    row = report.first_divergence
    assert row is not None, "the fault was not detected"
    cause = report.root_cause
    assert (cause.kind, cause.name) == FAULTS[fault] and cause.origin == "root cause"
    assert row is cause or row.origin == "propagated"
    assert not report.ok and row.name in str(report) and "FAIL" in str(report)
    first_line = str(report).splitlines()[0]
    assert first_line.startswith(f"MLPVAE: {cause.name}: {cause.kind} ")
    propagated = sum(row.origin == "propagated" for row in report.failures)
    assert (f"{propagated} more row" in first_line) == (len(report.failures) == propagated + 1 > 1)


def test_two_faults_are_two_root_causes_and_the_rest_is_propagated(vae):
    """Outputs computed from a faulty output are propagated; a second fault is its own cause."""
    doubled_input_gradient(*vae[:2])
    slightly_wrong_constant(*vae[:2])
    report = parity.compare(*vae)
    causes = [(row.kind, row.name) for row in report.failures if row.origin == "root cause"]
    assert causes[0] == ("output", "encoder_hidden")
    assert ("input gradient", "decoder_logits(x)") in causes
    count = len(report.failures) - len(causes)
    assert f", and {count} are propagated" in report.verdict
    outputs = [
        row for row in report.failures if row.kind == "output" and row.name != "encoder_hidden"
    ]
    assert outputs and all(row.origin == "propagated" for row in outputs)


def test_a_fault_between_two_correct_modules_is_reported_at_the_method_that_joins_them(vae):
    """`decode` halves the gradient of z; all modules that it calls are correct."""

    @method(vae[0], "decode")
    def _(original, z):
        logits, vjp = original(z)
        return logits, lambda dy: 0.5 * vjp(dy)

    row = parity.compare(*vae).first_divergence
    assert (row.kind, row.name, row.origin) == ("input gradient", "decode(z)", "root cause")


def test_a_row_shows_the_element_with_the_largest_difference(vae):
    wrong_only_in_one_element(*vae[:2])
    row = parity.compare(*vae).first_divergence
    assert row.index == (3, 1, 7)
    assert row.values[0] - row.values[1] == pytest.approx(1e-9, rel=1e-5)
    assert f"worst at [3, 1, 7]: {row.values[0]!r} instead of {row.values[1]!r}" in str(row)


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


def test_an_error_below_float32_rounding_is_detected_in_float64_only(make_vae):
    """An error of 1e-11 is below the rounding of float32; TF32's 2^-11 is far above its bound."""
    left, right, x, noise = make_vae("float32")
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


def test_the_rounding_bound_is_8_u_sqrt_n():
    """The bound grows with the square root of the number of roundings; u is half an eps."""
    single = rounding_bound(np.dtype("float32"), 100)
    assert single == pytest.approx(8 * 2**-24 * 10)
    assert rounding_bound(np.dtype("float64"), 400) == pytest.approx(8 * 2**-53 * 20)
