"""Place the boxes, arrows and frames of a graph, by graphviz."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.site.pictures.dataflow.graph import Arrow, Box, FlowGraph

POINTS = 72.0
CHARACTER, SMALL_CHARACTER = 7.25, 6.3
"""Width of a character of the labels and of the arrows' texts, in pixels."""
ROW, LINE = 19.0, 14.0
"""Height of a row in a box, and of a line of an arrow's text."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Area:
    """A rectangle: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Placed:
    """Where everything stands, y downwards."""

    width: float
    height: float
    boxes: dict[str, Area]
    frames: dict[str, Area]
    curves: list[tuple[Arrow, list[Point], Point, Point]]
    """arrow, points of its Bézier curve, its tip, the middle of its text"""


def place(graph: FlowGraph) -> Placed:
    """Place a graph from top to bottom."""
    import pygraphviz  # noqa: PLC0415  (compiled; only a build of the site needs it)

    drawing = pygraphviz.AGraph(directed=True, strict=False)
    drawing.graph_attr.update(ranksep="0.3", nodesep="0.28", pad="0")
    drawing.edge_attr.update(arrowsize="0.6")
    for box in graph.boxes.values():
        width, height = box_size(box)
        size = {"width": width / POINTS, "height": height / POINTS, "fixedsize": "true"}
        drawing.add_node(box.name, label="", shape="box", **size)
    for index, arrow in enumerate(graph.arrows):
        label = _blank(max(map(text_width, arrow.arrays)), LINE * len(arrow.arrays))
        drawing.add_edge(arrow.source, arrow.target, key=str(index), label=label)
    _add_frames(drawing, graph, "")
    drawing.layout("dot")
    return _read(drawing, graph)


def box_size(box: Box) -> Point:
    """Width and height of a box: those of its rows."""
    width = max(row_width(row.label, row.path, row.count) for row in box.rows)
    return width + (14 if box.kind == "call" else 18), ROW * len(box.rows) + 7


def row_width(label: str, path: str, count: int) -> float:
    """Width of a row's text."""
    times = f" × {count}" if count > 1 else ""
    return CHARACTER * len(label + times) + (SMALL_CHARACTER * len(path) + 9 if path else 0)


def text_width(array: tuple[str, str]) -> float:
    """Width of one line of an arrow's text."""
    return SMALL_CHARACTER * len(" ".join(filter(None, array))) + 8


def _add_frames(drawing: object, graph: FlowGraph, around: str) -> None:
    """Add the frames within `around`, each with all boxes inside."""
    for name, (row, outer) in graph.frames.items():
        if outer != around:
            continue
        inside = [box.name for box in graph.boxes.values() if _is_within(graph, box.frame, name)]
        label = _blank(row_width(row.label, row.path, 1), 16)
        options = {"label": label, "labeljust": "l", "margin": "9"}
        subgraph = drawing.add_subgraph(inside, name=f"cluster {name}", **options)  # type: ignore[attr-defined]
        _add_frames(subgraph, graph, name)


def _is_within(graph: FlowGraph, frame: str, name: str) -> bool:
    while frame and frame != name:
        frame = graph.frames[frame][1]
    return frame == name


def _blank(width: float, height: float) -> str:
    """A label that takes this space: its text is drawn by the page, in the page's font."""
    size = f'FIXEDSIZE="TRUE" WIDTH="{width:.0f}" HEIGHT="{height:.0f}"'
    return f'<<TABLE BORDER="0" CELLPADDING="0" CELLSPACING="0" {size}><TR><TD></TD></TR></TABLE>>'


def _read(drawing: object, graph: FlowGraph) -> Placed:
    _, _, width, height = _numbers(drawing.graph_attr["bb"])  # type: ignore[attr-defined]

    def down(x: float, y: float) -> Point:
        return x, height - y

    boxes = {}
    for name, box in graph.boxes.items():
        x, y = down(*_numbers(drawing.get_node(name).attr["pos"]))  # type: ignore[attr-defined]
        w, h = box_size(box)
        boxes[name] = Area(x - w / 2, y - h / 2, w, h)
    frames = {}
    for name in graph.frames:
        left, bottom, right, top = _numbers(_cluster(drawing, name))
        frames[name] = Area(left, height - top, right - left, top - bottom)
    curves = []
    for index, arrow in enumerate(graph.arrows):
        edge = drawing.get_edge(arrow.source, arrow.target, key=str(index))  # type: ignore[attr-defined]
        end, *points = edge.attr["pos"].split()
        tip = down(*_numbers(end.removeprefix("e,")))
        curve = [down(*_numbers(point)) for point in points]
        curves.append((arrow, curve, tip, down(*_numbers(edge.attr["lp"]))))
    return Placed(width, height, boxes, frames, curves)


def _cluster(drawing: object, name: str) -> str:
    """The corners of a frame, wherever it is nested."""
    for subgraph in drawing.subgraphs():  # type: ignore[attr-defined]
        if subgraph.name == f"cluster {name}":
            return str(subgraph.graph_attr["bb"])
        try:
            return _cluster(subgraph, name)
        except KeyError:
            continue
    raise KeyError(name)


def _numbers(values: str) -> list[float]:
    return [float(value) for value in values.split(",")]
