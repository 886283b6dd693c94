"""Kinds that fields of the VLAE name, and those with which other fields have an effect."""

from model_specs.autoregressive.free_bits import FREE_BITS

LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
WITHOUT_LATENT, WITH_LATENT, WITH_FLOW = LATENTS[:1], LATENTS[1:], LATENTS[2:]
CONTEXTS = ("none", "local", "raster", "stacks", "gated")
WITH_PIXELS, WITH_MASKS, WITH_WINDOW = CONTEXTS[1:], CONTEXTS[:-1], ("local", "gated")
"""The contexts that read pixels; those of masked layers; those of a window A x B."""
BERNOULLI, MIXTURE = LIKELIHOODS = ("bernoulli", "discretized_logistic_mixture")
CONTEXT_CHANNELS = ("all", "grey")
SPLIT = {kind: ("gaussian",) if kind == "latent" else WITH_LATENT for kind in FREE_BITS}
"""The latents on which each kind of free bits has an effect. The KL of a flow has no parts by
dimension."""
