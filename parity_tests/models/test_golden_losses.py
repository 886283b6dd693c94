"""The losses of every small variant as literals, on both panels; many of them by another route."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import plain_vaes
from helpers.golden_losses import golden, run_inputs
from helpers.golden_values import LOSSES
from scipy import stats
from torch import nn

from model_specs.conv_vae import SUMMED

BOUND = 1e-12


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_initial_weights_and_the_losses_are_these(name, side):
    assert golden(name, side) == pytest.approx(LOSSES[name], rel=BOUND, abs=BOUND)


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("mlp_vae")])
def test_the_loss_of_the_mlp_vae_by_densities_of_scipy(name):
    """recon + beta KL; the KL in closed form, or log q - log p at each z."""
    model, x, noise = run_inputs(name)
    w, c = plain_vaes.weights_of(model), model.config
    mu, std = plain_vaes.encode(w, c, x)
    recon, kl = [], [kl_of_normals(mu, std)]
    for k in range(noise.eps.shape[1]):
        z = mu + std * noise.eps[:, k]
        recon.append(-plain_vaes.log_density(c, plain_vaes.decode(w, c, z), x).sum(1))
        if c.estimator == "sampled":
            q = stats.norm(mu, np.abs(std))
            kl[k:] = [(q.logpdf(z) - stats.norm.logpdf(z)).sum(1)]
    kl_term = 0 if c.posterior == "deterministic" else c.beta * np.mean(kl, 0)
    reduce = np.sum if c.reduction == "sum" else np.mean
    # a constant of 1e-8 in the logarithms of the sigma posterior and of the clamped Bernoulli
    bound = 1e-6 if c.posterior == "sigma" else 1e-10
    assert reduce(np.mean(recon, 0) + kl_term) == pytest.approx(LOSSES[name][2], rel=bound)


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("conv_vae")])
def test_the_loss_of_the_convolutional_vae_by_torch_functional(name):
    """In evaluation mode. An mse or a bce is averaged over pixels where the loss is a mean."""
    model, x, noise = run_inputs(name)
    w, c = plain_vaes.weights_of(model), model.config
    mu, std = plain_vaes.encode(w, c, x)
    outputs = plain_vaes.decode(w, c, mu + std * noise.eps)
    if c.recon_type == "mse":
        error = (plain_vaes.mean(c, outputs) - x) ** 2
    else:
        error = -plain_vaes.log_density(c, outputs, x)
    error = error[..., *c.window].reshape(len(x), -1)
    recon, kl = error.sum(1), kl_of_normals(mu, std)
    mean = c.reduction == "mean"
    recon = recon / error[0].size if mean and c.recon_type not in SUMMED else recon
    total = (recon + c.beta * kl).mean() if mean else (recon + c.beta * kl).sum()
    assert total == pytest.approx(LOSSES[name][2], rel=1e-10)


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith(("rnn", "lstm"))])
def test_the_loss_of_the_recurrent_models_by_torch_nn(name):
    """In evaluation mode: the weighted errors summed over steps, averaged over sequences."""
    model, batch, _ = run_inputs(name)
    w, c = plain_vaes.weights_of(model), model.config
    x, y, weight = (torch.from_numpy(a) for a in (batch.x, batch.y, batch.weight))
    state = tuple(torch.from_numpy(part) for part in batch.state)
    if name.startswith("lstm"):
        x = F.embedding(x, w["embedding.weight"])
        layers = nn.LSTM(c.embedding_dim, c.hidden_dim, c.num_layers, dtype=torch.float64)
    else:
        (state,) = state
        layers = nn.RNN(c.input_dim, c.hidden_dim, c.num_layers, dtype=torch.float64)
    layers.load_state_dict(
        {n.split(".")[1]: a for n, a in w.items() if n.startswith(("rnn.", "lstm."))}
    )
    outputs = F.linear(layers(x, state)[0], w["decoder.weight"], w["decoder.bias"])
    if name == "rnn[squared_error]":
        error = ((outputs - y) ** 2).sum(-1)
    else:
        error = F.cross_entropy(outputs.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
    total = (weight * error).sum().item() / y.shape[1]
    assert total == pytest.approx(LOSSES[name][2], rel=BOUND)


def kl_of_normals(mu, std):
    """KL(N(mu, std^2) || N(0, 1)), summed over the dimensions."""
    return (0.5 * (mu**2 + std**2 - 1) - np.log(np.abs(np.where(std == 0, 1, std)))).sum(1)
