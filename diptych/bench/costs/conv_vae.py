"""FLOPs and bytes of the convolutional VAE.

A dense convolution of kernel 4 and stride 2 from a to b channels, from images of S x S pixels, has
2 N a b 16 (S / 2)^2 FLOPs; so has the transposed one back. Taps on the padding are zeros: of each
side's 4 (S / 2) taps, 2 are. The linear layers, of F features and Z latents, have 3 x 2 N F Z. The
backward pass has twice as many, less the gradient of x, which is data.
"""

from __future__ import annotations

from diptych.bench.costs.layers import batch_norm, conv2d, conv_transpose2d, linear
from diptych.bench.costs.part import ADAM, Part, Work, elementwise
from model_specs.conv_vae import STRIDES, ConvVAEConfig

KERNEL, STRIDE, PADDING = 4, 2, 1


def work(config: ConvVAEConfig, batch_size: int) -> Work:
    """The work of one step on x (N, C, S, S) and eps (N, Z), with Adam."""
    c, N = config, batch_size
    F, Z = c.features, c.latent_dim
    rows, columns = c.window
    inside = N * (rows.stop - rows.start) * (columns.stop - columns.start)  # pixels
    parts = (
        *(part for i in range(STRIDES) for part in _down(c, N, i)),
        linear("mu", N, F, Z),
        linear("logvar", N, F, Z),
        elementwise("z", N * Z, 3),
        linear("decoder input", N, Z, F),
        *(part for i in reversed(range(STRIDES)) for part in _up(c, N, i)),
        Part("output and error", inside * (c.outputs + c.in_channels), inside * c.in_channels),
        elementwise("KL", N * Z, 2),
    )
    pixels = N * c.in_channels * c.image_size**2
    return Work(parts, data=pixels + N * Z, optimizer=ADAM)


def _down(config: ConvVAEConfig, N: int, i: int) -> list[Part]:
    """Convolution i of the encoder with its normalisation and ReLU."""
    first, (a, b), side = i == 0, config.channels[i : i + 2], config.image_size // 2**i
    conv = conv2d(
        f"convolution {i}",
        N,
        (a, b),
        (KERNEL, KERNEL),
        (side, side),
        stride=STRIDE,
        padding=(PADDING, PADDING),
        bias=first,
        grad_channels=0 if first else None,
    )
    norm = [] if first else [batch_norm(f"batch norm {i}", conv.outputs, b)]
    return [conv, *norm, elementwise("ReLU", conv.outputs)]


def _up(config: ConvVAEConfig, N: int, i: int) -> list[Part]:
    """The transposed convolution of the decoder that mirrors convolution i of the encoder."""
    last, (b, a), side = i == 0, config.channels[i : i + 2], config.image_size // 2**i
    b = config.outputs if last else b
    rows, columns = config.window
    conv = conv_transpose2d(
        f"transposed convolution {i}",
        N,
        (a, b),
        KERNEL,
        (side // 2, side // 2),
        (side, side),
        stride=STRIDE,
        padding=PADDING,
        bias=last,
        window=(range(rows.start, rows.stop), range(columns.start, columns.stop)) if last else None,
    )
    if last:
        return [conv]
    return [
        conv,
        batch_norm(f"batch norm {i}, up", conv.outputs, b),
        elementwise("ReLU", conv.outputs),
    ]
