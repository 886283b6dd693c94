"""Every pure function of the left panel in 50 digits: its vjp, and the float64 of both panels."""

from __future__ import annotations

import pytest
from helpers.witness import limits
from helpers.witness.coverage import functions_with_vjp
from helpers.witness.functions import CASES, COVERED
from helpers.witness.proof import BOUND, prove

NOT_COVERED = {
    "autoregressive.gated_pixel_cnn.output_or_zero": "its layer, if there is one, has a case",
    "score_function.score_function_loss": "its gradient is an estimate, not the loss's derivative",
}


@pytest.mark.parametrize("name", CASES)
def test_a_vjp_is_the_derivative_to_25_digits_and_float64_is_near_the_truth(name):
    proof = prove(name, CASES[name])
    assert proof.vjp and max(proof.vjp.values()) <= BOUND, proof.first_error
    assert not limits.excesses(name, proof, limits.LAYER)


def test_every_pure_function_with_a_vjp_has_a_case():
    pure = {name: f for name, f in functions_with_vjp().items() if f.__qualname__ == f.__name__}
    covered = set(COVERED)
    missing = {name for name, function in pure.items() if function not in covered}
    assert missing == set(NOT_COVERED)
    assert len(pure) >= 32  # what is counted here must not shrink unnoticed
