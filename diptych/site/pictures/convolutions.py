"""The picture of a convolution: which pixels an output reads, and which outputs read a pixel."""

from __future__ import annotations

from itertools import product

import numpy as np
from markupsafe import Markup

from diptych.site.pictures.picture import (
    Picture,
    controls,
    join,
    path,
    picture_text,
    scroller,
    slider,
    svg,
    tag,
    text,
)
from model_specs.conv_vae import ConvVAEConfig
from numpy_ref.conv_vae import ConvVAE
from numpy_ref.nn.convolution import conv2d, conv_transpose2d

SIZE, CELL, GAP, TOP = 10, 23.0, 84.0, 24.0
KERNELS, STRIDES, PADDINGS = (1, 2, 3, 4, 5), (1, 2, 3), (0, 1, 2)
FIRST_OUTPUT = (2, 2)

Geometry = tuple[int, int, int]
"""(kernel, stride, padding)"""
Interval = tuple[int, int]
"""(first, last) input that an output reads along one axis; last < first if it reads padding only"""


def reads(geometry: Geometry) -> np.ndarray:
    """The Jacobian (OH, OW, H, W) of `conv2d` with a kernel of ones, by its vjp.

    A batch of equal images gets the cotangent of another output for each image.
    Raises: ValueError if the Jacobian of `conv_transpose2d` of the same geometry is not its
    transpose.
    """
    kernel, stride, padding = geometry
    weight = np.ones((1, 1, kernel, kernel))
    settings = (stride, stride), (padding, padding)
    side = conv2d(np.zeros((1, 1, SIZE, SIZE)), weight, None, *settings)[0].shape[-1]
    count = side * side
    _, vjp = conv2d(np.zeros((count, 1, SIZE, SIZE)), weight, None, *settings)
    jacobian = vjp(np.eye(count).reshape(count, 1, side, side))[0][:, 0]
    rest = SIZE - ((side - 1) * stride - 2 * padding + kernel)
    images = np.eye(count).reshape(count, 1, side, side)
    transposed, _ = conv_transpose2d(images, weight, None, *settings, (rest, rest))
    if not np.array_equal(transposed[:, 0], jacobian):
        raise ValueError(f"geometry: got {geometry}, whose transposed convolution is no transpose")
    return np.asarray(jacobian.reshape(side, side, SIZE, SIZE))


def intervals(jacobian: np.ndarray) -> list[Interval]:
    """The inputs that each output reads along one axis.

    Raises: ValueError if the Jacobian is not a product of one pattern for rows and for columns.
    """
    is_read = jacobian != 0
    rows, columns = is_read.max((1, 3)), is_read.max((0, 2))
    pattern = np.einsum("ik,jl->ijkl", rows, columns)
    if not (np.array_equal(pattern, is_read) and np.array_equal(rows, columns)):
        raise ValueError("jacobian: got one that differs for rows and columns")
    result = []
    for row in rows:
        places = np.flatnonzero(row)
        result.append((int(places[0]), int(places[-1])) if len(places) else (0, -1))
    return result


