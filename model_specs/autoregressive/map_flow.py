"""Config and order of the autoregressive flow over maps, for both panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from model_specs.autoregressive.flow import check_hidden_layers, made_degrees
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import check_effects, conditional
from model_specs.common.fields import check_positive_int

MAP_WINDOW = Window.raster(3)
"""The pixels before a pixel that each layer of a step reads, or, turned by 180 degrees, those after
it. The paper does not say how large its kernels are."""


class MapOrder(NamedTuple):
    """Raster order over (pixel, channel): pixels row by row, and the channels of each in turn.

    In a flat code of C maps of h x w pixels, in the order (C, h, w), it is the order of dimensions

        c h w + i w + j,    i slowest, then j, then c

    >>> MapOrder(2, 1, 3).dimensions
    (0, 3, 1, 4, 2, 5)
    >>> MapOrder(2, 1, 3, backwards=True).dimensions
    (5, 2, 4, 1, 3, 0)
    """

    channels: int
    """The code has C = channels maps."""
    height: int
    """Each map has h = height rows."""
    width: int
    """Each map has w = width columns."""
    backwards: bool = False
    """If True, the order is reversed: the last channel of the last pixel is first."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        return self.channels, self.height, self.width

    @property
    def of_channels(self) -> tuple[int, ...]:
        """The order of the channels of one pixel."""
        return tuple(range(self.channels))[:: self._step]

    @property
    def of_pixels(self) -> list[tuple[int, int]]:
        """The order of the pixels, (row, column) each."""
        pixels = [(i, j) for i in range(self.height) for j in range(self.width)]
        return pixels[:: self._step]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The order of the dimensions of a flat code."""
        _, h, w = self.shape
        return tuple((c * h + i) * w + j for i, j in self.of_pixels for c in self.of_channels)

    @property
    def taps(self) -> list[tuple[int, int]]:
        """(row, column) in the kernel of each pixel before the middle one, or after it."""
        kernel = MAP_WINDOW.mask("A")[:: self._step]
        rows = [row[:: self._step] for row in kernel]
        return [(i, j) for i, row in enumerate(rows) for j, reads in enumerate(row) if reads]

    @property
    def _step(self) -> int:
        return -1 if self.backwards else 1


@dataclass(frozen=True)
class MapFlowConfig:
    """A stack of autoregressive steps between z and eps ~ N(0, I), both flat codes of C maps.

    The defaults are the AF prior of Chen et al. (2016, arXiv 1611.02731) for CIFAR-10; they do not
    say if its steps also scale.

    Raises: ValueError that names the field, its value and what is allowed.
    """

    channels: int = 16
    """The code z has C = channels maps."""
    height: int = 8
    """Each map has h = height rows."""
    width: int = 8
    """Each map has w = width columns."""
    hidden_dim: int = 128
    """Each hidden layer has hidden_dim maps."""
    hidden_layers: int = 2
    """The network of each step has 1 to 4 hidden layers."""
    steps: int = 6
    """The flow has S = steps steps."""
    mean_only: bool = True
    """If True, sigma = 1, so that volume is preserved."""
    reverse: bool = conditional(True, steps=lambda config: config.steps > 1)
    """If True, every other step takes the dimensions in reverse order."""

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "hidden_dim", "steps"):
            check_positive_int(name, getattr(self, name))
        check_hidden_layers(self.hidden_layers)
        for name in ("mean_only", "reverse"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, takes True or False")
        check_effects(self)

    @property
    def dim(self) -> int:
        """D = C h w, the number of dimensions of z."""
        return self.channels * self.height * self.width

    @property
    def orders(self) -> list[MapOrder]:
        """The order of the dimensions in each step."""
        shape = self.channels, self.height, self.width
        return [MapOrder(*shape, self.reverse and k % 2 == 1) for k in range(self.steps)]


def map_degrees(
    order: MapOrder, hidden_dim: int, hidden_layers: int, outputs: int = 1
) -> list[tuple[int, ...]]:
    """The degree of every map, layer by layer, inputs first.

    A map of degree m depends at each pixel on the pixels before it, and on the first m channels of
    the pixel itself. Inputs and outputs have the degrees of `made_degrees`, and

        hidden      ceil((k + 1) C / F) - 1, k = 0 ... F - 1, F = hidden_dim: ascending, evenly
                    distributed

    Unlike in a MADE, degree 0 is of use: the first channel depends on the pixels before through it.
    With fewer hidden maps than channels, some channels see less than all dimensions before them.
    Raises: ValueError as `made_degrees`.
    """
    inputs, *_, last = made_degrees(order.of_channels, hidden_dim, hidden_layers, outputs)
    hidden = tuple(-(-(k + 1) * order.channels // hidden_dim) - 1 for k in range(hidden_dim))
    return [inputs, *[hidden] * hidden_layers, last]
