"""FLOPs and bytes of the MLP VAE.

Products forward, with N examples of D values, H hidden units, Z latents, L samples of z, and P
parameters of the likelihood for each value (2 for `beta` and `gaussian_learned`, else 1):

    2 N (D H + 2 H Z) + 2 N L (Z H + H P D)

A deterministic posterior has one head, H Z instead of 2 H Z. The backward pass has twice as many,
less the 2 N D H of the gradient of x, which is data.
"""

from __future__ import annotations

from diptych.bench.costs.layers import linear
from diptych.bench.costs.part import ADAM, Work, elementwise
from model_specs.mlp_vae import STOCHASTIC, MLPVAEConfig


def work(config: MLPVAEConfig, batch_size: int) -> Work:
    """The work of one step on x (N, D) and eps (N, L, Z), with Adam."""
    c, N = config, batch_size
    D, H, Z, draws = c.input_dim, c.hidden_dim, c.latent_dim, N * c.samples
    heads = ("mu", "scale") if c.posterior in STOCHASTIC else ("mu",)
    parts = (
        linear("encoder hidden", N, D, H, input_grad=False),
        elementwise("encoder activation", N * H),
        *(linear(name, N, H, Z) for name in heads),
        elementwise("z", draws * Z, 3),
        linear("decoder hidden", draws, Z, H),
        elementwise("decoder activation", draws * H),
        linear("logits", draws, H, c.outputs * D),
        elementwise("likelihood", draws * c.outputs * D, 2),
        elementwise("KL", N * Z, 2),
    )
    return Work(parts, data=N * D + draws * Z, optimizer=ADAM)
