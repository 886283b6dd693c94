"""Curves, images and latent points for the tests of figures."""

import numpy as np

T, N, H, W = 40, 7, 5, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-0.2, 1.2, (N, H, W))
SQUARE = RNG.uniform(-0.2, 1.2, (4, 4, H, W))
MU, LABELS = RNG.normal(size=(50, 2)), RNG.integers(0, 10, 50)


def two_curves(terms=("total", "recon", "kl"), steps=T):
    """Return curves of two panels whose terms differ by rounding."""
    rng = np.random.default_rng(1)
    right = {term: rng.uniform(1, 90, steps) for term in terms}
    left = {
        term: values * (1 + rng.integers(-4, 5, steps) * 2e-16) for term, values in right.items()
    }
    step = 10 * np.arange(steps)
    return {"numpy": {"step": step, **left}, "torch": {"step": step.copy(), **right}}
