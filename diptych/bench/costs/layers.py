"""Products of linear layers and convolutions, with masks and with weight normalisation.

Shapes: N rows or images; I inputs and O outputs of a layer; a kernel has kH x kW taps.
"""

from __future__ import annotations

from collections.abc import Sequence

from diptych.bench.costs.part import Part, Products, elementwise

Pair = tuple[int, int]


def linear(
    name: str,
    rows: int,
    inputs: int,
    outputs: int,
    *,
    input_grad: bool = True,
    unmasked: int | None = None,
) -> Part:
    """y = x W^T + b.   2 N I O FLOPs forward, and 2 N I O each for dW and dx.

    With a mask, the products needed are those of its `unmasked` weights instead of I O. A layer
    whose input is data has no dx.
    """
    dense = 2 * rows * inputs * outputs
    needed = dense if unmasked is None else 2 * rows * unmasked
    size = inputs * outputs + outputs
    return Part(
        name,
        rows * inputs,
        rows * outputs,
        weights=size,
        parameters=size,
        needed=Products(needed, needed * input_grad, needed),
        dense=Products(dense, dense * input_grad, dense),
        differentiable=input_grad,
    )


def taps(kernel: int, stride: int, padding: int, outputs: int, inside: range) -> list[int]:
    """For each tap i of a kernel's axis, the number of outputs o with s o + i - p in `inside`.

    Those outside read the zeros of the padding.

    >>> taps(3, 1, 1, 5, range(5))  # the first tap of the first output lies outside
    [4, 5, 4]
    """
    return [sum(stride * o + i - padding in inside for o in range(outputs)) for i in range(kernel)]


def conv2d(
    name: str,
    images: int,
    channels: Pair,
    kernel: Pair,
    size: Pair,
    *,
    stride: int = 1,
    padding: Pair,
    mask: Sequence[Sequence[Sequence[bool]]] | None = None,
    rows: int | None = None,
    columns: int | None = None,
    bias: bool = True,
    grad_channels: int | None = None,
) -> Part:
    """Convolution of images of `size`: 2 N O sum_cij m[c, i, j] rows(i) columns(j) FLOPs forward.

    rows(i) and columns(j) are the numbers of outputs whose tap (i, j) lies inside the image, and m
    is the mask (I, kH, kW), 1 without one. dW has as many FLOPs, and dx those of the last
    `grad_channels` input channels, the ones that are no data (None: all). Dense kernels have
    2 N O I kH kW OH OW each. If only the first `rows` rows or `columns` columns of the output are
    read, the products needed are theirs.
    """
    (I, O), (kH, kW) = channels, kernel  # noqa: E741
    OH, OW = ((n + 2 * p - k) // stride + 1 for n, p, k in zip(size, padding, kernel, strict=True))
    vertical = taps(kH, stride, padding[0], OH if rows is None else rows, range(size[0]))
    horizontal = taps(kW, stride, padding[1], OW if columns is None else columns, range(size[1]))
    per_channel = [
        sum(
            v * h
            for i, v in enumerate(vertical)
            for j, h in enumerate(horizontal)
            if mask is None or mask[c][i][j]
        )
        for c in range(I)
    ]
    dx_channels = I if grad_channels is None else grad_channels
    needed = 2 * images * O * sum(per_channel)
    dense = 2 * images * O * I * kH * kW * OH * OW
    needed_dx = 2 * images * O * sum(per_channel[I - dx_channels :])
    weights = O * I * kH * kW + O * bias
    return Part(
        name,
        images * I * size[0] * size[1],
        images * O * OH * OW,
        weights=weights,
        parameters=weights,
        needed=Products(needed, needed_dx, needed),
        dense=Products(dense, dense if dx_channels else 0, dense),
        differentiable=dx_channels > 0,
    )


def conv_transpose2d(
    name: str,
    images: int,
    channels: Pair,
    kernel: int,
    size: Pair,
    large: Pair,
    *,
    stride: int,
    padding: int,
    window: tuple[range, range] | None = None,
    bias: bool = True,
) -> Part:
    """Transposed convolution from images of `size` to images of `large`.

    It has 2 N I O sum_i rows(i) sum_j columns(j) FLOPs forward, and as many each for dx and dw:
    rows(i) is the number of input rows whose tap i falls inside the output. If only a `window` of
    the output is read, taps that fall outside it are not needed. Dense kernels have
    2 N I O kH kW H W each.
    """
    I, O = channels  # noqa: E741
    inside = (range(large[0]), range(large[1])) if window is None else window
    vertical, horizontal = (
        sum(taps(kernel, stride, padding, n, axis)) for n, axis in zip(size, inside, strict=True)
    )
    needed = 2 * images * I * O * vertical * horizontal
    dense = 2 * images * I * O * kernel**2 * size[0] * size[1]
    weights = I * O * kernel**2 + O * bias
    return Part(
        name,
        images * I * size[0] * size[1],
        images * O * large[0] * large[1],
        weights=weights,
        parameters=weights,
        needed=Products(needed, needed, needed),
        dense=Products(dense, dense, dense),
    )


def weight_normalised(part: Part, outputs: int) -> tuple[Part, Part]:
    """The layer with w = g v / |v|: one more parameter g for each output, and w computed from v."""
    weight = part.weights
    normalised = Part(f"{part.name}, weight norm", weight, weight, parameters=weight + outputs)
    layer = Part(
        part.name,
        part.inputs,
        part.outputs,
        weights=weight,
        needed=part.needed,
        dense=part.dense,
        differentiable=part.differentiable,
    )
    return normalised, layer


def batch_norm(name: str, values: int, channels: int) -> Part:
    """Batch normalisation: its input is read for the statistics and again for the output."""
    part = elementwise(name, values, 2)
    return Part(name, part.inputs, part.outputs, parameters=2 * channels)
