"""The layers and the losses of the left panel in 50 digits, and that no vjp is left out."""

from __future__ import annotations

import pytest
from helpers.witness import functions, layers, limits, models
from helpers.witness.coverage import executed_codes, functions_with_vjp, vjp_codes
from helpers.witness.proof import BOUND, prove

NOT_RUN = {
    "nn.module.Module.forward": "a base class: it raises NotImplementedError",
    "nn.weight_norm.WeightNorm._multiply": "a base class",
    "recurrent.network.Recurrent._cell": "a base class",
    "recurrent.network.SequenceModel.features": "a base class",
    "mlp_vae.DeterministicPosterior.kl_sampled": "it raises ValueError: a point has no density",
    "conv_vae.ConvVAE.mean": "the mean of a mixture is a constant, whose gradient is 0",
    "score_function.score_function_loss": "its gradient is an estimate, not the loss's derivative",
}


@pytest.mark.parametrize("name", layers.CASES)
def test_the_vjp_of_a_layer_is_its_derivative_to_25_digits(name):
    proof = prove(name, layers.CASES[name])
    assert proof.vjp and max(proof.vjp.values()) <= BOUND, proof.first_error
    assert not limits.excesses(name, proof, limits.LAYER)


@pytest.mark.parametrize("name", models.NAMES)
def test_the_backward_pass_of_a_model_is_the_derivative_to_25_digits(name):
    proof = prove(name, models.make_case(name))
    assert proof.vjp and max(proof.vjp.values()) <= BOUND, proof.first_error
    assert not limits.excesses(name, proof, limits.MODEL)


def test_every_vjp_of_the_left_panel_runs_in_some_case():
    """Functions and methods alike: each that returns a vjp, and the code of each of its vjps."""
    cases = [
        *functions.CASES.values(),
        *layers.CASES.values(),
        *map(models.make_case, models.NAMES),
    ]
    executed = set().union(*map(executed_codes, cases))
    not_run = {
        name
        for name, function in functions_with_vjp().items()
        if not executed.issuperset((function.__code__, *vjp_codes(function)))
    }
    assert not_run == set(NOT_RUN)
