"""What a pixel sees of the image through several masked layers, whatever computes them.

Each layer reads pixels that have read others: their offsets add up. Six layers of 3 x 3:

    Window.raster(3): 69 pixels           the two stacks: 84

    # # # # # # # # # # # # #             # # # # # # # # # # # # #
    # # # # # # # # # # # # .             # # # # # # # # # # # # #
    # # # # # # # # # # # . .             # # # # # # # # # # # # #
    # # # # # # # # # # . . .             # # # # # # # # # # # # #
    # # # # # # # # # . . . .             # # # # # # # # # # # # #
    # # # # # # # # . . . . .             # # # # # # # # # # # # #
    # # # # # # @ . . . . . .             # # # # # # @ . . . . . .

The wedge on the left picture's right is the blind spot: a step to the right is a step up as well.
An image's border cuts the field off.
"""

from __future__ import annotations

from collections.abc import Iterable

from model_specs.autoregressive.windows import ITSELF, Offset, Window, stacked_reach


def receptive_field(layers: Iterable[tuple[Window, str]]) -> Window:
    """What MaskedConv2d's of these windows and mask types see, one after the other.

        seen = W_1 + ... + W_n,   A + B = {a + b}

    The fields of both panels' MaskedConv2d without free channels.
    Raises: ValueError as `Window.seen`.
    Source: van den Oord et al. (2016), arXiv 1606.05328, figure 1 (right, top).
    """
    seen = frozenset({ITSELF})
    for window, mask_type in layers:
        seen = _sum(seen, window.seen(mask_type))
    return Window(seen)


def stacked_receptive_field(layers: Iterable[tuple[int | tuple[int, int], str]]) -> Window:
    """What the horizontal state of StackedConv2d's of these kernels and types sees.

        v = v + vertical,   h = (h + horizontal) | v        layer by layer, from v = h = {(0, 0)}

    n layers of k x k see all the n (k // 2) rows above, as many columns to either side.
    Raises: ValueError as `stacked_reach`, and for a first layer that is not of type A.
    Source: van den Oord et al. (2016), arXiv 1606.05328, figure 1 (right, bottom).
    """
    v = h = frozenset({ITSELF})
    for depth, (kernel_size, mask_type) in enumerate(layers):
        up, side = stacked_reach(kernel_size, mask_type)
        if depth == 0 and mask_type != "A":
            raise ValueError(f"layers: got a first one of type {mask_type!r}, takes 'A'")
        nearest = 1 if mask_type == "A" else 0
        columns = range(-side, side + 1)
        v = _sum(v, frozenset((-i, j) for i in range(nearest, up + 1) for j in columns))
        h = _sum(h, frozenset((0, -j) for j in range(nearest, side + 1))) | v
    return Window(h)


def _sum(a: frozenset[Offset], b: frozenset[Offset]) -> frozenset[Offset]:
    return frozenset((i + k, j + m) for i, j in a for k, m in b)
