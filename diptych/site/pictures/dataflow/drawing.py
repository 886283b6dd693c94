"""Write a placed graph as SVG: boxes that link to their code, arrows with their shapes."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from diptych.site.pictures.dataflow.graph import Box, FlowGraph, Row
from diptych.site.pictures.dataflow.layout import (
    LINE,
    ROW,
    Area,
    Point,
    place,
    row_width,
)
from diptych.site.pictures.links import link
from diptych.site.pictures.picture import join, path, rect, svg, tag, text

MARGIN = 4.0


def draw_flow(graph: FlowGraph, slug: str, label: str, marker: str) -> Markup:
    """A graph with links from the page `slug`; `marker` is the id of its arrow heads."""
    placed = place(graph)
    # calls end from the innermost to the outermost, frames are drawn the other way round
    frames = {name: placed.frames[name] for name in reversed(graph.frames)}
    shapes = [
        tag("defs", _arrow_head(marker)),
        *(rect(a.x, a.y, a.width, a.height, rx=8, class_="call-frame") for a in frames.values()),
        *(_arrow(*curve, marker) for curve in placed.curves),
        *(_frame_title(graph.frames[name][0], area, slug) for name, area in frames.items()),
        *(_box(graph.boxes[name], area, slug) for name, area in placed.boxes.items()),
        *(_arrow_text(arrow.arrays, middle) for arrow, _, _, middle in placed.curves),
    ]
    inside = tag("g", *shapes, transform=f"translate({MARGIN:g} {MARGIN:g})")
    size = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    return svg(*size, inside, label=label, role="group", class_="drawing flow")


def _arrow_head(name: str) -> Markup:
    shape = path("M0 0L8 4L0 8z", class_="arrow-tip")
    size = {"viewBox": "0 0 8 8", "refX": 1, "refY": 4, "markerWidth": 7, "markerHeight": 7}
    return tag("marker", shape, id=name, orient="auto", **size)


def _frame_title(row: Row, area: Area, slug: str) -> Markup:
    title = _link(row, slug, _row_text(row, area.x + 9, area.y + 17))
    return tag("g", title, class_="frame-title")


def _box(box: Box, area: Area, slug: str) -> Markup:
    round_ = {"call": 4, "input": area.height / 2, "output": area.height / 2}[box.kind]
    parts = [rect(area.x, area.y, area.width, area.height, rx=float(round_))]
    for index, row in enumerate(box.rows):
        top = area.y + 3.5 + ROW * index
        if index:
            y = top
            parts.append(path(f"M{area.x:.1f} {y:.1f}h{area.width:.1f}", class_="row-rule"))
        width = row_width(row.label, row.path, row.count)
        x = area.x + (area.width - width) / 2
        parts.append(_link(row, slug, _row_text(row, x, top + 13.5)))
    return tag("g", *parts, class_=f"call-box {box.kind}")


def _row_text(row: Row, x: float, y: float) -> Markup:
    times = f" × {row.count}" if row.count > 1 else ""
    note = tag("tspan", row.path, dx=9, class_="where") if row.path else ""
    return text(x, y, join([row.label + times, note]))


def _link(row: Row, slug: str, content: Markup) -> Markup:
    address = None if row.function is None else link(row.function, slug)
    return content if address is None else tag("a", content, href=address)


def _arrow(arrow: Any, curve: list[Point], tip: Point, middle: Point, marker: str) -> Markup:
    """The curve up to its tip; graphviz ends it where the tip begins."""
    start, *rest = curve
    d = f"M{_point(start)}C{' '.join(map(_point, rest))}"
    return path(d, class_="arrow", marker_end=f"url(#{marker})")


def _arrow_text(arrays: list[tuple[str, str]], middle: Point) -> Markup:
    x, y = middle
    first = y - LINE * (len(arrays) - 1) / 2 + 4
    lines = (
        text(
            x,
            first + LINE * index,
            join([tag("tspan", name, class_="array-name"), " " if name else "", shape]),
        )
        for index, (name, shape) in enumerate(arrays)
    )
    return tag("g", *lines, class_="shape")


def _point(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
