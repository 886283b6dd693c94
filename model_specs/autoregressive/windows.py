"""Windows of pixels that masked convolutions read, for both panels.

Pixels are in raster order: rows from the top, each from its left. A window is drawn around the
pixel @ in the middle of the kernel; # marks its pixels:

    raster(5)     raster((3, 5))   local(4, 2)   local(5, 2)   local(2, 1)   local(3, 0)

    # # # # #                      # # # # .     # # # # #
    # # # # #     # # # # #        # # # # .     # # # # #     # # .
    # # @ . .     # # @ . .        # # @ . .     # # @ . .     # @ .         # @ .
    . . . . .     . . . . .        . . . . .     . . . . .     . . .
    . . . . .                      . . . . .     . . . . .

A mask of type A is 1 at each #; one of type B at @ as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from model_specs.common.fields import check_choice, check_positive_int

Offset = tuple[int, int]
"""(rows down, columns to the right), relative to the pixel itself."""
Mask = tuple[tuple[bool, ...], ...]
"""(kH, kW), True where the kernel reads."""
MASK_TYPES = ("A", "B")
"""A excludes the pixel itself, for the layer that reads the image. B includes it."""
ITSELF = (0, 0)


@dataclass(frozen=True)
class Window:
    """The pixels before a pixel that a layer reads: a set of offsets, or `raster`, or `local`.

    Raises: ValueError for an offset that comes after the pixel itself.
    """

    offsets: frozenset[Offset]
    """Offsets up to (0, 0), the pixel itself; a window with (0, 0) has no mask of type A."""

    def __post_init__(self) -> None:
        if not isinstance(self.offsets, frozenset):
            raise ValueError(f"offsets: got {type(self.offsets).__name__}, takes a frozenset")
        for offset in self.offsets:
            pair = isinstance(offset, tuple) and [type(n) for n in offset] == [int, int]
            if not pair or offset > ITSELF:
                raise ValueError(
                    f"offsets: got {offset!r}, takes pairs (rows down, columns right) up to (0, 0) "
                    "in raster order"
                )

    @classmethod
    def raster(cls, kernel_size: int | tuple[int, int]) -> Self:
        """All pixels before the pixel in a kernel of odd sides (kH, kW).

        Several such layers miss a wedge at the upper right: the blind spot (van den Oord et al.
        2016, arXiv 1606.05328, figure 1). The two stacks of StackedConv2d have no blind spot.
        Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4.
        Raises: ValueError for an even kernel, or one without a pixel.
        """
        up, side = _reach(kernel_size)
        return cls(_block(up, side, side) | _left(side))

    @classmethod
    def local(cls, width: int, rows: int) -> Self:
        """The block of `width` columns and `rows` rows directly above the pixel, and the
        ceil((width - 1) / 2) pixels to its left; the block starts in the same column.

        Source: Chen et al. (2016), arXiv 1611.02731, whose A x B is local(A, B). That A is the
        width follows from their layers: k vertical ones of PixelCNN++'s 2 rows x 3 columns see
        k + 1 rows of 2 k + 1, and their 5 x 3 is k = 2, their 7 x 4 is k = 3. They do not
        say where the block of an even width lies; here it is one column further to the left.
        Raises: ValueError unless both are ints, width >= 1 and rows >= 0.
        """
        check_positive_int("width", width)
        if type(rows) is not int or rows < 0:
            raise ValueError(f"rows: got {rows!r}, takes an int >= 0")
        left = width // 2  # ceil((width - 1) / 2)
        return cls(_block(rows, left, width - 1 - left) | _left(left))

    @property
    def kernel_size(self) -> tuple[int, int]:
        """(kH, kW), odd: the smallest kernel around the pixel that holds the window."""
        up = max((-i for i, _ in self.offsets), default=0)
        side = max((abs(j) for _, j in self.offsets), default=0)
        return 2 * up + 1, 2 * side + 1

    def __str__(self) -> str:
        """The window as the module draws it."""
        rows = self.mask("B")
        signs = [["#" if readable else "." for readable in row] for row in rows]
        signs[len(rows) // 2][len(rows[0]) // 2] = "@"
        return "\n".join(" ".join(row) for row in signs)

    def read_offsets(self, mask_type: str) -> frozenset[Offset]:
        """The offsets that a mask type reads: the window, and for type B the pixel itself.

        Raises: ValueError for type A if the window has the pixel itself or is empty.
        """
        check_choice("mask_type", mask_type, MASK_TYPES)
        if mask_type == "A" and ITSELF in self.offsets:
            raise ValueError("window: got the pixel itself in it, type A takes a window without it")
        offsets = self.offsets if mask_type == "A" else self.offsets | {ITSELF}
        if not offsets:
            raise ValueError("window: got an empty one, type A takes at least one pixel")
        return offsets

    def mask(self, mask_type: str) -> Mask:
        """The window's mask (kH, kW) of a mask type.   Raises: ValueError as `read_offsets`."""
        offsets = self.read_offsets(mask_type)
        up, side = (n // 2 for n in self.kernel_size)
        return tuple(
            tuple((i, j) in offsets for j in range(-side, side + 1)) for i in range(-up, up + 1)
        )


def channel_masks(
    window: Window, mask_type: str, in_channels: int, free_channels: int
) -> tuple[Mask, ...]:
    """(I, kH, kW): the window's mask for each image channel, a full mask for each free channel.

    Raises: ValueError as `Window.mask`, for impossible sizes, and if no channel is masked.
    """
    if not isinstance(window, Window):
        raise ValueError(f"window: got {window!r}, takes a Window")
    check_positive_int("in_channels", in_channels)
    if type(free_channels) is not int or not 0 <= free_channels < in_channels:
        raise ValueError(
            f"free_channels: got {free_channels!r}, takes an int in [0, {in_channels}): fewer than "
            "in_channels"
        )
    mask = window.mask(mask_type)
    free = tuple((True,) * len(row) for row in mask)
    return (mask,) * (in_channels - free_channels) + (free,) * free_channels


def stacked_reach(kernel_size: int | tuple[int, int], mask_type: str) -> tuple[int, int]:
    """(rows up, columns to either side) that a layer of two stacks reads.

    Raises: ValueError for an even or empty kernel, and for one of type A of less than 3 x 3, which
    has no pixel above or no pixel to the left.
    """
    check_choice("mask_type", mask_type, MASK_TYPES)
    up, side = _reach(kernel_size)
    if mask_type == "A" and 0 in (up, side):
        raise ValueError(f"kernel_size: got {kernel_size!r}, type A takes at least 3 x 3")
    return up, side


def _reach(kernel_size: int | tuple[int, int]) -> tuple[int, int]:
    """(kH // 2, kW // 2) of a kernel of odd sides.   Raises: ValueError for any other kernel."""
    sides = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    if len(sides) != 2 or not all(type(n) is int and n > 0 and n % 2 for n in sides):
        raise ValueError(
            f"kernel_size: got {kernel_size!r}, takes an odd int >= 1 or a pair of them"
        )
    return sides[0] // 2, sides[1] // 2


def _block(up: int, left: int, right: int) -> frozenset[Offset]:
    return frozenset((-i, j) for i in range(1, up + 1) for j in range(-left, right + 1))


def _left(reach: int) -> frozenset[Offset]:
    return frozenset((0, -j) for j in range(1, reach + 1))
