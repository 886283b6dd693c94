"""The localiser is itself tested: faults are planted, and each must be named at its own tensor."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity
from diptych.parity.bounds import rounding_bound
from model_specs.mlp_vae import LogvarParams, MLPVAELoss
from numpy_ref.nn.module import Parameter


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


def clearing_a_bias_gradient(left, after):
    """In the vjp of decoder_hidden: before it adds its own, or after."""

    @method(left.decoder_hidden, "forward")
    def _(original, x):
        y, vjp = original(x)

        def bad(dy):
            kept = 0 * left.decoder_hidden.bias.grad
            if not after:
                left.decoder_hidden.bias.grad[...] = kept
            dx = vjp(dy)
            if after:
                left.decoder_hidden.bias.grad[...] = kept
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
    result = report.first_divergence
    assert result is not None, "the fault went unnoticed"
    assert (report.first_new.kind, report.first_new.name) == FAULTS[fault]
    assert result is report.first_new or result.origin == "inherited"
    assert not report.ok and result.name in str(report) and "FAIL" in str(report)


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

    result = parity.compare(*vae).first_divergence
    assert (result.kind, result.name, result.origin) == ("input gradient", "decode(z)", "new")


def test_the_worst_element_is_found(vae):
    wrong_only_in_one_element(*vae[:2])
    result = parity.compare(*vae).first_divergence
    assert result.index == (3, 1, 7)
    assert result.values[0] - result.values[1] == pytest.approx(1e-9, rel=1e-5)


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


def test_a_fault_within_rounding_of_float32_is_seen_in_float64_only(make_vae):
    """1e-11 is nothing to float32, and TF32's 2^-11 is far too much for its bound."""
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


def test_the_float32_bound_has_room_for_rounding_and_no_more():
    """It grows as the root of the number of roundings, and u is half an eps."""
    single = rounding_bound(np.dtype("float32"), 100)
    assert single == pytest.approx(8 * 2**-24 * 10)
    assert rounding_bound(np.dtype("float64"), 400) == pytest.approx(8 * 2**-53 * 20)
