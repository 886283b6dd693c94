"""Residual blocks of weight-normalised convolutions.   Right panel: torch_impl/residual.py

Sources: He et al., "Identity mappings in deep residual networks" (2016), arXiv 1603.05027; the
ResNet VAE of Kingma et al. (2016), arXiv 1606.04934.
"""

from __future__ import annotations

from typing import Any

from numpy_ref.layers import ELU
from numpy_ref.module import Array, Module, Sequential, Vjp
from numpy_ref.weight_norm import WNConv2d, WNConvTranspose2d


class Residual(Module):
    """y = skip(x) + branch(x), the branch f_n(elu(... f_1(elu(x)))); without a skip, x itself.

    Shapes: x (N, C, H, W) -> as the layers say; all images of one size unless there is a skip.
    """

    def __init__(self, *branch: Module, skip: Module | None = None) -> None:
        self.branch = Sequential(*branch)
        self.skip = skip

    def forward(self, x: Array) -> tuple[Array, Vjp]:
        y, vjp = self.branch(x)
        if self.skip is None:
            return x + y, lambda dy: dy + vjp(dy)
        skipped, skip_vjp = self.skip(x)

        def both(dy: Array) -> Array | None:
            dskip, dbranch = skip_vjp(dy), vjp(dy)
            return None if dskip is None else dskip + dbranch  # None: the layers read data

        return skipped + y, both


def flat(channels: int, kernel_size: int = 3, **where: Any) -> Residual:
    """Two convolutions that keep the images' size and number."""
    same = channels, channels, kernel_size, 1, kernel_size // 2
    return Residual(ELU(), WNConv2d(*same, **where), ELU(), WNConv2d(*same, **where))


def first(channels: int, out: int, **where: Any) -> Residual:
    """`down` for images that are data: elu changes nothing in a pixel of 0 or 1."""
    halved = channels, out, 3, 2, 1
    return Residual(
        WNConv2d(*halved, input_grad=False, **where),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **where),
        skip=WNConv2d(*halved, input_grad=False, **where),
    )


def down(channels: int, out: int, **where: Any) -> Residual:
    """Images of half the size, rounded up, by 3 x 3 convolutions of stride 2; one is the skip."""
    halved = channels, out, 3, 2, 1
    return Residual(
        ELU(),
        WNConv2d(*halved, **where),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **where),
        skip=WNConv2d(*halved, **where),
    )


def up(channels: int, out: int, size: tuple[int, int], **where: Any) -> Residual:
    """Images of `size`, which is twice what comes in, or one less: the way back of `down`."""
    height, width = size
    doubled = channels, out, 3, 2, 1, (1 - height % 2, 1 - width % 2)
    return Residual(
        ELU(),
        WNConvTranspose2d(*doubled, **where),
        ELU(),
        WNConv2d(out, out, 3, 1, 1, **where),
        skip=WNConvTranspose2d(*doubled, **where),
    )
