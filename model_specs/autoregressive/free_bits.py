"""Kinds and constants of the free bits, for both panels."""

FREE_BITS = ("none", "total", "latent", "soft")
"""Kinds of KL penalty: see `free_bits_of` in model_specs/vlae.py."""

GAMMA_STEP, GAMMA_MIN, SOFT_MARGIN = 1.1, 1e-3, 1.05
"""Soft free bits: the factor by which gamma changes, its minimum, and the KL / lambda above which
it grows."""
