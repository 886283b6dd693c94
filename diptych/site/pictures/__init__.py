"""What a picture says better than code: data flow, masks, windows, Jacobians, curves.

Every picture is computed when the site is built, by running the panels.

picture.py        the type, and the helpers that write SVG and controls
dataflow/         the calls of a loss as boxes, their arrays as arrows
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from diptych import pairs
from diptych.site.pictures.dataflow.figure import data_flow
from diptych.site.pictures.picture import Picture

PICTURES: dict[str, list[Callable[[], Picture]]] = {
    model: [partial(data_flow, model)] for model in pairs.PAIRS
}
"""page -> the functions that make its pictures"""


def for_page(slug: str) -> list[Picture]:
    """The pictures of a page, such as "lstm" or "autoregressive.flow", in order."""
    return [make() for make in PICTURES.get(slug, [])]


__all__ = ["Picture", "for_page"]
