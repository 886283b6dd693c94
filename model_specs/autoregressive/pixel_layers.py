"""Order and kernel of the pixel decoder's layers, for both panels.

`config` is a VLAEConfig, which builds on this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
KERNEL_SIZE = 3
"""Kernel size of every convolution that is not 1 x 1, except the one over a local window."""
POINTWISE = 2
"""Number of 1 x 1 blocks after every other masked layer: four in all for the paper's six layers."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey of a pixel (Chen et al. 2016, arXiv 1611.02731)."""


def channels_read(config: Any) -> int:
    """Number of channels of the image that the pixel decoder reads."""
    return 1 if config.context_channels == "grey" else config.channels


def layout(config: Any, masked: Callable[[], T], pointwise: Callable[[], T]) -> list[T]:
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