def convolution() -> Picture:
    """The pixels of a convolution, with sliders for its geometry."""
    layer = next(iter(ConvVAE(ConvVAEConfig(image_size=16, base_channels=1)).encoder))
    first = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    choices = product(KERNELS, STRIDES, PADDINGS)
    data = {geometry: intervals(reads(geometry)) for geometry in choices}
    html = controls(
        slider("kernel", "Kernel", _sides(KERNELS), KERNELS.index(first[0])),
        slider("stride", "Stride", list(map(str, STRIDES)), STRIDES.index(first[1])),
        slider("padding", "Padding", list(map(str, PADDINGS)), PADDINGS.index(first[2])),
    )
    html += scroller(_drawing(data[first]), "Input and output of a convolution")
    row, column = FIRST_OUTPUT
    lo, hi = data[first][row]
    html += picture_text(
        f"Output ({row + 1}, {column + 1}) reads {(hi - lo + 1) ** 2} input pixels.", live=True
    )
    caption = Markup(
        "A convolution of an image of {size} × {size}. Move the mouse over an output to see the "
        "pixels that it reads, or over a pixel to see the outputs that read it; the arrow keys do "
        "the same. The darker a pixel, the more outputs read it: if the stride does not divide "
        "the kernel, neighbours are read unequally often, and a transposed convolution, which "
        "follows the same lines from right to left, paints a checkerboard. The sliders begin at "
        "the geometry of the convolutional VAE: kernel {k}, stride {s}, padding {p}. All {count} "
        "geometries were measured by the vjp of <code>conv2d</code>, and each Jacobian of "
        "<code>conv_transpose2d</code> is the transpose."
    ).format(size=SIZE, k=first[0], s=first[1], p=first[2], count=len(data))
    numbers = {
        "size": SIZE,
        "cell": CELL,
        "gap": GAP,
        "top": TOP,
        "output": FIRST_OUTPUT,
        "settings": {"kernel": KERNELS, "stride": STRIDES, "padding": PADDINGS},
        "reads": {",".join(map(str, geometry)): data[geometry] for geometry in data},
    }
    return Picture("convolution", "What a convolution reads", caption, html, numbers)


def _sides(kernels: tuple[int, ...]) -> list[str]:
    return [f"{kernel} × {kernel}" for kernel in kernels]


def _drawing(reads: list[Interval]) -> Markup:
    """The image on the left, the output on the right, as the script draws them."""
    row, column = FIRST_OUTPUT
    start = SIZE * CELL + GAP
    counts = [sum(lo <= i <= hi for lo, hi in reads) for i in range(SIZE)]
    largest = max(counts) ** 2
    places = list(product(range(SIZE), range(SIZE)))
    shades = [
        path(
            _cells([p for p in places if counts[p[0]] * counts[p[1]] == count], 0),
            class_="count",
            fill_opacity=0.1 + 0.55 * count / largest,
        )
        for count in sorted({a * b for a, b in product(counts, counts)})
    ]
    inside = [range(reads[n][0], reads[n][1] + 1) for n in (row, column)]
    outputs = list(product(range(len(reads)), range(len(reads))))
    parts = [
        text(0, 14, "input"),
        text(start, 14, "output"),
        tag("g", *shades, class_="counts"),
        path(_cells(outputs, start), class_="outputs"),
        path(_block(inside), class_="chosen inputs-chosen"),
        path(_cells([FIRST_OUTPUT], start), class_="chosen outputs-chosen"),
        path(_lines(inside, start), class_="window-lines"),
    ]
    label = "Input and output of a convolution. The arrow keys choose an output."
    options = {"role": "application", "tabindex": 0, "class_": "drawing convolution"}
    return svg(start + SIZE * CELL, TOP + SIZE * CELL + 2, join(parts), label=label, **options)


def _block(inside: list[range]) -> str:
    """The outline of the pixels in these rows and columns."""
    height, width = (len(places) * CELL - 1 for places in inside)
    y, x = (places.start * CELL + 0.5 for places in inside)
    return f"M{x:g} {TOP + y:g}h{width:g}v{height:g}h-{width:g}z"


def _lines(inside: list[range], start: float) -> str:
    """Two lines from the corners of the window to those of the output."""
    row, column = FIRST_OUTPUT
    right = (inside[1].stop) * CELL - 1
    x = start + column * CELL + 1
    ends = ((inside[0].start, row), (inside[0].stop, row + 1))
    return "".join(
        f"M{right:g} {TOP + a * CELL + (1 if a == inside[0].start else -1):g}"
        f"L{x:g} {TOP + b * CELL + (1 if b == row else -1):g}"
        for a, b in ends
    )


def _cells(places: list[tuple[int, int]], x: float) -> str:
    size = CELL - 2
    return "".join(
        f"M{x + j * CELL + 1:g} {TOP + i * CELL + 1:g}h{size:g}v{size:g}h-{size:g}z"
        for i, j in places
    )
