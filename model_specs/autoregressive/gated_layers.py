"""Reach of the layers of the gated PixelCNN, for both panels: which layer reads how far.

The vertical stack v reads the rows above a pixel, the horizontal stack h the pixels to its left in
its own row, and in every layer v at the pixel itself. For the window 4 x 2:

    v:  . # # # .    h, layer 1:  . # # # .    h, layer 2:  # # # # .
        . # # # .                 . # # # .                 # # # # .
        . . @ . .                 . # @ . .                 # # @ . .

Here @ is the pixel itself and # a pixel that the layer depends on. The rows of an even width reach
one column further to the left than to the right: layer 2 reads layer 1 of the pixel before, and
with it the v of that pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model_specs.autoregressive.receptive_field import minkowski_sum
from model_specs.autoregressive.windows import ITSELF, Window
from model_specs.common.fields import check_positive_int

RASTER_REACH = 2
"""Rows above and columns to either side that each layer reads without a window."""


class Reach(NamedTuple):
    """Pixels that one layer of the two stacks reads.

    The first layer reads the image, so that it leaves out the pixel's own row in v and the pixel
    itself in h; later layers include them.
    """

    up: int  # v: rows above
    left: int  # v: columns to the left, in each of these rows
    right: int  # v: columns to the right
    before: int  # h: pixels to the left


def gated_reaches(width: int, rows: int, blocks: int) -> list[Reach]:
    """The reach of the first layer and of each residual block, for a window of width x rows.

    Together they read exactly Window.local(width, rows), A = width and B = rows. With
    R = floor((A - 1) / 2), K = max(B - 1, R, 1) layers share the B rows and the R columns to
    either side as evenly as possible, more in the first ones, and h reads as many pixels to the
    left as v reads columns. For an even A >= 4, one more layer of h reads one pixel more; for A = 2
    the first layer reads one column to the left. The other
    blocks read the pixel alone. If there are fewer than K layers, each reads further.
    A width of 0 stands for the raster: every layer reads RASTER_REACH rows and columns.
    Source: Chen et al. (2016), arXiv 1611.02731: this gives their numbers of vertical / horizontal
    layers, 4 x 2: 1 / 2, 5 x 3: 2 / 2, 7 x 4: 3 / 3, with kernels of 2 rows and 3 columns as in
    PixelCNN++ (Salimans et al. 2017, arXiv 1701.05517). They give no rule for other windows. Where
    we differ: h reads its own row alone, where PixelCNN++ has kernels of 2 x 2, which would leave
    the window.
    Raises: ValueError for a width < 0, blocks < 1, or rows < 1 of a width above 0.
    """
    check_positive_int("decoder_blocks", blocks)
    layers = blocks + 1
    check_gated_width(width)
    if width == 0:
        return [Reach(*[RASTER_REACH] * 4)] * layers
    check_gated_rows(rows)
    side = (width - 1) // 2
    extra = int(width % 2 == 0 and side > 0)
    count = min(max(rows - 1, side, 1), layers - extra)
    parts = zip(_shares(rows, count), _shares(side, count), strict=True)
    reaches = [Reach(up, columns, columns, columns) for up, columns in parts]
    if width == 2:  # no layer of h could read v at the pixel before and the image to the left
        reaches[0] = Reach(reaches[0].up, 1, 0, 1)
    reaches += [Reach(0, 0, 0, 1)] * extra
    return reaches + [Reach(0, 0, 0, 0)] * (layers - len(reaches))


def check_gated_width(width: object) -> None:
    """Raise ValueError unless `width` is an int >= 0; 0 stands for the raster."""
    if type(width) is not int or width < 0:
        takes = "takes an int >= 1, or 0 for the raster"
        raise ValueError(f"window_width: got {width!r} for the gated context, {takes}")
    if width:
        check_positive_int("window_width", width)


def check_gated_rows(rows: object) -> None:
    """Raise ValueError unless `rows` is an int >= 1."""
    if type(rows) is not int or rows < 1:
        raise ValueError(f"window_rows: got {rows!r} for the gated context, takes an int >= 1")


def gated_receptive_field(reaches: Sequence[Reach]) -> Window:
    """Receptive field of the h of gated layers with these reaches, in this order.

    v = v + vertical,   h = (h + horizontal) | v        layer by layer, from v = h = {(0, 0)}
    """
    v = h = frozenset({ITSELF})
    for depth, (up, left, right, before) in enumerate(reaches):
        own = 0 if depth else 1  # the first layer leaves out the row and the pixel itself
        columns = range(-left, right + 1)
        v = minkowski_sum(v, frozenset((-i, j) for i in range(own, up + 1) for j in columns))
        h = minkowski_sum(h, frozenset((0, -j) for j in range(own, before + 1))) | v
    return Window(h)


def _shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` ints that differ by at most 1, the larger ones first."""
    return [total // parts + (k < total % parts) for k in range(parts)]
