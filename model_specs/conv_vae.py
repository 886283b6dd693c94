"""Specification of the convolutional VAE: its config, noise, output, and the terms of its loss.

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
from model_specs.common.levels import check_channels, mixture_outputs

SUPPORTS = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "none": (float("-inf"), float("inf")),
}
"""The range of image values for each output activation."""
MIXTURE = "discretized_logistic_mixture"
LEARNED = "gaussian_learned"
RECON_TYPES = ("mse", "bce", "gaussian", LEARNED, MIXTURE)
SUMMED = ("gaussian", LEARNED, MIXTURE)
"""The reconstruction errors that are summed over pixels whatever the reduction."""
REDUCTIONS = ("mean", "sum")
STRIDES = 4
"""Number of convolutions of stride 2 in the encoder. They shrink images by a factor of 2^4."""


@dataclass(frozen=True)
class ConvVAEConfig:
    """A VAE of four convolutions and four transposed ones, kernel 4, stride 2, padding 1.

        x -> c, 2c, 4c, 8c channels -> (mu, logvar);  z = mu + exp(logvar / 2) eps
        z -> linear -> 4c, 2c, c, in_channels channels -> activation

    Every convolution but the first and the last is followed by batch normalisation, and every one
    but the last by ReLU, as in DCGAN.
    Raises: ValueError that names the field, its value and the values it takes.
    Source: Radford, Metz & Chintala (2015, arXiv 1511.06434) for the layers, Kingma & Welling
    (2013, arXiv 1312.6114) for the rest. A convolution before a batch normalisation has no bias,
    as the normalisation subtracts it.
    """

    latent_dim: int = 128
    """The code z has Z = latent_dim dimensions."""
    base_channels: int = 64
    """The encoder's first convolution has c = base_channels output channels; each further one has
    twice as many as the one before."""
    image_size: int = 64
    """Images have S x S pixels, S = image_size a multiple of 16."""
    in_channels: int = 3
    """Images have C = in_channels channels: 3 for colour, 1 for grey."""
    height: int | None = None
    """The image has H = height rows, in the middle of the S x S pixels; None: S. The pixels around
    it are a black margin, of which the encoder reads the zeros and of which there is no error."""
    width: int | None = None
    """The image has W = width columns, likewise; None: S."""
    out_activation: str = "sigmoid"
    """The decoder's output activation sets the range of images: sigmoid [0, 1], tanh [-1, 1], none
    all real values."""
    recon_type: str = "mse"
    """The reconstruction error is (recon - x)^2 (mse), the cross-entropy of the pixels, from logits
    (bce, which needs the sigmoid), -log N(x; recon, gaussian_std^2) in nats (gaussian), -log N(x;
    recon, sigma^2) in nats with a log variance of each value from the decoder (gaussian_learned;
    Kingma & Welling 2013, appendix C.2), or -log p of the 256 levels of each pixel in nats
    (discretized_logistic_mixture; Salimans et al. 2017). The last takes images of 1 or 3 channels
    with the values k / 255; its outputs are the parameters of a mixture, so that out_activation
    stays "sigmoid" and is not applied."""
    beta: float = 1.0
    """The KL term has the weight beta (Higgins et al. 2017)."""
    gaussian_std: float = conditional(1.0, recon_type=("gaussian",))
    """The Gaussian of recon_type gaussian has this standard deviation."""
    min_logvar: float | None = conditional(-9.0, recon_type=(LEARNED,))
    """The variance of recon_type gaussian_learned is sigma^2 = e^logvar + e^min_logvar: a smooth
    floor, which keeps the density finite where a pixel has the same value in all images. The
    derivative of log sigma^2 by logvar is sigmoid(logvar - min_logvar). None: no floor, as in the
    paper. With -9, sigma is above 0.011: of values from 0 to 1, 2.8 steps of 1 / 255."""
    components: int = conditional(10, recon_type=(MIXTURE,))
    """The mixture of recon_type discretized_logistic_mixture has M = components logistics; ten in
    PixelCNN++."""
    reduction: str = "mean"
    """The loss is the mean or the sum over the batch; ConvVAELoss says how pixels and latents are
    reduced."""
    init: str = "torch"
    """Weights are drawn as by torch.nn's layers (torch), or weights start as N(0, 0.1^2) and biases
    as 0 (normal)."""

    def __post_init__(self) -> None:
        for name in ("latent_dim", "base_channels", "image_size", "in_channels"):
            check_positive_int(name, getattr(self, name))
        if self.image_size % 2**STRIDES:
            raise ValueError(f"image_size: got {self.image_size}, takes a multiple of 16")
        for name in ("height", "width"):
            value = getattr(self, name)
            if value is not None:
                check_positive_int(name, value)
                if value >= self.image_size:
                    takes = f"less than image_size {self.image_size} or None"
                    raise ValueError(f"{name}: got {value}, takes {takes}")
        check_choice("out_activation", self.out_activation, SUPPORTS)
        check_choice("recon_type", self.recon_type, RECON_TYPES)
        if self.recon_type == "bce" and self.out_activation != "sigmoid":
            raise ValueError(f"out_activation: got {self.out_activation!r}, bce takes 'sigmoid'")
        if self.recon_type == MIXTURE:
            check_channels("in_channels", self.in_channels)
            if self.out_activation != "sigmoid":
                raise ValueError(
                    f"out_activation: got {self.out_activation!r}, {MIXTURE} takes 'sigmoid'"
                )
        check_positive_int("components", self.components)
        check_choice("reduction", self.reduction, REDUCTIONS)
        check_choice("init", self.init, ("normal", "torch"))
        check_real("beta", self.beta, above=0, inclusive=True)
        check_real("gaussian_std", self.gaussian_std, above=0)
        check_min_logvar("min_logvar", self.min_logvar)
        check_effects(self)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the images, and after each convolution of the encoder."""
        return self.in_channels, *(self.base_channels * 2**i for i in range(STRIDES))

    @property
    def outputs(self) -> int:
        """P, the number of values that the decoder computes for a pixel."""
        if self.recon_type == MIXTURE:
            return mixture_outputs(self.in_channels, self.components)
        return self.in_channels * (2 if self.recon_type == LEARNED else 1)

    @property
    def code_size(self) -> int:
        """Height and width of the output of the encoder's last convolution."""
        return self.image_size // 2**STRIDES

    @property
    def features(self) -> int:
        """Values of the output of the encoder's last convolution."""
        return self.channels[-1] * self.code_size**2

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one image, without the batch axis."""
        return self.in_channels, self.image_size, self.image_size

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and the columns of the S x S pixels that the image takes: the rest is margin."""
        S = self.image_size
        H, W = self.height or S, self.width or S
        top, left = (S - H) // 2, (S - W) // 2
        return slice(top, top + H), slice(left, left + W)


class ConvVAENoise(NamedTuple):
    """The random numbers of the loss."""

    eps: Any  # (N, Z), standard normal; (N, K, Z) for log_weight


class ConvVAEOutput(NamedTuple):
    """Output of a forward pass."""

    recon: Any  # (N, C, S, S), the mean of p(x|z)
    mu: Any  # (N, Z)
    logvar: Any  # (N, Z)
    z: Any  # (N, Z)


class ConvVAELoss(NamedTuple):
    """Terms of the loss.

    kl, in nats: summed over latents, then averaged or summed over the batch by `reduction`.
    recon: mse and bce are averaged over pixels and batch for "mean" and summed for "sum", as in
    torch.nn.functional; gaussian, gaussian_learned and discretized_logistic_mixture, in nats, are
    summed over pixels and then averaged or summed over the batch. The pixels are those of the
    image, without its margin."""

    total: Any  # recon + beta kl
    recon: Any
    kl: Any
