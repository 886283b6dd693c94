"""FLOPs and bytes of the pixel decoders of the VLAE: masked and gated convolutions, 1 x 1 blocks.

A masked layer of type B over a 3 x 3 window has 5 of 9 taps, one of type A 4, and 9 for the context
maps; dense kernels multiply all 9. The gradient of the image, which is data, is not needed, but a
dense kernel computes it along with that of the context maps.
"""

from __future__ import annotations

from collections.abc import Callable

from diptych.bench.costs.layers import Pair, conv2d, weight_normalised
from diptych.bench.costs.part import Part, elementwise
from model_specs.autoregressive.gated_layers import Reach, gated_reaches
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE, channels_read, layout
from model_specs.autoregressive.windows import Window, channel_masks, stacked_reach
from model_specs.vlae import VLAEConfig


def pixels(config: VLAEConfig, N: int) -> list[Part]:
    """The parts of the decoder p(x|maps) of `config.context`."""
    return DECODERS[config.context](config, N)


def _factorised(c: VLAEConfig, N: int) -> list[Part]:
    first = _pointwise(c, N, c.context_maps, c.decoder_maps)
    return [*first, *_body(c, N), *_last(c, N)]


def _pixel_cnn(c: VLAEConfig, N: int) -> list[Part]:
    M = c.maps_read
    first = _masked(c, N, channels_read(c) + M, c.window, "A", M, grad_channels=M)
    return [*first, *_body(c, N), *_last(c, N)]


def _stacks(c: VLAEConfig, N: int) -> list[Part]:
    C, M, values = c.decoder_maps, c.maps_read, N * c.decoder_maps * c.height * c.width

    def masked() -> list[Part]:
        return [
            elementwise("ELU", 2 * values),
            *_stacked_layer(c, N, C, "B", 0, None),
            elementwise("residual", 2 * values, 2),
        ]

    blocks = layout(c, masked, lambda: _flat(c, N))
    first = _stacked_layer(c, N, channels_read(c) + M, "A", M, M)
    return [*first, *(part for block in blocks for part in block), *_last(c, N)]


def _gated(c: VLAEConfig, N: int) -> list[Part]:
    first, *rest = gated_reaches(c.window_width, c.window_rows, c.decoder_blocks)
    blocks = [part for reach in rest for part in _gated_block(c, N, reach)]
    return [*_gated_input(c, N, first), *blocks, *_last(c, N)]


def _gated_input(c: VLAEConfig, N: int, reach: Reach) -> list[Part]:
    """The layer that reads the image and a channel of ones, which are data."""
    C, inputs = c.decoder_maps, channels_read(c) + 1
    up, left, right, before = reach
    vertical = _shifted(c, N, "vertical", inputs, (up, left + 1 + right), (up, left), data=True)
    horizontal: list[Part] = []
    if before:
        horizontal = _shifted(c, N, "horizontal", inputs, (1, before), (0, before), data=True)
    return [*vertical, *_pointwise(c, N, C, C), *horizontal]


def _gated_block(c: VLAEConfig, N: int, reach: Reach) -> list[Part]:
    C, M, values = c.decoder_maps, c.maps_read, N * c.decoder_maps * c.height * c.width
    up, left, right, before = reach
    concat_elu = Part("concatenated ELU", values, 2 * values)

    def residual(stack: str, kernel: Pair, padding: Pair) -> list[Part]:
        return [
            concat_elu,
            *_shifted(c, N, stack, 2 * C, kernel, padding),
            concat_elu,
            *_pointwise(c, N, 2 * C, 2 * C),
            *(_pointwise(c, N, M, 2 * C) if M else []),
            Part("gate", 2 * values, values),
            elementwise("residual", values, 2),
        ]

    return [
        *residual("vertical", (up + 1, left + 1 + right), (up, left)),
        concat_elu,
        *_pointwise(c, N, 2 * C, C),
        *residual("horizontal", (1, before + 1), (0, before)),
    ]


