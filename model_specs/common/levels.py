"""The 256 levels of a pixel, and the sizes of a mixture that gives each of them a probability.

Units: nats and bits.
Source: Salimans, Karpathy, Chen & Kingma (2017), PixelCNN++, arXiv 1701.05517.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from model_specs.common.fields import check_positive_int

LEVELS = 256
"""A pixel has the values 0, 1/255, ..., 1: level k is the value k / (LEVELS - 1)."""
LOG_SCALE_MIN = -7.0
"""The smallest log-scale of a logistic, on pixels in [-1, 1]: part of the model, as in the code of
PixelCNN++. A level is 8.6 such scales wide. A smaller output is replaced by this one."""
CHANNELS = (1, 3)
"""Channels of an image that the mixture takes: grey or colour."""


def check_channels(name: str, channels: int) -> None:
    """Raise ValueError unless `channels` is 1 or 3."""
    if channels not in CHANNELS:
        raise ValueError(f"{name}: got {channels}, the mixture takes 1 or 3")


def image_channels(name: str, shape: Sequence[int], others: int = 0) -> int:
    """C, the channels of an argument of the shape (N, others + C, ...).

    Raises: ValueError that names the argument, unless C is 1 or 3.

    >>> image_channels("u", (5, 4, 8, 8), others=1)
    3
    """
    if len(shape) < 2 or shape[1] - others not in CHANNELS:
        takes = " or ".join(f"(N, {others + channels}, ...)" for channels in CHANNELS)
        raise ValueError(f"{name}: got shape {tuple(shape)}, takes {takes}")
    return shape[1] - others


def kinds(channels: int) -> int:
    """The parameters of a channel in a component: mean, log-scale, and in colour a coefficient."""
    check_channels("channels", channels)
    return 3 if channels == 3 else 2


def mixture_outputs(channels: int, components: int) -> int:
    """P, the number of parameters of a pixel: one logit a component, and `kinds` a channel.

    Raises: ValueError for channels other than 1 and 3, or components < 1.

    >>> mixture_outputs(1, 10), mixture_outputs(3, 10)
    (30, 100)
    """
    check_positive_int("components", components)
    return components * (1 + channels * kinds(channels))


def mixture_components(outputs: int, channels: int) -> int:
    """M, the number of components with `outputs` parameters of a pixel: inverts `mixture_outputs`.

    >>> mixture_components(100, 3)
    10
    """
    one = mixture_outputs(channels, 1)
    if outputs < one or outputs % one:
        raise ValueError(f"params: got {outputs} a pixel, takes a multiple of {one}")
    return outputs // one


def bits_per_dim(nats: float, dims: int) -> float:
    """-log2 p(x) for each of the D values of an image: nats / (D ln 2).

    >>> round(bits_per_dim(3 * math.log(256), 3), 12)  # all levels equally probable
    8.0
    """
    return nats / (dims * math.log(2))
