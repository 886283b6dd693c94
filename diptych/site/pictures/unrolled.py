"""The picture of a recurrent network unrolled over time, with the masks on its connections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from diptych.arrays import to_numpy
from diptych.site.pictures.links import link
from diptych.site.pictures.picture import (
    Picture,
    controls,
    join,
    panels,
    path,
    picture_text,
    scroller,
    svg,
    switch,
    tag,
    text,
)
from diptych.site.pictures.schemes import LAYERS, MODELS, SOURCES
from model_specs.common.key import Key
from model_specs.recurrent.dropout import SCHEMES, Masks
from numpy_ref.recurrent.network import Recurrent

STEPS = 4
COLUMN, ROW, LEFT, TOP, RADIUS = 124.0, 84.0, 120.0, 26.0, 20.0

Place = tuple[int, int]
"""(step, level): level 0 is the input, 1 ... L are the layers, L + 1 is the output; step 0 is the
state before the window"""
MaskName = tuple[str, int, int]
"""(field of Masks, index of the mask in it, row of the mask); the row is 0 for a shared mask"""


@dataclass(frozen=True)
class Connection:
    """An arrow of the unrolled graph, and the mask on it."""

    source: Place
    target: Place
    mask: MaskName | None


def unroll(masks: Masks, steps: int, layers: int) -> list[Connection]:
    """The connections of the unrolled network, with the row of the mask that each step reads.

    A mask of one row serves all steps, as it is broadcast over time.
    """
    connections = []
    for step in range(1, steps + 1):
        for level in range(layers + 1):
            mask = _row(masks, "inputs", level, step)
            connections.append(Connection((step, level), (step, level + 1), mask))
        for layer in range(1, layers + 1):
            mask = _row(masks, "recurrent", layer - 1, step)
            connections.append(Connection((step - 1, layer), (step, layer), mask))
    return connections


def masks_on_the_way(connections: list[Connection], steps: int, layers: int) -> list[MaskName]:
    """The masks between the first input and the last output, along the first layer and up."""
    way = [(1, 0), *((t, 1) for t in range(1, steps + 1))]
    way += [(steps, level) for level in range(2, layers + 2)]
    by_ends = {(c.source, c.target): c.mask for c in connections}
    masks = (by_ends[ends] for ends in pairwise(way))
    return [mask for mask in masks if mask is not None]


def unrolled_network(model: str, slug: str) -> Picture:
    """The unrolled network for the page `slug`, with a switch for the scheme."""
    left, _, config = MODELS[model]
    drawings = []
    for scheme in SCHEMES:
        rate = 0.0 if scheme == "none" else 0.3
        network = left(replace(config, scheme=scheme, rate=rate, seq_len=STEPS))
        masks = network.draw_noise(Key(0).fold_in("dropout"), 1)
        connections = unroll(masks, STEPS, LAYERS)
        drawings.append((scheme, _panel(scheme, connections)))
    # the figure opens with a scheme that has masks
    drawings = drawings[1:] + drawings[:1]
    choices = [(scheme, tag("code", scheme)) for scheme, _ in drawings]
    html = controls(switch("scheme", "Scheme", choices)) + panels("scheme", drawings)
    states = left(config).zero_state(1)._fields[1:]
    unmasked = "".join(f"The state {name} of a layer passes no mask. " for name in states)
    caption = Markup(
        "The network of {layers} layers unrolled over {steps} steps, after figure 1 of Gal and "
        "Ghahramani (2016). A coloured arrow passes a dropout mask; arrows of one colour and one "
        "number pass the same mask, and dashed arrows pass none. Backpropagation through time "
        "follows the arrows backwards and multiplies by the same masks. {unmasked}The numbers are "
        "read from the masks that <code>draw_masks</code> returns: one row for each step, or one "
        "for all. {up} applies those between the layers, {along} those through time."
    ).format(
        layers=LAYERS,
        steps=STEPS,
        unmasked=unmasked,
        up=_code(Recurrent.forward, slug),
        along=_code(Recurrent.layer, slug),
    )
    return Picture("unrolled", "Where the masks lie", caption, html)


def _code(method: Any, slug: str) -> Markup:
    return tag("a", tag("code", method.__qualname__), href=link(method, slug))


def _row(masks: Masks, field: str, index: int, step: int) -> MaskName | None:
    arrays = getattr(masks, field)
    if not arrays:
        return None
    return field, index, min(step, len(to_numpy(arrays[index]))) - 1


def _panel(scheme: str, connections: list[Connection]) -> Markup:
    """The drawing of one scheme, and a sentence about its masks."""
    numbers: dict[MaskName, int] = {}
    for connection in connections:
        if connection.mask is not None:
            numbers.setdefault(connection.mask, len(numbers) + 1)
    way = masks_on_the_way(connections, STEPS, LAYERS)
    parts = [_connection(c, numbers) for c in connections]
    parts += [
        _node(place) for place in sorted({p for c in connections for p in (c.source, c.target)})
    ]
    parts += [_axis(level) for level in range(LAYERS + 2)]
    width, height = LEFT + STEPS * COLUMN + 30, 2 * TOP + (LAYERS + 1) * ROW
    label = f"Unrolled network, scheme {scheme}: {len(numbers)} different masks."
    drawing = svg(width, height, *parts, label=label, class_="drawing unrolled")
    sentence = Markup(
        "{source}: {all} in the window. On its way from <i>x</i><sub>1</sub> to <i>y</i>"
        "<sub>{steps}</sub> along layer 1 a signal passes {passed}{different}."
    ).format(
        source=SOURCES[scheme].capitalize() if scheme in ("none", "recurrent") else SOURCES[scheme],
        all=_count(len(numbers), "different mask"),
        steps=STEPS,
        passed=_count(len(way), "mask"),
        different=f", {len(set(way))} of them different" if len(way) > 1 else "",
    )
    return join([scroller(drawing, label), picture_text(sentence)])


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _centre(place: Place) -> tuple[float, float]:
    step, level = place
    return LEFT + step * COLUMN - 40, TOP + (LAYERS + 1 - level) * ROW


def _node(place: Place) -> Markup:
    (x, y), (step, level) = _centre(place), place
    letter = "x" if level == 0 else "y" if level == LAYERS + 1 else "h"
    end = level in (0, LAYERS + 1) or step == 0
    circle = tag("circle", cx=x, cy=y, r=RADIUS)
    label = text(x, y + 4, join([letter, tag("tspan", step, dy=3, class_="subscript")]))
    return tag("g", circle, label, class_="unit outer" if end else "unit")


def _axis(level: int) -> Markup:
    names = {0: "inputs", LAYERS + 1: "outputs"}
    _, y = _centre((0, level))
    return text(0, y + 4, names.get(level, f"layer {level}"), class_="faint")


def _connection(connection: Connection, numbers: dict[MaskName, int]) -> Markup:
    (x1, y1), (x2, y2) = _centre(connection.source), _centre(connection.target)
    along, up = (x2 > x1) * 1.0, (y2 < y1) * 1.0
    x1, y1 = x1 + along * RADIUS, y1 - up * RADIUS
    x2, y2 = x2 - along * (RADIUS + 9), y2 + up * (RADIUS + 9)
    name = connection.mask
    style: dict[str, Any] = {}
    kind = " bare"
    if name is not None:
        kind, hue = "", 30 + 360 * (numbers[name] - 1) / max(len(numbers), 1)
        style = {"style": f"--hue:{hue:.0f}"}
    line = path(f"M{x1:g} {y1:g}L{x2:g} {y2:g}", class_=f"edge{kind}", **style)
    start, shape = ((x2, y2 - 5), "l9 5l-9 5z") if along else ((x2 - 5, y2), "l5 -9l5 9z")
    head = f"M{start[0]:g} {start[1]:g}{shape}"
    parts = [line, path(head, class_=f"head{kind}", **style)]
    if name is not None:
        middle = (x1 + x2) / 2, (y1 + y2) / 2 + 4
        parts.append(text(*middle, str(numbers[name]), class_="mask-number"))
    return join(parts)
