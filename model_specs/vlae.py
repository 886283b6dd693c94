"""Config, noise and loss terms of the variational lossy autoencoder, for both panels.

`Any` stands for an array of either panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_choice, check_positive_int, check_real

T = TypeVar("T")
LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
WITH_LATENT, WITH_FLOW = LATENTS[1:], LATENTS[2:]
CONTEXTS = ("none", "local", "raster", "stacks")
FREE_BITS = ("none", "total", "latent", "soft")
SPLIT = {kind: ("gaussian",) if kind == "latent" else WITH_LATENT for kind in FREE_BITS}
"""The latents on which each kind of free bits has an effect. The KL of a flow has no parts by
dimension."""
KERNEL_SIZE = 3
"""Kernel size of every convolution that is not 1 x 1, except the one over a local window."""
STRIDES = 3
"""Number of blocks of stride 2 in the encoder, and of transposed ones in the decoder."""
POINTWISE = 2
"""Number of 1 x 1 blocks after every other masked layer: four in all for the paper's six layers."""

GAMMA_STEP, GAMMA_MIN, SOFT_MARGIN = 1.1, 1e-3, 1.05
"""Soft free bits: the factor by which gamma changes, its minimum, and the KL / lambda above which
it grows."""


@dataclass(frozen=True)
class VLAEConfig:
    """A VAE of binary images whose decoder reads z and, for each pixel, the pixels before it.

        x -> ResNet -> q(z|x) = N(mu, exp(logvar));   z -> mirrored ResNet -> maps
        p(x|z) = prod_i Bernoulli(x_i; pixels before i in a window, maps around i)

    The latent carries only what the window of earlier pixels cannot predict, so the size of the
    window decides what z encodes. The paper's ablations are switches: context "none" is the
    factorised decoder, latent "none" the unconditional PixelCNN.
    Raises: ValueError that names the field, its value and what is allowed.
    Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; defaults are
    their recipe for static MNIST. Where we differ: the flow is not weight-normalised. Where the
    paper is silent: see `masked_layers` and `free_bits_of`.
    """

    height: int = 28
    """Images have H = height rows; any size from 1 x 1 is accepted."""
    width: int = 28
    """Images have W = width columns."""
    maps: int = conditional(16, latent=WITH_LATENT)
    """The ResNet has c, 2 c and 2 c feature maps after its three strides, c = maps; the paper has
    16, 32 and 32."""
    hidden_dim: int = conditional(450, latent=WITH_LATENT)
    """The fully connected layer on either side of z has hidden_dim units."""
    latent_dim: int = conditional(64, latent=WITH_LATENT)
    """The latent z has Z = latent_dim dimensions."""
    latent: str = "af_prior"
    """The latent is Gaussian with p(z) = N(0, I) (gaussian), has an autoregressive flow as its p(z)
    (af_prior), or a flow that maps the Gaussian sample to a u of prior N(0, I) (iaf_posterior);
    none: the model has no latent."""
    flow_steps: int = conditional(4, latent=WITH_FLOW)
    """The flow has flow_steps steps: each is a MADE, in the reverse order of the one before it."""
    flow_hidden_dim: int = conditional(640, latent=WITH_FLOW)
    """Each hidden layer of a MADE has flow_hidden_dim units."""
    flow_hidden_layers: int = conditional(3, latent=WITH_FLOW)
    """A MADE has 1 to 4 hidden layers."""
    flow_mean_only: bool = conditional(True, latent=WITH_FLOW)
    """If True, a step of the flow only shifts, as in the paper on MNIST; if False, it also
    scales."""
    context_maps: int = conditional(4, latent=WITH_LATENT)
    """The decoder of z gives the PixelCNN M = context_maps maps of the images' size."""
    context: str = "raster"
    """The decoder reads the pixels in reach of masked 3 x 3 layers, 69 for six layers, with a blind
    spot (raster); of a vertical and a horizontal stack, without a blind spot (stacks); in the
    window `window_width` x `window_rows` (local); or no pixel, the factorised decoder (none)."""
    window_width: int = conditional(3, context=("local",))
    """The local window has A = window_width columns, A as in the paper's A x B window."""
    window_rows: int = conditional(1, context=("local",))
    """The local window has B = window_rows rows above the pixel, B as in the paper's A x B
    window."""
    decoder_maps: int = 12
    """The PixelCNN has decoder_maps feature maps."""
    masked_layers: int = 6
    """The PixelCNN has one layer of mask type A, then masked_layers - 1 of type B, each in a
    residual block; two 1 x 1 blocks follow every other layer but the last. The paper has four
    between every other layer, and does not say more. In contexts "local" and "none" layers of type
    B read the pixel itself alone."""
    tied: bool = conditional(True, masked_layers=lambda config: config.masked_layers > 2)
    """If True, the layers of type B share one weight, as in the paper on static MNIST."""
    free_bits: float = conditional(0.01, latent=WITH_LATENT, free_bits_of=FREE_BITS[1:])
    """free_bits = lambda / (H W) nats of KL per pixel have no penalty."""
    free_bits_of: str = conditional(
        "total",
        latent=lambda config: config.latent in SPLIT[config.free_bits_of],
    )
    """The KL penalty (see autoregressive/latents.py) is max(lambda, mean KL of the batch) (total);
    the same for each dimension with lambda / Z (latent, Kingma et al. 2016; a flow's KL is not
    split); gamma KL, with gamma updated until the KL is lambda (soft); or the KL itself (none). The
    paper does not say which of them it used on MNIST."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "maps", "hidden_dim", "latent_dim", "context_maps"):
            check_positive_int(name, getattr(self, name))
        for name in ("decoder_maps", "masked_layers", "window_width"):
            check_positive_int(name, getattr(self, name))
        check_choice("latent", self.latent, LATENTS)
        check_choice("context", self.context, CONTEXTS)
        check_choice("free_bits_of", self.free_bits_of, FREE_BITS)
        check_real("free_bits", self.free_bits, above=0, inclusive=True)
        if not isinstance(self.tied, bool):
            raise ValueError(f"tied: got {self.tied!r}, takes True or False")
        if self.latent == self.context == "none":
            raise ValueError(
                "context: got 'none' with latent 'none', takes a context that reads pixels"
            )
        try:
            _ = self.flow
        except ValueError as error:
            raise ValueError(f"flow_{error}") from None
        if type(self.window_rows) is not int or self.window_rows < 0:
            raise ValueError(f"window_rows: got {self.window_rows!r}, takes an int >= 0")
        if self.context == "local":  # a window of thousands of pixels takes minutes to build
            for name, limit in (("window_width", 2 * self.width), ("window_rows", self.height)):
                if (value := getattr(self, name)) > limit:
                    size = f"images of {self.height} x {self.width}"
                    raise ValueError(f"{name}: got {value} for {size}, takes {limit} at most")
        self._check_window()
        check_effects(self)

    def _check_window(self) -> None:
        """Raise ValueError for a window without a pixel, or without one inside the image."""
        if self.context == "none":
            return
        H, W = self.height, self.width
        if not any(-i < H and abs(j) < W for i, j in self.window.read_offsets("A")):
            raise ValueError(
                f"context: got {self._context} for images of {H} x {W}, takes a window with "
                "at least one pixel inside the image"
            )

    @property
    def flow(self) -> AutoregressiveFlowConfig:
        """Config of the flow of the prior or the posterior."""
        return AutoregressiveFlowConfig(
            dim=self.latent_dim,
            hidden_dim=self.flow_hidden_dim,
            hidden_layers=self.flow_hidden_layers,
            steps=self.flow_steps,
            mean_only=self.flow_mean_only,
        )

    @property
    def window(self) -> Window:
        """Window of the layer that reads the image."""
        if self.context == "none":
            return Window.local(1, 0)
        if self.context == "local":
            return Window.local(self.window_width, self.window_rows)
        return Window.raster(KERNEL_SIZE)

    @property
    def inner_window(self) -> Window:
        """Window of the masked layers after the first."""
        return Window.raster(KERNEL_SIZE if self.context == "raster" else 1)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of the input and after each stride, which halves both and rounds up."""
        sizes = [(self.height, self.width)]
        for _ in range(STRIDES):
            h, w = sizes[-1]
            sizes.append(((h + 1) // 2, (w + 1) // 2))
        return sizes

    @property
    def channels(self) -> list[int]:
        """Feature maps of the encoder before its first stride and after each."""
        return [1, self.maps, 2 * self.maps, 2 * self.maps]

    @property
    def features(self) -> int:
        """Size of the output of the encoder's last block, flattened."""
        h, w = self.sizes[-1]
        return self.channels[-1] * h * w

    @property
    def code_dim(self) -> int:
        """Z, or 0 for a model without a latent."""
        return 0 if self.latent == "none" else self.latent_dim

    @property
    def free_nats(self) -> float:
        """lambda, in nats per image."""
        return self.free_bits * self.height * self.width

    @property
    def _context(self) -> str:
        window = f" {self.window_width} x {self.window_rows}" if self.context == "local" else ""
        return self.context + window

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return 1, self.height, self.width


def layout(config: VLAEConfig, masked: Callable[[], T], pointwise: Callable[[], T]) -> list[T]:
    """The blocks of the pixel decoder after its first layer, made by `masked` and `pointwise`.

    Each further masked layer is a block: one shared block if `tied`, else a block of its own.
    POINTWISE 1 x 1 blocks follow every other layer but the last.
    """
    shared = masked() if config.tied and config.masked_layers > 1 else None
    blocks: list[T] = []
    for layer in range(2, config.masked_layers + 1):
        blocks.append(masked() if shared is None else shared)
        if layer % 2 == 0 and layer < config.masked_layers:
            blocks += [pointwise() for _ in range(POINTWISE)]
    return blocks


class VLAENoise(NamedTuple):
    """Every random number that the loss needs."""

    eps: Any  # (N, Z), standard normal; (N, K, Z) for log_weight; Z is 0 without a latent


class VLAELoss(NamedTuple):
    """Terms of the loss, in nats: summed over pixels and latents, averaged over the batch.

    In evaluation mode the KL penalty is kl, so that total is -ELBO.
    """

    total: Any  # recon + the KL penalty of the free bits
    recon: Any  # E_q[-log p(x|z)]
    kl: Any  # KL(q(z|x) || p(z)); a sampled estimate for a flow
