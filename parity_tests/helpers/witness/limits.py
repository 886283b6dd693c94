"""The float64 errors, in ulp of the norm, that the witness accepts from either panel."""

from __future__ import annotations

from helpers.witness.proof import Proof

LAYER = 64.0
"""A function or a layer on a few dozen numbers: 1.4e-14."""
MODEL = 450.0
"""A whole model: 1e-13, the bound between the panels."""
ILL_CONDITIONED = {
    # one digit in 300 of x - mu is lost, and again in the sums of its products
    "batch_norm, of means to 300": MODEL,
    # log B(a, b) is a difference of log-gammas, each up to 347 times as large as the sum a + b, of
    # which it is a fraction; so are the products of the digammas in the gradient
    "beta_nll, clamped high concentrations": 4096.0,
    # exp(logvar) - 1 - logvar is logvar^2 / 2, of which logvar = 1e-6 keeps ten digits; autograd
    # computes its derivative as (expm1(logvar) + 1) - 1, where the left panel has expm1(logvar)
    "gaussian_kl, near 0": 1e6,
}


def excesses(name: str, proof: Proof, limit: float) -> list[str]:
    """The errors of a proof that are above the limit, in words."""
    limit = ILL_CONDITIONED.get(name, limit)
    return [
        f"{field}: {getattr(proof, field).normwise:.1f} ulp, limit {limit:g}"
        for field in ("left_values", "left_gradients", "right_values", "right_gradients")
        if not getattr(proof, field).normwise <= limit
    ]
