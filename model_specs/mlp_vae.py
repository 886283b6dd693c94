"""Specification of the MLP VAE: its config, its noise, and the terms of its loss.

`Any` stands for an array of the panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.fields import check_choice, check_positive_int, check_real

ACTIVATIONS = ("relu", "tanh")
POSTERIORS = ("logvar", "sigma", "deterministic")
ESTIMATORS = ("sampled", "analytic")
PAPER_ESTIMATORS = {"A": "sampled", "B": "analytic"}
LIKELIHOODS = (
    "bernoulli",
    "bernoulli_clamped",
    "continuous_bernoulli",
    "beta",
    "gaussian",
    "truncated_gaussian",
)
REDUCTIONS = ("mean", "sum")
INITS = ("normal", "torch")


@dataclass(frozen=True)
class MLPVAEConfig:
    """The variational autoencoder of Kingma & Welling (2013, arXiv 1312.6114), appendix C.

        x -> hidden -> (mu, scale);  z = mu + std eps;  z -> hidden -> logits

    Raises: ValueError that names the field, its value and the values it takes.
    """

    input_dim: int = 784
    """D, values per example: 28 x 28 for MNIST."""
    hidden_dim: int = 400
    """H, width of both hidden layers. 784-400-20 are the sizes of PyTorch's example."""
    latent_dim: int = 20
    """Z, values per code. With 2, the latent space can be plotted."""
    activation: str = "relu"
    """relu, as in most teaching code, or tanh, as in the paper."""
    posterior: str = "logvar"
    """The output of the encoder's second head. logvar: log sigma^2. sigma: the standard deviation,
    unconstrained; a negative one acts as its absolute value. deterministic: no second head, z = mu
    and no KL term, the plain autoencoder."""
    estimator: str = "analytic"
    """Estimator of the KL term. sampled: log q(z|x) - log p(z) at the sampled z, the paper's
    estimator A (equation 6). analytic: in closed form, its estimator B (equation 7). "A" and "B"
    are accepted too. A deterministic code has no density and takes analytic."""
    samples: int = 1
    """L, draws of z per example. The paper takes 1, at 100 examples a batch."""
    beta: float = 1.0
    """Weight of the KL term (Higgins et al. 2017). 1 makes the loss -ELBO."""
    likelihood: str = "bernoulli"
    """p(x|z). bernoulli: from logits. bernoulli_clamped: with log(p + 1e-8), as in much teaching
    code with the sigma posterior. gaussian: the decoder's outputs are the mean, and `gaussian_std`
    is fixed. For grey values, densities on [0, 1]: continuous_bernoulli (Loaiza-Ganem & Cunningham
    2019), beta with a mean and a concentration, and truncated_gaussian."""
    gaussian_std: float = 1.0
    """Standard deviation of gaussian, and of truncated_gaussian before truncation."""
    reduction: str = "mean"
    """mean or sum over the batch. Every term is summed over pixels and latents in either case."""
    init: str = "normal"
    """normal: weights N(0, 0.1^2), biases 0, as in much teaching code.
    torch: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for both, the default of torch.nn.Linear."""

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
        if self.posterior == "deterministic":
            check_choice("estimator", self.estimator, ("analytic",))

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one image, without the batch axis."""
        return (self.input_dim,)

    @property
    def outputs(self) -> int:
        """Outputs of the decoder per pixel: 2 for beta, 1 for all others."""
        return 2 if self.likelihood == "beta" else 1


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
