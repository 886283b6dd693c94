"""The score-function gradient of the MLP VAE, vectorised.   Left panel: numpy_ref/score_function.py

    d/dphi E_q[c(z)] = E_q[c(z) d log q(z|x) / dphi]

It needs the value of c at z but not its derivative, so that z may be discrete and c discontinuous.
If both are smooth, reparameterisation has a far smaller variance. Also called REINFORCE.

Derivation of the gradient. Of the integrand c(z) q(z|x) only the density depends on phi, and the
derivative of a logarithm gives d q / dphi = q d log q / dphi:

    d/dphi int c(z) q(z|x) dz = int c(z) d q(z|x) / dphi dz = int c(z) q(z|x) d log q(z|x) / dphi dz

The last integral is the expectation above, which draws z ~ q(z|x) estimate. With c = 1 the left
side is 0, hence E_q[d log q / dphi] = 0, and a constant may be subtracted from c.

Shapes: N examples, D pixels, Z latents, L draws.
Source: Williams (1992); for variational inference Paisley, Blei & Jordan (2012), arXiv 1206.6430.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model_specs.common.fields import check_choice
from model_specs.mlp_vae import BASELINES, MLPVAELoss, MLPVAENoise
from torch_impl.mlp_vae import MLPVAE
from torch_impl.nn import checks


def log_q(mu: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
    """log N(z; mu, exp(logvar)) at a fixed z: the gradient is the score of q.

        log q = -1/2 sum r^2 + logvar + log 2 pi,   r = (z - mu) / std
        d log q / dmu = r / std,   d log q / dlogvar = (r^2 - 1) / 2

    Shapes: mu, logvar (N, Z), z (N, L, Z) -> (N, L). Units: nats, summed over latents.
    """
    std = torch.exp(0.5 * logvar)[:, None]
    r = (z.detach() - mu[:, None]) / std
    return -0.5 * (r * r + logvar[:, None] + math.log(2 * math.pi)).sum(-1)


def advantage(cost: Tensor, baseline: str) -> Tensor:
    """The cost of each draw less its baseline: 0, or the mean cost of the example's other draws.

        c_l - 1/(L-1) sum_{k != l} c_k = L/(L-1) (c_l - 1/L sum_k c_k)

    The other draws are independent of z_l, and E_q[d log q] = 0, so neither baseline biases the
    gradient.
    Shapes: cost (N, L) -> (N, L); value only.
    Source: Mnih & Rezende (2016), arXiv 1602.06725; Kool, van Hoof & Welling (2019).
    """
    cost = cost.detach()
    if baseline == "none":
        return cost
    L = cost.shape[1]
    return L / (L - 1) * (cost - cost.mean(1, keepdim=True))


def score_function_loss(
    model: MLPVAE, x: Tensor, noise: MLPVAENoise, *, baseline: str = "none"
) -> MLPVAELoss:
    """The loss of `model`; `loss.total.backward()` computes the encoder's gradient by scores.

        encoder:  1/L sum_l (c_l - baseline_l) d log q(z_l|x),   z_l held fixed
        decoder:  1/L sum_l d nll_l, as in model.loss: q does not depend on its weights

    With the estimator "sampled", c = nll + beta (log q(z|x) - log p(z)), at beta = 1 the negative
    integrand of the ELBO. c contains log q, whose own derivative adds E_q[d log q] = 0. With
    "analytic", the KL term is differentiated in closed form and c = nll.

    `total` is the loss plus a surrogate whose value is 0 and whose gradient is the scores'
    (Schulman et al. 2015, arXiv 1506.05254); `recon` and `kl` are without it.

    Shapes: x (N, D), noise.eps (N, L, Z). Units and values: those of model.loss, to the last digit.
    Raises: ValueError for a model that is not an MLPVAE with posterior "logvar" (the score of N(mu,
    sigma^2) has no bound where an unconstrained sigma passes 0), an unknown baseline, leave_one_out
    with one draw, and all that model.loss raises.
    """
    _check_model(model, baseline)
    mu, logvar = model.encode(x)
    _check_draws(model, x, noise, baseline)
    beta = model.config.beta
    weight = 1 / len(x) if model.config.reduction == "mean" else 1.0
    sampled = model.config.estimator == "sampled"

    z = model.reparameterize(mu, logvar, noise.eps).detach()  # constant
    score = log_q(mu, logvar, z)
    logits = model.decode(z)
    nll = model.likelihood.nll(logits, x)  # (N, L)
    if sampled:
        kl = model.posterior.kl_sampled(logvar.detach(), z, noise.eps)  # (N, L)
        cost = nll + beta * kl
    else:
        kl, cost = model.posterior.kl(mu, logvar)[:, None], nll

    recon_term = weight * nll.mean(1).sum()
    kl_term = weight * kl.mean(1).sum()
    surrogate = weight * (advantage(cost, baseline) * score).mean(1).sum()
    total = recon_term + beta * kl_term + (surrogate - surrogate.detach())
    return MLPVAELoss(total, recon_term, kl_term)


def _check_model(model: MLPVAE, baseline: str) -> None:
    if not isinstance(model, MLPVAE):
        raise ValueError(f"model: got {type(model).__name__}, takes torch_impl.mlp_vae.MLPVAE")
    if model.config.posterior != "logvar":
        raise ValueError(f"posterior: got {model.config.posterior!r}, takes 'logvar'")
    check_choice("baseline", baseline, BASELINES)


def _check_draws(model: MLPVAE, x: Tensor, noise: MLPVAENoise, baseline: str) -> None:
    shape = (len(x), None, model.config.latent_dim)
    checks.check_noise("eps", noise.eps, shape, model)
    if baseline == "leave_one_out" and noise.eps.shape[1] == 1:
        raise ValueError("eps: got 1 draw an example, baseline 'leave_one_out' takes 2 or more")
