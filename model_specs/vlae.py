"""What the variational lossy autoencoder is, whatever computes it: config, noise, what comes out.

`Any` stands for an array of whichever panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.autoregressive.windows import Window
from model_specs.common.fields import check_choice, check_positive_int, check_real

T = TypeVar("T")
LATENTS = ("none", "gaussian", "af_prior", "iaf_posterior")
CONTEXTS = ("none", "local", "raster", "stacks")
FREE_BITS = ("none", "total", "latent", "soft")
KERNEL_SIZE = 3
"""Of every convolution that sees more than one pixel, an explicit window's apart."""
STRIDES = 3
"""Blocks of stride 2 on each side."""
POINTWISE = 2
"""1 x 1 blocks after every other masked layer: four for the paper's six layers."""

GAMMA_STEP, GAMMA_LEAST, SOFT_MARGIN = 1.1, 1e-3, 1.05
"""Of soft free bits: what moves the KL's weight, its least, and how far above lambda the KL may be.
"""


@dataclass(frozen=True)
class VLAEConfig:
    """A VAE of binary images whose decoder sees the pixels before each pixel, and z.

        x -> ResNet -> q(z|x) = N(mu, exp(logvar));   z -> mirrored ResNet -> maps
        p(x|z) = prod_i Bernoulli(x_i; pixels before i in a window, maps around i)

    What a pixel's window tells of it need not be told by z, so that the window's size decides what
    the code is for. The paper's ablations are switches: context "none" is the factorised decoder,
    latent "none" the unconditional PixelCNN.
    Raises: ValueError that names the field, its value and what is allowed.
    Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; defaults are
    their recipe for static MNIST. Where we differ, or they are silent: the flow is not
    weight-normalised; see `masked_layers` and `free_bits_of`.
    """

    height: int = 28
    """H, of the images; any size from 1 x 1."""
    width: int = 28
    """W"""
    maps: int = 16
    """c: the ResNet has c, 2 c and 2 c feature maps after its three strides; the paper 16, 32, 32.
    """
    hidden_dim: int = 450
    """Width of the fully connected layer on either side of z."""
    latent_dim: int = 64
    """Z, values per code."""
    latent: str = "af_prior"
    """What z is. gaussian: p(z) = N(0, I). af_prior: p(z) by an autoregressive flow. iaf_posterior:
    the flow makes a z of p(z) = N(0, I) out of the Gaussian's draw. none: there is no z."""
    flow_steps: int = 4
    """Of the flow, each a MADE, the order turned between them."""
    flow_hidden_dim: int = 640
    """Units in each hidden layer of a MADE."""
    flow_hidden_layers: int = 3
    """Hidden layers of a MADE, 1 to 4."""
    flow_mean_only: bool = True
    """Whether a step shifts alone, as the paper's do on MNIST, or scales as well."""
    context_maps: int = 4
    """Maps of the images' size that the decoder of z hands to the PixelCNN."""
    context: str = "raster"
    """The pixels that the decoder sees. raster: all that stacked masked 3 x 3 layers reach, 69 for
    six, with the blind spot. stacks: vertical and horizontal, without it. local: exactly the window
    `window_width` x `window_rows`. none: no pixel, the factorised decoder."""
    window_width: int = 3
    """A of the paper's A x B window; for context "local" alone."""
    window_rows: int = 1
    """B"""
    decoder_maps: int = 12
    """Feature maps of the PixelCNN."""
    masked_layers: int = 6
    """One of mask type A and the others of type B, each in a residual block; after every other one
    (but the last) two 1 x 1 blocks. The paper has four between every other layer, and no more of
    where.
    For contexts "local" and "none" those of type B see the pixel itself alone."""
    tied: bool = True
    """Whether the layers of type B are one, as the paper has it on static MNIST."""
    free_bits: float = 0.01
    """lambda / (H W): nats of KL per pixel that cost nothing."""
    free_bits_of: str = "total"
    """How: see free_bits.py. total: the KL's mean over the batch, at least lambda. latent: that of
    each dimension at least lambda / Z (Kingma et al. 2016; a flow's KL is one number and does not
    split). soft: its weight moves until the KL is lambda. none: not at all. The paper does not say
    which of them it took on MNIST."""

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
                "context: got 'none' with latent 'none', takes one that sees something"
            )
        try:
            _ = self.flow
        except ValueError as error:
            raise ValueError(f"flow_{error}") from None
        if type(self.window_rows) is not int or self.window_rows < 0:
            raise ValueError(f"window_rows: got {self.window_rows!r}, takes an int >= 0")
        if self.context == "local":  # one of thousands of pixels a side would take minutes to make
            for name, most in (("window_width", 2 * self.width), ("window_rows", self.height)):
                if (value := getattr(self, name)) > most:
                    size = f"images of {self.height} x {self.width}"
                    raise ValueError(f"{name}: got {value} for {size}, takes {most} at most")
        self._check_window()

    def _check_window(self) -> None:
        """Raises: ValueError for a window that sees nothing, of no pixel or of none in an image."""
        if self.context == "none":
            return
        H, W = self.height, self.width
        if not any(-i < H and abs(j) < W for i, j in self.window.seen("A")):
            raise ValueError(
                f"context: got {self._context} for images of {H} x {W}, of which that sees nothing"
            )

    @property
    def flow(self) -> AutoregressiveFlowConfig:
        """Of the prior or the posterior."""
        return AutoregressiveFlowConfig(
            dim=self.latent_dim,
            hidden_dim=self.flow_hidden_dim,
            hidden_layers=self.flow_hidden_layers,
            steps=self.flow_steps,
            mean_only=self.flow_mean_only,
        )

    @property
    def window(self) -> Window:
        """Of the layer that reads the image."""
        if self.context == "none":
            return Window.local(1, 0)
        if self.context == "local":
            return Window.local(self.window_width, self.window_rows)
        return Window.raster(KERNEL_SIZE)

    @property
    def inner_window(self) -> Window:
        """Of the masked layers after it."""
        return Window.raster(KERNEL_SIZE if self.context == "raster" else 1)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) before the first stride and after each: halved, rounded up."""
        sizes = [(self.height, self.width)]
        for _ in range(STRIDES):
            h, w = sizes[-1]
            sizes.append(((h + 1) // 2, (w + 1) // 2))
        return sizes

    @property
    def channels(self) -> list[int]:
        """Feature maps before the first stride of the encoder and after each."""
        return [1, self.maps, 2 * self.maps, 2 * self.maps]

    @property
    def features(self) -> int:
        """Values of what the encoder's last block gives, flattened."""
        h, w = self.sizes[-1]
        return self.channels[-1] * h * w

    @property
    def code_dim(self) -> int:
        """Z, or 0 where there is no z."""
        return 0 if self.latent == "none" else self.latent_dim

    @property
    def free_nats(self) -> float:
        """lambda, nats an image."""
        return self.free_bits * self.height * self.width

    @property
    def _context(self) -> str:
        window = f" {self.window_width} x {self.window_rows}" if self.context == "local" else ""
        return self.context + window

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Of one image, as the model takes it."""
        return 1, self.height, self.width


def layout(config: VLAEConfig, masked: Callable[[], T], pointwise: Callable[[], T]) -> list[T]:
    """The blocks after the decoder's first layer: masked ones, `tied` or each its own, and 1 x 1
    ones after every other layer but the last."""
    shared = masked() if config.tied and config.masked_layers > 1 else None
    blocks: list[T] = []
    for layer in range(2, config.masked_layers + 1):
        blocks.append(masked() if shared is None else shared)
        if layer % 2 == 0 and layer < config.masked_layers:
            blocks += [pointwise() for _ in range(POINTWISE)]
    return blocks


class VLAENoise(NamedTuple):
    """Every random number that the loss needs."""

    eps: Any  # (N, Z), standard normal; (N, K, Z) for log_weight; Z is 0 where there is no z


class VLAELoss(NamedTuple):
    """Terms of the loss, nats: summed over pixels and latents, averaged over the batch.

    In evaluation mode free bits are none, so that total is -ELBO.
    """

    total: Any  # recon + what free bits make of kl
    recon: Any  # E_q[-log p(x|z)]
    kl: Any  # KL(q(z|x) || p(z)); of a flow, as sampled