DECODERS: dict[str, Callable[[VLAEConfig, int], list[Part]]] = {
    "none": _factorised,
    "local": _pixel_cnn,
    "raster": _pixel_cnn,
    "stacks": _stacks,
    "gated": _gated,
}


def _body(c: VLAEConfig, N: int) -> list[Part]:
    """Residual blocks of one masked convolution each, and of two 1 x 1 convolutions."""
    C, values = c.decoder_maps, N * c.decoder_maps * c.height * c.width

    def masked() -> list[Part]:
        return [
            elementwise("ELU", values),
            *_masked(c, N, C, c.inner_window, "B", 0),
            elementwise("residual", values, 2),
        ]

    blocks = layout(c, masked, lambda: _flat(c, N))
    return [part for block in blocks for part in block]


def _flat(c: VLAEConfig, N: int) -> list[Part]:
    C, values = c.decoder_maps, N * c.decoder_maps * c.height * c.width
    branch = [
        part for _ in range(2) for part in (elementwise("ELU", values), *_pointwise(c, N, C, C))
    ]
    return [*branch, elementwise("residual", values, 2)]


def _last(c: VLAEConfig, N: int) -> list[Part]:
    values = N * c.decoder_maps * c.height * c.width
    return [elementwise("ELU", values), *_pointwise(c, N, c.decoder_maps, c.outputs)]


def _pointwise(
    c: VLAEConfig, N: int, inputs: int, outputs: int, *, bias: bool = True
) -> list[Part]:
    part = conv2d(
        f"1 x 1 convolution {inputs} -> {outputs}",
        N,
        (inputs, outputs),
        (1, 1),
        _size(c),
        padding=(0, 0),
        bias=bias,
    )
    return [*weight_normalised(part, outputs)]


def _masked(
    c: VLAEConfig,
    N: int,
    inputs: int,
    window: Window,
    mask_type: str,
    free: int,
    grad_channels: int | None = None,
) -> list[Part]:
    """A masked convolution to decoder_maps channels, weight-normalised."""
    kH, kW = window.kernel_size
    part = conv2d(
        f"masked convolution {mask_type}",
        N,
        (inputs, c.decoder_maps),
        (kH, kW),
        _size(c),
        padding=(kH // 2, kW // 2),
        mask=channel_masks(window, mask_type, inputs, free),
        grad_channels=grad_channels,
    )
    return [*weight_normalised(part, c.decoder_maps)]


def _shifted(
    c: VLAEConfig,
    N: int,
    stack: str,
    inputs: int,
    kernel: Pair,
    padding: Pair,
    *,
    data: bool = False,
) -> list[Part]:
    """A convolution of the gated PixelCNN, of whose output only the image's size is read."""
    part = conv2d(
        f"{stack} convolution of {kernel[0]} x {kernel[1]}",
        N,
        (inputs, c.decoder_maps),
        kernel,
        _size(c),
        padding=padding,
        rows=c.height,
        columns=c.width,
        grad_channels=0 if data else None,
    )
    return [*weight_normalised(part, c.decoder_maps)]


def _stacked_layer(
    c: VLAEConfig, N: int, inputs: int, mask_type: str, free: int, grad_channels: int | None
) -> list[Part]:
    """The vertical convolution, of whose output the last rows are dropped; the horizontal one; and
    the 1 x 1 link between them."""
    C = c.decoder_maps
    up, side = stacked_reach(KERNEL_SIZE, mask_type)
    kernel = (up if mask_type == "A" else up + 1, 2 * side + 1)
    vertical = conv2d(
        f"vertical convolution {mask_type}",
        N,
        (inputs, C),
        kernel,
        _size(c),
        padding=(up, side),
        rows=c.height,
        grad_channels=grad_channels,
    )
    row = Window.raster((1, kernel[1]))
    return [
        *weight_normalised(vertical, C),
        *_masked(c, N, inputs, row, mask_type, free, grad_channels),
        *_pointwise(c, N, C, C, bias=False),
    ]


def _size(c: VLAEConfig) -> Pair:
    return c.height, c.width
