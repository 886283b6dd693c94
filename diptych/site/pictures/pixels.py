"""The picture of masked convolutions: the pixels that a pixel reads, through one to six layers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from markupsafe import Markup

from diptych.lab.windows import WINDOWS
from diptych.site.pictures.picture import (
    Picture,
    controls,
    join,
    path,
    picture_text,
    rect,
    scroller,
    slider,
    svg,
    switch,
    text,
)
from model_specs.autoregressive.pixel_layers import KERNEL_SIZE
from model_specs.autoregressive.receptive_field import receptive_field, stacked_receptive_field
from model_specs.autoregressive.windows import Offset
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn import random
from numpy_ref.nn.init import init_weight_v
from numpy_ref.vlae import PIXEL_DECODERS

HEIGHT, WIDTH, DEPTHS = 11, 17, range(1, 7)
FIRST = (8, 8)
"""The pixel that is drawn first: row, column"""
CELL = 25.0
SMALL: dict[str, Any] = {"maps": 1, "hidden_dim": 2, "latent_dim": 1, "latent": "gaussian"}
SMALL |= {"context_maps": 1, "decoder_maps": 2}
CONTEXTS: dict[str, dict[str, Any]] = {**WINDOWS, "two stacks": {"context": "stacks"}}


def config_of(context: str, depth: int) -> VLAEConfig:
    """A small VLAE whose decoder has this context and number of masked layers."""
    fields = {"height": HEIGHT, "width": WIDTH, "masked_layers": depth}
    return VLAEConfig(**fields | SMALL | CONTEXTS[context])


def field_of(config: VLAEConfig) -> frozenset[Offset]:
    """The offsets that a pixel reads, by model_specs.autoregressive."""
    if config.context == "none":
        return frozenset()
    inner = config.masked_layers - 1
    if config.context == "stacks":
        layers = [(KERNEL_SIZE, "A"), *[(KERNEL_SIZE, "B")] * inner]
        return stacked_receptive_field(layers).offsets
    return receptive_field([(config.window, "A"), *[(config.inner_window, "B")] * inner]).offsets


def pixels_read(config: VLAEConfig) -> np.ndarray:
    """True at [i, j] where the logit of pixel i depends on pixel j: (H W, H W).

    This is where the Jacobian of the pixel decoder is not 0, by its vjp, with random weights: a
    batch of H W equal images, and for each image the cotangent of another logit.
    """
    count, shape = config.height * config.width, (1, config.height, config.width)
    decoder = PIXEL_DECODERS[config.context](config)
    init_weight_v(decoder, Key(0))
    x = np.repeat(np.round(random.uniform(Key(1), (1, *shape))), count, axis=0)
    maps = np.repeat(random.normal(Key(2), (1, config.context_maps, *shape[1:])), count, axis=0)
    _, vjp = decoder(x, maps)
    dx, _ = vjp(np.eye(count).reshape(count, *shape))
    return np.asarray(dx.reshape(count, count) != 0)


def pixels_in_field(offsets: Iterable[Offset]) -> np.ndarray:
    """True at [i, j] where pixel j lies in the field of pixel i, within the image: (H W, H W)."""
    result = np.zeros((HEIGHT, WIDTH, HEIGHT, WIDTH), bool)
    for down, right in offsets:
        for row in range(max(0, -down), HEIGHT):
            for column in range(max(0, -right), min(WIDTH, WIDTH - right)):
                result[row, column, row + down, column + right] = True
    return result.reshape(HEIGHT * WIDTH, HEIGHT * WIDTH)


@cache
def depths_of(context: str) -> dict[Offset, int]:
    """The number of layers from which on a pixel reads each offset, checked on real networks.

    Raises: ValueError where a network reads other pixels than its receptive field has.
    """
    depths: dict[Offset, int] = {}
    for depth in DEPTHS:
        config = config_of(context, depth)
        offsets = field_of(config)
        read, expected = pixels_read(config), pixels_in_field(offsets)
        if not np.array_equal(read, expected):
            differ = int((read != expected).sum())
            raise ValueError(
                f"{context}, {depth} layers: the network's Jacobian and its receptive field "
                f"differ in {differ} of {read.size} pairs of pixels"
            )
        for offset in offsets:
            depths.setdefault(offset, depth)
    return depths


def receptive_fields(contexts: list[str]) -> Picture:
    """The pixels that a pixel under the mouse or the keys reads, for each context."""
    fields = {context: depths_of(context) for context in contexts}
    choices = [(context, context) for context in contexts]
    texts = [f"{depth} layer{'s' if depth > 1 else ''}" for depth in DEPTHS]
    control = [switch("context", "Context", choices)] if len(contexts) > 1 else []
    control.append(slider("depth", "Masked layers", texts, len(DEPTHS) - 1))
    first = fields[contexts[0]]
    drawing = scroller(_drawing(first), "Image whose pixels read earlier pixels")
    sentence = picture_text(_sentence(first), live=True)
    checked = len(contexts) * len(DEPTHS)
    caption = Markup(
        "The pixels of an image of {height} × {width} that the logit of one pixel depends on. Move "
        "the mouse over the image, or focus it and press the arrow keys. The darker a pixel, the "
        "fewer layers it takes to reach it. Pixels in outline come earlier in raster order but are "
        "not read; those to the right and below come later and must not be read. The fields are "
        "those of <code>model_specs.autoregressive.receptive_field</code>. When the page was "
        "built they were compared with {checked} networks with random weights: the Jacobian of all "
        "logits with respect to all pixels, {entries} numbers each, is non-zero in exactly these "
        "places."
    ).format(height=HEIGHT, width=WIDTH, checked=checked, entries=f"{(HEIGHT * WIDTH) ** 2:,}")
    data = {
        "height": HEIGHT,
        "width": WIDTH,
        "cell": CELL,
        "first": FIRST,
        "fields": {
            context: [[*offset, depth] for offset, depth in sorted(depths.items())]
            for context, depths in fields.items()
        },
    }
    title = "Receptive fields"
    return Picture("fields", title, caption, controls(*control) + drawing + sentence, data)


def _drawing(depths: dict[Offset, int]) -> Markup:
    row, column = FIRST
    width, height = WIDTH * CELL, HEIGHT * CELL
    places = [(i, j) for i in range(HEIGHT) for j in range(WIDTH)]
    before = [p for p in places if p < FIRST and (p[0] - row, p[1] - column) not in depths]
    parts = [path(_cells(places), class_="later"), path(_cells(before), class_="unread")]
    for depth in DEPTHS:
        offsets = [offset for offset, d in depths.items() if d == depth]
        read = [(row + i, column + j) for i, j in offsets]
        parts.append(path(_cells(p for p in read if p in places), class_=f"read depth-{depth}"))
    parts.append(rect(column * CELL + 1, row * CELL + 1, CELL - 2, CELL - 2, rx=3, class_="pixel"))
    label = "The pixels that one pixel reads. The arrow keys move the pixel."
    image = svg(
        width,
        height + 46,
        *parts,
        _legend(height + 26),
        label=label,
        role="application",
        tabindex=0,
        class_="drawing fields",
    )
    return image


def _legend(y: float) -> Markup:
    parts = [
        rect(1, y, 14, 14, rx=2, class_="pixel"),
        text(21, y + 11, "the pixel", class_="faint"),
    ]
    x = 90.0
    for depth in DEPTHS:
        parts.append(rect(x + 15 * (depth - 1), y, 14, 14, class_=f"read depth-{depth}"))
    words = f"read through {DEPTHS[0]} … {DEPTHS[-1]} layers"
    parts.append(text(x + 15 * len(DEPTHS) + 6, y + 11, words, class_="faint"))
    parts.append(rect(350.5, y + 0.5, 13, 13, class_="unread"))
    parts.append(text(370, y + 11, "earlier, not read", class_="faint"))
    return join(parts)


def _cells(places: Iterable[tuple[int, int]]) -> str:
    size = CELL - 2
    return "".join(
        f"M{j * CELL + 1:g} {i * CELL + 1:g}h{size:g}v{size:g}h-{size:g}z" for i, j in places
    )


def _sentence(depths: dict[Offset, int]) -> str:
    row, column = FIRST
    read = sum(0 <= row + i < HEIGHT and 0 <= column + j < WIDTH for i, j in depths)
    before = row * WIDTH + column
    return (
        f"The pixel in row {row + 1}, column {column + 1} reads {read} of the {before} before it."
    )
