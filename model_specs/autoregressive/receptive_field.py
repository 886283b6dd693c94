"""Receptive fields: the pixels that a pixel depends on through several masked layers.

The offsets that successive layers read add up. Six layers of 3 x 3:

    Window.raster(3): 69 pixels           the two stacks: 84

    # # # # # # # # # # # # #             # # # # # # # # # # # # #
    # # # # # # # # # # # # .             # # # # # # # # # # # # #
    # # # # # # # # # # # . .             # # # # # # # # # # # # #
    # # # # # # # # # # . . .             # # # # # # # # # # # # #
    # # # # # # # # # . . . .             # # # # # # # # # # # # #
    # # # # # # # # . . . . .             # # # # # # # # # # # # #
    # # # # # # @ . . . . . .             # # # # # # @ . . . . . .

The wedge on the right of the left picture is the blind spot: a step to the right is also a step up.
The field ends at the border of the image.
"""

from __future__ import annotations

from collections.abc import Iterable

from model_specs.autoregressive.windows import ITSELF, Offset, Window, stacked_reach


def receptive_field(layers: Iterable[tuple[Window, str]]) -> Window:
    """Receptive field of MaskedConv2d layers with these windows and mask types, in this order.

        field = W_1 + ... + W_n,   A + B = {a + b}

    This is the field in the image channels; free channels are read in the whole kernel.
    Raises: ValueError as `Window.read_offsets`.
    Source: van den Oord et al. (2016), arXiv 1606.05328, figure 1 (right, top).
    """
    offsets = frozenset({ITSELF})
    for window, mask_type in layers:
        offsets = minkowski_sum(offsets, window.read_offsets(mask_type))
    return Window(offsets)


def stacked_receptive_field(layers: Iterable[tuple[int | tuple[int, int], str]]) -> Window:
    """Receptive field of the h of StackedConv2d layers with these kernels and types, in this order.

        v = v + vertical,   h = (h + horizontal) | v        layer by layer, from v = h = {(0, 0)}

    n layers of k x k read the n (k // 2) rows above, and n (k // 2) columns to either side.
    Raises: ValueError as `stacked_reach`, and for a first layer that is not of type A.
    Source: van den Oord et al. (2016), arXiv 1606.05328, figure 1 (right, bottom).
    """
    v = h = frozenset({ITSELF})
    for depth, (kernel_size, mask_type) in enumerate(layers):
        up, side = stacked_reach(kernel_size, mask_type)
        if depth == 0 and mask_type != "A":
            raise ValueError(f"layers: got mask type {mask_type!r} in the first layer, takes 'A'")
        nearest = 1 if mask_type == "A" else 0
        columns = range(-side, side + 1)
        v = minkowski_sum(v, frozenset((-i, j) for i in range(nearest, up + 1) for j in columns))
        h = minkowski_sum(h, frozenset((0, -j) for j in range(nearest, side + 1))) | v
    return Window(h)


def minkowski_sum(a: frozenset[Offset], b: frozenset[Offset]) -> frozenset[Offset]:
    """{p + q} for all p in a and q in b: the field of one layer after another."""
    return frozenset((i + k, j + m) for i, j in a for k, m in b)
