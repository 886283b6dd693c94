"""Checks of the VLAE's fields that depend on each other.

`config` is a VLAEConfig, which builds on this module. Each check raises ValueError that names a
field, what it got and what it takes.
"""

from __future__ import annotations

from typing import Any

from model_specs.autoregressive.gated_layers import (
    check_gated_rows,
    check_gated_width,
    gated_reaches,
)
from model_specs.autoregressive.kinds import BERNOULLI, MIXTURE, WITH_WINDOW
from model_specs.common.fields import check_positive_int
from model_specs.common.levels import CHANNELS

MAX_STRIDES = 4


def check_likelihood(config: Any) -> None:
    """Raise ValueError for impossible channels, or a likelihood that does not take them."""
    channels = config.channels
    if type(channels) is not int or channels not in CHANNELS:
        raise ValueError(f"channels: got {channels!r}, takes 1 (grey) or 3 (colour)")
    if config.likelihood == BERNOULLI and channels != 1:
        raise ValueError(
            f"likelihood: got {BERNOULLI!r} with channels {channels}, takes {MIXTURE!r}"
        )


def check_latent(config: Any) -> None:
    """Raise ValueError for impossible strides, latent maps, maps of positions or flows."""
    strides, maps = config.strides, config.latent_maps
    if type(strides) is not int or not 1 <= strides <= MAX_STRIDES:
        raise ValueError(f"strides: got {strides!r}, takes an int from 1 to {MAX_STRIDES}")
    for name in ("latent_maps", "position_maps"):
        count = getattr(config, name)
        if type(count) is not int or count < 0:
            raise ValueError(f"{name}: got {count!r}, takes an int >= 0")
    if maps and (1, 1) in config.sizes[:-1]:
        size, limit = f"images of {config.height} x {config.width}", config.sizes.index((1, 1))
        takes = f"{limit} at most" if limit else "images of more than one pixel"
        raise ValueError(f"strides: got {strides} for latent maps of {size}, takes {takes}")
    try:
        _ = config.flow
    except ValueError as error:
        raise ValueError(f"flow_{error}") from None


def check_window(config: Any) -> None:
    """Raise ValueError for a window without a pixel, or without one inside the image."""
    context, A, B = config.context, config.window_width, config.window_rows
    if config.latent == context == "none":
        raise ValueError(
            "context: got 'none' with latent 'none', takes a context that reads pixels"
        )
    if context == "gated":
        check_gated_width(A)
    else:
        check_positive_int("window_width", A)
    if context == "gated" and A:
        check_gated_rows(B)
    elif type(B) is not int or B < 0:
        raise ValueError(f"window_rows: got {B!r}, takes an int >= 0")
    elif context == "local" and (A, B) == (1, 0):
        raise ValueError("window_rows: got 0 with window_width 1, takes an int >= 1")
    H, W = config.height, config.width
    if context in WITH_WINDOW:  # a window of thousands of pixels takes minutes to build
        for name, value, limit in (("window_width", A, 2 * W), ("window_rows", B, H)):
            if value > limit:
                size = f"images of {H} x {W}"
                raise ValueError(f"{name}: got {value} for {size}, takes {limit} at most")
    if context == "gated":
        gated_reaches(A, B, config.decoder_blocks)
    if context == "none":
        return
    if not any(-i < H and abs(j) < W for i, j in config.window.read_offsets("A")):
        raise ValueError(
            f"context: got {config.context_name} for images of {H} x {W}, takes a window with "
            "at least one pixel inside the image"
        )
