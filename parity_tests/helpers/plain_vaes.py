"""The MLP and the convolutional VAE once more, from their weights: a witness beside both panels.

Layers are torch.nn.functional's, densities are scipy's, random numbers are plain_random's. Nothing
is imported from either panel. `w` is a state_dict of tensors, `c` the model's config.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from helpers import plain_mixtures, plain_random
from helpers.floored_sigma import floored_sigma
from scipy import stats
from scipy.special import expit
from torch import Tensor

from diptych import weights
from model_specs.conv_vae import MIXTURE, ConvVAEConfig

SQUEEZE = 1e-6
"""The Beta likelihood maps [0, 1] to [SQUEEZE, 1 - SQUEEZE]."""
Weights = dict[str, Tensor]
NODES, SHARES = np.polynomial.legendre.leggauss(60)
NODES, SHARES = (NODES + 1) / 2, SHARES / 2
"""Nodes and weights of Gauss-Legendre quadrature over [0, 1]."""


def weights_of(model: Any) -> Weights:
    """The state_dict of a model of either panel, as float64 tensors."""
    arrays = weights.to_arrays(model.state_dict())
    return {name: torch.from_numpy(array.astype(np.float64)) for name, array in arrays.items()}


def encode(w: Weights, c: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mu and std of z = mu + std eps, in evaluation mode; std has the sign that the model gives it.

    Shapes: (N, Z) both.
    """
    if isinstance(c, ConvVAEConfig):
        h = torch.from_numpy(x)
        for conv, norm in ((0, None), (2, 3), (5, 6), (8, 9)):
            h = F.conv2d(h, *_parameters(w, f"encoder.{conv}"), stride=2, padding=1)
            h = torch.relu(_normalised(w, f"encoder.{norm}", h) if norm else h)
        h, heads = h.flatten(1), ("mu", "logvar")
    else:
        h = _activation(c)(_linear(w, "encoder_hidden", torch.from_numpy(x)))
        heads = "posterior.mu", f"posterior.{c.posterior}"
    mu = _linear(w, heads[0], h)
    if heads[1] == "posterior.deterministic":
        return mu.numpy(), np.zeros_like(mu.numpy())
    scale = _linear(w, heads[1], h)
    std = scale if heads[1] == "posterior.sigma" else (scale / 2).exp()
    return mu.numpy(), std.numpy()


def decode(w: Weights, c: Any, z: np.ndarray) -> np.ndarray:
    """The decoder's outputs before any activation of the images, in evaluation mode."""
    t = torch.from_numpy(z)
    if not isinstance(c, ConvVAEConfig):
        return _linear(w, "decoder_logits", _activation(c)(_linear(w, "decoder_hidden", t))).numpy()
    h = _linear(w, "decoder_input", t).reshape(len(z), -1, c.code_size, c.code_size)
    for conv, norm in ((0, 1), (3, 4), (6, 7), (9, None)):
        h = F.conv_transpose2d(h, *_parameters(w, f"decoder.{conv}"), stride=2, padding=1)
        h = torch.relu(_normalised(w, f"decoder.{norm}", h)) if norm else h
    return h.numpy()


def mean(c: Any, outputs: np.ndarray) -> np.ndarray:
    """E[x|z] for the decoder's outputs, an image's values in the last axis (MLP) or all (conv)."""
    kind = _kind(c)
    if kind in ("gaussian", "gaussian_learned", "mse"):
        return _normal(c, outputs)[0]
    if kind.startswith("bernoulli"):
        return expit(outputs)
    if kind == "beta":
        return expit(np.split(outputs, 2, -1)[0])
    if kind == MIXTURE:
        return plain_mixtures.mean(outputs, c.in_channels)
    density = np.exp(log_density(c, outputs[..., None], NODES))
    return (density * NODES) @ SHARES / (density @ SHARES)


def draw(c: Any, outputs: np.ndarray, key: Any) -> np.ndarray:
    """x ~ p(x|z): by inversion, by noise added to the mean (Gaussian), or by two Gammas (Beta)."""
    kind, shape = _kind(c), mean(c, outputs).shape
    if kind in ("gaussian", "gaussian_learned"):
        return mean(c, outputs) + _normal(c, outputs)[1] * plain_random.normal(key, shape)
    if kind == "beta":
        return _beta_draw(outputs, key)
    if kind == MIXTURE:
        channels = 1 + c.in_channels
        u = plain_random.uniform(key, (len(outputs), channels, *outputs.shape[2:]))
        return plain_mixtures.draw(outputs, u)
    u = plain_random.uniform(key, shape)
    if kind.startswith("bernoulli"):
        return (u < mean(c, outputs)).astype(float)
    u = u + 2.0**-25
    if kind == "continuous_bernoulli":
        density = _exponential(outputs)
        return np.where(outputs > 0, 1 - density.ppf(1 - u), density.ppf(u))
    return _density(c, outputs).ppf(u)


