"""The five models in the plainest PyTorch that a user would write: the base of speed ratios.

They check no argument, keep no key, and draw their noise with torch.randn and F.dropout. Each has
the sizes that are benchmarked and one variant of its model: the default config, and for the
recurrent models every rate of the scheme per_step. Parameters come in the order of the right
panel's, and `copy_weights` copies them.

    plain = PLAIN["mlp_vae"](config).to(dtype=torch.float32)
    plain.loss(x).backward()

Shapes: N examples, T steps, B sequences; the classes of torch_impl name all others.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from model_specs.autoregressive.flow import made_degrees


class PlainMLPVAE(nn.Module):
    """784-400-20 or any other sizes: ReLU, a Gaussian with logvar, Bernoulli pixels."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        D, H, Z = config.input_dim, config.hidden_dim, config.latent_dim
        self.hidden = nn.Linear(D, H)
        self.mu, self.logvar = nn.Linear(H, Z), nn.Linear(H, Z)
        self.decoder_hidden = nn.Linear(Z, H)
        self.decoder = nn.Linear(H, D)

    def loss(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        h = F.relu(self.hidden(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * (torch.randn_like(mu) if eps is None else eps)
        logits = self.decoder(F.relu(self.decoder_hidden(z)))
        recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (recon + gaussian_kl(mu, logvar)) / len(x)


class PlainConvVAE(nn.Module):
    """Four strided convolutions and their transposes with batch normalisation, squared error."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        channels, features, Z = config.channels, config.features, config.latent_dim
        down: list[nn.Module] = [nn.Conv2d(channels[0], channels[1], 4, 2, 1), nn.ReLU()]
        for a, b in pairwise(channels[1:]):
            down += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        up: list[nn.Module] = []
        for a, b in zip(channels[:1:-1], channels[-2:0:-1], strict=True):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        self.mu, self.logvar = nn.Linear(features, Z), nn.Linear(features, Z)
        self.decoder_input = nn.Linear(Z, features)
        code = channels[-1], config.code_size, config.code_size
        last = nn.ConvTranspose2d(channels[1], channels[0], 4, 2, 1)
        self.decoder = nn.Sequential(nn.Unflatten(1, code), *up, last, nn.Sigmoid())

    def loss(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * (torch.randn_like(mu) if eps is None else eps)
        recon = self.decoder(self.decoder_input(z))
        return F.mse_loss(recon, x) + gaussian_kl(mu, logvar) / len(x)


class MaskedConv2d(nn.Conv2d):
    """A 3 x 3 convolution over the pixels before, and with `itself` at, each pixel.

    The last `free` channels are not masked.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, *, itself: bool, free: int = 0) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        mask = torch.ones(inputs, 3, 3)
        mask[: inputs - free, 1, 1 + itself :] = 0
        mask[: inputs - free, 2] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=1)


class MaskedLinear(nn.Linear):
    """A linear layer of a MADE, between units of these degrees."""

    mask: Tensor

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        super().__init__(len(inputs), len(outputs))
        mask = torch.tensor(outputs)[:, None] >= torch.tensor(inputs)
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class Residual(nn.Module):
    """x + branch(x), or skip(x) + branch(x)."""

    def __init__(self, *branch: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.skip = nn.Sequential(*branch), skip or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.branch(x)


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Module:
    return weight_norm(nn.Conv2d(inputs, outputs, size, stride, size // 2))


def conv_transpose(inputs: int, outputs: int, size: tuple[int, int]) -> nn.Module:
    odd = (1 - size[0] % 2, 1 - size[1] % 2)
    return weight_norm(nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, odd), dim=1)


def flat(channels: int, size: int = 3) -> nn.Module:
    c = channels
    return Residual(nn.ELU(), conv(c, c, size), nn.ELU(), conv(c, c, size))


def down(inputs: int, outputs: int, *first: nn.Module) -> nn.Module:
    branch = conv(inputs, outputs, stride=2), nn.ELU(), conv(outputs, outputs)
    return Residual(*first, *branch, skip=conv(inputs, outputs, stride=2))


def up(inputs: int, outputs: int, size: tuple[int, int]) -> nn.Module:
    branch = conv_transpose(inputs, outputs, size), nn.ELU(), conv(outputs, outputs)
    return Residual(nn.ELU(), *branch, skip=conv_transpose(inputs, outputs, size))


class PlainVLAE(nn.Module):
    """A ResNet VAE with a MADE flow as its prior and a PixelCNN that reads its maps.

    torch's weight normalisation takes the norm of a kernel before it is masked. Both agree if the
    masked weights are 0.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        _, a, b, c = config.encoder_maps
        large, half, quarter, small = config.sizes
        F_, H, Z, M, C = (
            config.features,
            config.hidden_dim,
            config.latent_dim,
            config.context_maps,
            config.decoder_maps,
        )
        blocks = down(1, a), flat(a), down(a, b, nn.ELU()), flat(b), down(b, c, nn.ELU())
        self.encoder = nn.Sequential(*blocks, nn.Flatten(), nn.ELU(), linear(F_, H), nn.ELU())
        self.mu, self.logvar = linear(H, Z), linear(H, Z)
        self.decoder = nn.Sequential(
            *(linear(Z, H), nn.ELU(), linear(H, F_), nn.Unflatten(1, (c, *small))),
            *(up(c, b, quarter), flat(b), up(b, a, half), flat(a), up(a, M, large)),
        )
        self.flow = nn.ModuleList(_made(order, config) for order in config.flow.orders)
        first = weight_norm(MaskedConv2d(1 + M, C, itself=False, free=M))
        shared = Residual(nn.ELU(), weight_norm(MaskedConv2d(C, C, itself=True)))
        body: list[nn.Module] = []
        for layer in range(2, config.masked_layers + 1):
            body.append(shared)
            if layer % 2 == 0 and layer < config.masked_layers:
                body += [flat(C, 1), flat(C, 1)]
        self.pixels = nn.Sequential(first, *body, nn.ELU(), conv(C, 1, 1))
        self.free_nats = config.free_nats

    def loss(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        eps = torch.randn_like(mu) if eps is None else eps
        z = mu + torch.exp(0.5 * logvar) * eps
        u = z
        for made in self.flow:
            u = u - made(u)
        kl = 0.5 * (u * u - eps * eps - logvar).sum() / len(x)
        logits = self.pixels(torch.cat((x, self.decoder(z)), 1))
        recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return recon + kl.clamp(min=self.free_nats)


def linear(inputs: int, outputs: int) -> nn.Module:
    return weight_norm(nn.Linear(inputs, outputs))


def _made(order: tuple[int, ...], config: Any) -> nn.Module:
    flow = config.flow
    degrees = made_degrees(order, flow.hidden_dim, flow.hidden_layers)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(degrees):
        layers += [MaskedLinear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PlainRecurrent(nn.Module):
    """torch.nn.RNN or torch.nn.LSTM with dropout, a linear layer and the cross-entropy."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        c, self.rate = config, config.rate
        H, L, between = c.hidden_dim, c.num_layers, config.rate if config.num_layers > 1 else 0.0
        self.embedding: Any = nn.Identity()
        if hasattr(c, "vocab_size"):
            self.embedding = nn.Embedding(c.vocab_size, c.embedding_dim)
            self.body: Any = nn.LSTM(c.embedding_dim, H, L, dropout=between)
            self.output = nn.Linear(H, c.vocab_size)
        else:
            self.body = nn.RNN(c.input_dim, H, L, dropout=between)
            self.output = nn.Linear(H, c.output_dim)

    def layers(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, last = self.body(F.dropout(x, self.rate), state)
        return F.dropout(y, self.rate), last

    def error(self, h: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.output(h).flatten(0, 1), y.flatten(), reduction="sum")

    def loss(self, batch: Any) -> Tensor:
        state = tuple(batch.state) if len(batch.state) > 1 else batch.state[0]
        h, _ = self.layers(self.embedding(batch.x), state)
        return self.error(h, batch.y) / batch.y.shape[1]


PLAIN: dict[str, Any] = {
    "mlp_vae": PlainMLPVAE,
    "conv_vae": PlainConvVAE,
    "vlae": PlainVLAE,
    "rnn": PlainRecurrent,
    "lstm": PlainRecurrent,
}
"""The plain class of each pair: PLAIN[name](config)."""


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)), summed over the batch too, in nats."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()


@torch.no_grad()
def copy_weights(right: nn.Module, plain: nn.Module) -> None:
    """Copy the weights of a right panel's model into a plain one, in their common order."""
    for ours, theirs in zip(right.parameters(), plain.parameters(), strict=True):
        theirs.copy_(ours)
