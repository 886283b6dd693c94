"""Specification of the MLP VAE: its config, its noise, and the terms of its loss.

`Any` stands for an array of the panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import (
    check_choice,
    check_min_logvar,
    check_positive_int,
    check_real,
)

ACTIVATIONS = ("relu", "tanh")
POSTERIORS = ("logvar", "sigma", "deterministic")
STOCHASTIC = ("logvar", "sigma")
"""The posteriors that have a density, from which z is drawn."""
ESTIMATORS = ("sampled", "analytic")
PAPER_ESTIMATORS = {"A": "sampled", "B": "analytic"}
LIKELIHOODS = (
    "bernoulli",
    "bernoulli_clamped",
    "continuous_bernoulli",
    "beta",
    "gaussian",
    "gaussian_learned",
    "truncated_gaussian",
)
TWO_OUTPUTS = ("beta", "gaussian_learned")
"""The likelihoods with two parameters per pixel, for which the decoder has 2 D outputs."""
REDUCTIONS = ("mean", "sum")
INITS = ("normal", "torch")
BASELINES = ("none", "leave_one_out")
"""Baseline that the score-function estimator subtracts from the cost of each draw. none: 0.
leave_one_out: the mean cost of the example's other draws, for L >= 2."""


@dataclass(frozen=True)
class MLPVAEConfig:
    """The variational autoencoder of Kingma & Welling (2013, arXiv 1312.6114), appendix C.

        x -> hidden -> (mu, scale);  z = mu + std eps;  z -> hidden -> logits

    Raises: ValueError that names the field, its value and the values it takes.
    """

    input_dim: int = 784
    """An example has D = input_dim values: 28 x 28 = 784 for MNIST."""
    hidden_dim: int = 400
    """Both hidden layers have H = hidden_dim units; PyTorch's VAE example has 400."""
    latent_dim: int = 20
    """The code z has Z = latent_dim dimensions. With 2, the latent space can be plotted."""
    activation: str = "relu"
    """The hidden layers' activation is relu, as in most teaching code, or tanh, as in the paper."""
    posterior: str = "logvar"
    """The encoder's second head outputs log sigma^2 (logvar), or an unconstrained standard
    deviation (sigma), of which a negative value acts as its absolute value. The plain autoencoder
    (deterministic) has no second head: z = mu, and the KL term is 0."""
    estimator: str = "analytic"
    """The KL term is log q(z|x) - log p(z) at the sampled z (sampled, the paper's estimator A,
    equation 6), or its expectation in closed form (analytic, estimator B, equation 7). "A" and "B"
    are accepted too. The deterministic posterior has no density and takes analytic."""
    samples: int = conditional(1, posterior=STOCHASTIC)
    """The loss averages over L = samples draws of z per example. The paper takes 1, with 100
    examples a batch."""
    beta: float = conditional(1.0, posterior=STOCHASTIC)
    """The KL term has the weight beta (Higgins et al. 2017). With 1, the loss is -ELBO."""
    likelihood: str = "bernoulli"
    """The likelihood p(x|z) is bernoulli, computed from logits; bernoulli_clamped, with log(p +
    1e-8) as in much teaching code with the sigma posterior; gaussian, with the decoder's outputs
    as the mean and the fixed `gaussian_std`; or gaussian_learned, with the mean and the log
    variance of each pixel from the decoder's last hidden layer (the paper, appendix C.2). For grey
    values there are densities on [0, 1]: continuous_bernoulli (Loaiza-Ganem & Cunningham 2019),
    beta with a mean and a concentration, and truncated_gaussian."""
    gaussian_std: float = conditional(1.0, likelihood=("gaussian", "truncated_gaussian"))
    """The gaussian likelihood has this standard deviation, and truncated_gaussian has it before
    truncation."""
    min_logvar: float | None = conditional(-9.0, likelihood=("gaussian_learned",))
    """The variance of gaussian_learned is sigma^2 = e^logvar + e^min_logvar: a smooth floor, which
    keeps the density finite where a pixel has the same value in all images. The derivative of log
    sigma^2 by logvar is sigmoid(logvar - min_logvar). None: no floor, as in the paper. With -9,
    sigma is above 0.011, 2.8 steps of grey values k / 255."""
    reduction: str = "mean"
    """The loss is the mean or the sum over the batch. Every term is summed over pixels and latents
    in either case."""
    init: str = "normal"
    """Weights start as N(0, 0.1^2) and biases as 0 (normal, as in much teaching code), or both
    start as U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (torch, the default of torch.nn.Linear)."""

    def __post_init__(self) -> None:
        for name in ("input_dim", "hidden_dim", "latent_dim", "samples"):
            check_positive_int(name, getattr(self, name))
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("posterior", self.posterior, POSTERIORS)
        name = PAPER_ESTIMATORS.get(self.estimator, self.estimator)
        object.__setattr__(self, "estimator", name)
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("init", self.init, INITS)
        check_real("beta", self.beta, above=0, inclusive=True)
        check_real("gaussian_std", self.gaussian_std, above=0)
        check_min_logvar("min_logvar", self.min_logvar)
        if self.posterior == "deterministic":
            check_choice("estimator", self.estimator, ("analytic",))
        check_effects(self)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one image, without the batch axis."""
        return (self.input_dim,)

    @property
    def outputs(self) -> int:
        """Outputs of the decoder per pixel: 2 for beta and gaussian_learned, 1 for all others."""
        return 2 if self.likelihood in TWO_OUTPUTS else 1


class MLPVAENoise(NamedTuple):
    """The random numbers of the loss."""

    eps: Any  # (N, L, Z), standard normal


class LogvarParams(NamedTuple):
    """q(z|x) = N(mu, exp(logvar))."""

    mu: Any  # (N, Z)
    logvar: Any  # (N, Z)


class SigmaParams(NamedTuple):
    """q(z|x) = N(mu, sigma^2), with sigma of either sign."""

    mu: Any  # (N, Z)
    sigma: Any  # (N, Z)


class DeterministicParams(NamedTuple):
    """q(z|x) is the point mu."""

    mu: Any  # (N, Z)
    std: Any  # (N, Z), the constant 0


class MLPVAELoss(NamedTuple):
    """Terms of the loss in nats: summed over pixels and latents, averaged over the L samples, then
    averaged or summed over the batch by `reduction`."""

    total: Any  # recon + beta kl
    recon: Any  # E_q[-log p(x|z)]
    kl: Any  # KL(q(z|x) || p(z)), by the estimator