def _beta_draw(outputs: np.ndarray, key: Any) -> np.ndarray:
    logits, log_concentration = np.split(outputs, 2, -1)
    nu = np.exp(log_concentration)
    g = _gamma_draw(nu * expit(logits), key.fold_in("a"))
    h = _gamma_draw(nu * expit(-logits), key.fold_in("b"))
    return (g / (g + h) - SQUEEZE) / (1 - 2 * SQUEEZE)


def _gamma_draw(a: np.ndarray, key: Any) -> np.ndarray:
    """Gamma(a + 1) u^(1/a), with Gamma(a + 1) as Marsaglia & Tsang (2000) write it."""
    d = a + 1 - 1 / 3
    result = np.full(a.shape, np.nan)
    for attempt in range(8):
        stream = key.fold_in(attempt)
        x = plain_random.normal(stream.fold_in("normal"), a.shape)
        u = plain_random.uniform(stream.fold_in("uniform"), a.shape) + 2.0**-25
        v = (1 + x / np.sqrt(9 * d)) ** 3
        log_v = np.log(np.where(v > 0, v, 1))
        accepted = (v > 0) & (np.log(u) < x * x / 2 + d - d * v + d * log_v)
        result = np.where(np.isnan(result) & accepted, d * v, result)
    return result * (plain_random.uniform(key.fold_in("power"), a.shape) + 2.0**-25) ** (1 / a)


def log_density(c: Any, outputs: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p(x|z) of each value of an image, or of each pixel with all of its channels."""
    kind = _kind(c)
    if kind.startswith("bernoulli"):
        c = 1e-8 if kind == "bernoulli_clamped" else 0
        return x * np.log(expit(outputs) + c) + (1 - x) * np.log(expit(-outputs) + c)
    if kind == "continuous_bernoulli":
        return _exponential(outputs).logpdf(np.where(outputs > 0, 1 - x, x))
    if kind in ("gaussian", "gaussian_learned"):
        return stats.norm(*_normal(c, outputs)).logpdf(x)
    if kind == MIXTURE:
        return np.log(plain_mixtures.probability(outputs, x))[:, None]
    if kind == "beta":
        y = SQUEEZE + (1 - 2 * SQUEEZE) * x
        return _density(c, outputs).logpdf(y) + np.log(1 - 2 * SQUEEZE)
    return _density(c, outputs).logpdf(x)


def log_weight(w: Weights, c: Any, x: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """log p(x|z) + log p(z) - log q(z|x) at z = mu + std eps.   eps (N, K, Z) -> (N, K)"""
    mu, std = encode(w, c, x)
    result = np.empty(eps.shape[:2])
    for k in range(eps.shape[1]):
        z = mu + std * eps[:, k]
        log_p = log_density(c, decode(w, c, z), x).reshape(len(x), -1).sum(1)
        log_ratio = stats.norm.logpdf(z) - stats.norm(mu, np.abs(std)).logpdf(z)
        result[:, k] = log_p + log_ratio.sum(1)
    return result


def _kind(c: Any) -> str:
    if isinstance(c, ConvVAEConfig):
        return {"bce": "bernoulli"}.get(c.recon_type, c.recon_type)
    return c.likelihood


def _activated(c: Any, outputs: np.ndarray) -> np.ndarray:
    """The output activation of the convolutional VAE; the MLP VAE has none."""
    functions = {"sigmoid": expit, "tanh": np.tanh}
    return functions.get(getattr(c, "out_activation", "none"), np.asarray)(outputs)


def _normal(c: Any, outputs: np.ndarray) -> tuple[np.ndarray, Any]:
    """Mean and standard deviation. Learned variances are exp of the second half of the outputs."""
    if _kind(c) != "gaussian_learned":
        return _activated(c, outputs), c.gaussian_std
    halves = np.split(outputs, 2, 1 if isinstance(c, ConvVAEConfig) else -1)
    return _activated(c, halves[0]), floored_sigma(halves[1], c.min_logvar)


def _density(c: Any, outputs: np.ndarray) -> Any:
    """The Beta of y, or the truncated Gaussian of x, as scipy has them."""
    if c.likelihood == "beta":
        logits, log_concentration = np.split(outputs, 2, -1)
        nu = np.exp(log_concentration)
        return stats.beta(nu * expit(logits), nu * expit(-logits))
    low, high = (0 - outputs) / c.gaussian_std, (1 - outputs) / c.gaussian_std
    return stats.truncnorm(low, high, outputs, c.gaussian_std)


def _exponential(logits: np.ndarray) -> Any:
    """e^-|l| x over [0, 1]: the continuous Bernoulli of x, or of 1 - x where l > 0."""
    rate = np.abs(logits)
    return stats.truncexpon(rate, scale=1 / rate)


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, *_parameters(w, name))


def _parameters(w: Weights, name: str) -> tuple[Tensor, Tensor | None]:
    return w[f"{name}.weight"], w.get(f"{name}.bias")


def _normalised(w: Weights, name: str, x: Tensor) -> Tensor:
    parts = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(w[f"{name}.{part}"] for part in parts))


def _activation(c: Any) -> Any:
    return {"relu": torch.relu, "tanh": torch.tanh}[c.activation]
