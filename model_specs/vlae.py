"""Config, noise and loss terms of the variational lossy autoencoder, for both panels.

`Any` stands for an array of either panel: numpy.ndarray on the left, torch.Tensor on the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.autoregressive.free_bits import FREE_BITS
from model_specs.autoregressive.kinds import (
    BERNOULLI,
    CONTEXT_CHANNELS,
    CONTEXTS,
    LATENTS,
    LIKELIHOODS,
    MIXTURE,
    SPLIT,
    WITH_FLOW,
    WITH_LATENT,
    WITH_MASKS,
    WITH_PIXELS,
    WITH_WINDOW,
    WITHOUT_LATENT,
)
from model_specs.autoregressive.map_flow import MapFlowConfig
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE
from model_specs.autoregressive.vlae_checks import check_latent, check_likelihood, check_window
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_choice, check_positive_int, check_real
from model_specs.common.levels import mixture_outputs


@dataclass(frozen=True)
class VLAEConfig:
    """A VAE of images whose decoder reads z and, for each pixel, the pixels before it.

        x -> ResNet -> q(z|x) = N(mu, exp(logvar));   z -> mirrored ResNet -> maps
        p(x|z) = prod_i p(x_i | pixels before i in a window, maps around i)

    The latent carries only what the window of earlier pixels cannot predict, so the size of the
    window decides what z encodes. The paper's ablations are switches: context "none" is the
    factorised decoder, latent "none" the unconditional PixelCNN.
    Raises: ValueError that names the field, its value and what is allowed.
    Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731; defaults are
    their recipe for static MNIST, and colour is a choice of fields. Where we differ: the flows
    are not weight-normalised. Where the paper is silent: see `masked_layers` and
    `free_bits_of`.
    """

    height: int = 28
    """Images have H = height rows; any size from 1 x 1 is accepted."""
    width: int = 28
    """Images have W = width columns."""
    channels: int = 1
    """Images have C = channels channels: 1 for grey, 3 for colour."""
    likelihood: str = BERNOULLI
    """p(x_i | .) is a Bernoulli of pixels 0 and 1 (bernoulli, for one channel), or a mixture of
    logistics on the 256 levels 0, 1/255, ..., 1 of each channel (discretized_logistic_mixture)."""
    components: int = conditional(10, likelihood=(MIXTURE,))
    """The mixture has M = components logistics; PixelCNN++ has 10."""
    maps: int = conditional(16, latent=WITH_LATENT)
    """The ResNet has c, 2 c, 2 c and 2 c feature maps after its strides, c = maps; the paper has
    16, 32 and 32 after three."""
    strides: int = conditional(3, latent=WITH_LATENT)
    """The encoder has 1 to 4 blocks of stride 2, and the decoder as many transposed ones."""
    latent_maps: int = conditional(0, latent=WITH_LATENT)
    """The latent is latent_maps maps of h x w, the size after the last stride: z has
    Z = latent_maps h w dimensions, without a fully connected layer; 0: z is a vector of
    `latent_dim`. The paper has 16
    maps of 8 x 8 for images of 32 x 32."""
    hidden_dim: int = conditional(450, latent=WITH_LATENT, latent_maps=(0,))
    """The fully connected layer on either side of z has hidden_dim units."""
    latent_dim: int = conditional(64, latent=WITH_LATENT, latent_maps=(0,))
    """The latent z has Z = latent_dim dimensions."""
    latent: str = "af_prior"
    """The latent is Gaussian with p(z) = N(0, I) (gaussian), has an autoregressive flow as its p(z)
    (af_prior), or a flow that maps the Gaussian sample to a u of prior N(0, I) (iaf_posterior);
    none: the model has no latent."""
    flow_steps: int = conditional(4, latent=WITH_FLOW)
    """The flow has flow_steps steps: each is a MADE, or over maps a PixelCNN, in the reverse order
    of the one before it."""
    flow_hidden_dim: int = conditional(640, latent=WITH_FLOW)
    """Each hidden layer of a step has flow_hidden_dim units, or maps in a PixelCNN."""
    flow_hidden_layers: int = conditional(3, latent=WITH_FLOW)
    """A step has 1 to 4 hidden layers."""
    flow_mean_only: bool = conditional(True, latent=WITH_FLOW)
    """If True, a step of the flow only shifts, as in the paper on MNIST; if False, it also
    scales."""
    context_maps: int = conditional(4, latent=WITH_LATENT)
    """The decoder of z gives the PixelCNN context_maps maps of the images' size."""
    position_maps: int = conditional(0, latent=WITHOUT_LATENT)
    """Without a latent there are no context maps. The PixelCNN then reads position_maps maps of
    learned values, the same for every image, which tell it where in the image a pixel is; 0: it
    reads the pixels in its reach alone. Which of the two the paper has is not known to us."""
    context: str = "raster"
    """The decoder reads the pixels in reach of masked 3 x 3 layers, 69 for six layers, with a blind
    spot (raster); of a vertical and a horizontal stack, without a blind spot (stacks); in the
    window `window_width` x `window_rows`, by one masked layer (local) or by gated residual blocks
    in two stacks as in PixelCNN++ (gated); or no pixel, the factorised decoder (none)."""
    window_width: int = conditional(3, context=WITH_WINDOW)
    """The window has A = window_width columns, A as in the paper's A x B window. For context gated,
    0 stands for the raster: two more rows above, and two more columns to either side, in each
    layer."""
    window_rows: int = conditional(
        1, context=WITH_WINDOW, window_width=lambda c: c.window_width > 0
    )
    """The window has B = window_rows rows above the pixel, B as in the paper's A x B window."""
    context_channels: str = conditional("all", channels=(3,), context=WITH_PIXELS)
    """The decoder reads all channels of the pixels before (all), or only their luma 0.299 R +
    0.587 G + 0.114 B (grey), so that z has to carry the colour. The channels of the pixel itself
    are read by the likelihood."""
    decoder_maps: int = 12
    """The PixelCNN has decoder_maps feature maps."""
    decoder_blocks: int = conditional(4, context=("gated",))
    """The gated PixelCNN has decoder_blocks residual blocks in each stack; the paper has 4."""
    masked_layers: int = conditional(6, context=WITH_MASKS)
    """The PixelCNN has one layer of mask type A, then masked_layers - 1 of type B, each in a
    residual block; two 1 x 1 blocks follow every other layer but the last. The paper has four
    between every other layer, and does not say more. In contexts "local" and "none" layers of type
    B read the pixel itself alone."""
    tied: bool = conditional(
        True, masked_layers=lambda config: config.masked_layers > 2, context=WITH_MASKS
    )
    """If True, the layers of type B share one weight, as in the paper on static MNIST."""
    free_bits: float = conditional(0.01, latent=WITH_LATENT, free_bits_of=FREE_BITS[1:])
    """free_bits = lambda / (C H W) nats of KL per pixel and channel have no penalty."""
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
        for name in ("decoder_maps", "decoder_blocks", "masked_layers", "components"):
            check_positive_int(name, getattr(self, name))
        check_choice("latent", self.latent, LATENTS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("context", self.context, CONTEXTS)
        check_choice("context_channels", self.context_channels, CONTEXT_CHANNELS)
        check_choice("free_bits_of", self.free_bits_of, FREE_BITS)
        check_real("free_bits", self.free_bits, above=0, inclusive=True)
        if not isinstance(self.tied, bool):
            raise ValueError(f"tied: got {self.tied!r}, takes True or False")
        check_likelihood(self)
        check_latent(self)
        check_window(self)
        check_effects(self)

    @property
    def flow(self) -> AutoregressiveFlowConfig | MapFlowConfig:
        """Config of the flow of the prior or the posterior, over maps if the latent has maps."""
        options: dict[str, Any] = {
            "hidden_dim": self.flow_hidden_dim,
            "hidden_layers": self.flow_hidden_layers,
            "steps": self.flow_steps,
            "mean_only": self.flow_mean_only,
        }
        if self.latent_maps:
            return MapFlowConfig(*self.code_shape, **options)
        return AutoregressiveFlowConfig(self.latent_dim, **options)

    @property
    def window(self) -> Window:
        """Window of the layer that reads the image."""
        if self.context == "none":
            return Window.local(1, 0)
        if self.context in WITH_WINDOW and self.window_width:
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
        for _ in range(self.strides):
            h, w = sizes[-1]
            sizes.append(((h + 1) // 2, (w + 1) // 2))
        return sizes

    @property
    def encoder_maps(self) -> list[int]:
        """Feature maps of the encoder before its first stride and after each."""
        return [self.channels, self.maps, *[2 * self.maps] * (self.strides - 1)]

    @property
    def features(self) -> int:
        """Size of the output of the encoder's last block, flattened."""
        h, w = self.sizes[-1]
        return self.encoder_maps[-1] * h * w

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """(L, h, w) of L latent maps. A code is flat, (N, L h w), in this order."""
        return self.latent_maps, *self.sizes[-1]

    @property
    def code_dim(self) -> int:
        """Z, or 0 for a model without a latent."""
        if self.latent == "none":
            return 0
        return math.prod(self.code_shape) if self.latent_maps else self.latent_dim

    @property
    def maps_read(self) -> int:
        """Number M of maps that the pixel decoder reads: context_maps, or without a latent
        position_maps."""
        return self.position_maps if self.latent == "none" else self.context_maps

    @property
    def outputs(self) -> int:
        """Parameters of p(x_i | .) of a pixel: one logit, or those of the mixture."""
        bernoulli = self.likelihood == BERNOULLI
        return 1 if bernoulli else mixture_outputs(self.channels, self.components)

    @property
    def draws(self) -> int:
        """Uniform numbers that draw a pixel: one; for the mixture one more, for the component."""
        return 1 if self.likelihood == BERNOULLI else 1 + self.channels

    @property
    def free_nats(self) -> float:
        """lambda, in nats per image."""
        return self.free_bits * math.prod(self.example_shape)

    @property
    def context_name(self) -> str:
        """The context with its window, for titles and messages."""
        A, B = self.window_width, self.window_rows
        window = f" {A} x {B}" if self.context in WITH_WINDOW and A else ""
        return self.context + window

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return self.channels, self.height, self.width


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
