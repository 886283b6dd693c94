"""What the MLP VAE is, whatever computes it: its config, the noise going in, the terms coming out.

`Any` stands for an array of whichever panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.common.fields import check_choice, check_positive_int, check_real

ACTIVATIONS = ("relu", "tanh")
POSTERIORS = ("logvar", "sigma", "deterministic")
ESTIMATORS = ("A", "B")
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

        x -> hidden -> (mu, spread);  z = mu + std eps;  z -> hidden -> logits

    Raises: ValueError that names the field, its value and what is allowed.
    """

    input_dim: int = 784
    """D, values per example. 28 x 28 for MNIST."""
    hidden_dim: int = 400
    """H, width of both hidden layers. 784-400-20 is the size of PyTorch's own example."""
    latent_dim: int = 20
    """Z, values per code. 2 makes pictures of the latent space."""
    activation: str = "relu"
    """relu as in the teaching code; the paper itself uses tanh."""
    posterior: str = "logvar"
    """What the encoder's second head gives. logvar: log sigma^2. sigma: the standard deviation
    itself, unconstrained; a negative one acts as its absolute value. deterministic: no second
    head, z = mu and no KL term: the plain autoencoder."""
    estimator: str = "B"
    """Of the KL term. A: log q(z|x) - log p(z) at the sampled z (paper, eq. 6).
    B: closed form (eq. 7). A deterministic code has no density, so A is not for it."""
    samples: int = 1
    """L, draws of z per example. The paper takes 1 at minibatch 100."""
    beta: float = 1.0
    """Weight of the KL term (Higgins et al. 2017). 1 makes the loss -ELBO."""
    likelihood: str = "bernoulli"
    """p(x|z). bernoulli: from logits. bernoulli_clamped: log(p + 1e-8), the form that circulates
    with posterior="sigma". gaussian: mean = decoder output, fixed `gaussian_std`. Densities on
    [0, 1], for grey values: continuous_bernoulli (Loaiza-Ganem & Cunningham 2019), beta by its
    mean and its concentration, and truncated_gaussian, the Gaussian of [0, 1] alone."""
    gaussian_std: float = 1.0
    """Standard deviation of the Gaussian before it is cut, if it is; unused by the others."""
    reduction: str = "mean"
    """Over the batch; over pixels and latents every term is summed. The teaching code sums."""
    init: str = "normal"
    """normal: weights N(0, 0.1^2), biases 0, after the teaching code.
    torch: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for both, the default of torch.nn.Linear."""

    def __post_init__(self) -> None:
        for name in ("input_dim", "hidden_dim", "latent_dim", "samples"):
            check_positive_int(name, getattr(self, name))
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("posterior", self.posterior, POSTERIORS)
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("init", self.init, INITS)
        check_real("beta", self.beta, above=0, inclusive=True)
        check_real("gaussian_std", self.gaussian_std, above=0)
        if self.posterior == "deterministic":
            check_choice("estimator", self.estimator, ("B",))

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one image, as the model takes it."""
        return (self.input_dim,)

    @property
    def outputs(self) -> int:
        """Values that the decoder gives for a pixel: two make a Beta, one all else."""
        return 2 if self.likelihood == "beta" else 1


class MLPVAENoise(NamedTuple):
    """Every random number that the loss needs."""

    eps: Any  # (N, L, Z), standard normal


class LogvarParams(NamedTuple):
    """q(z|x) = N(mu, exp(logvar))."""

    mu: Any  # (N, Z)
    logvar: Any  # (N, Z)


class SigmaParams(NamedTuple):
    """q(z|x) = N(mu, sigma^2), sigma of either sign."""

    mu: Any  # (N, Z)
    sigma: Any  # (N, Z)


class DeterministicParams(NamedTuple):
    """q(z|x) is the point mu."""

    mu: Any  # (N, Z)
    std: Any  # (N, Z), 0 and constant


class MLPVAELoss(NamedTuple):
    """Terms of the loss, nats: summed over pixels and latents, averaged over the L samples,
    then mean or sum over the batch as `reduction` says."""

    total: Any  # recon + beta kl
    recon: Any  # E_q[-log p(x|z)]
    kl: Any  # KL(q(z|x) || p(z)), in closed form or as sampled
