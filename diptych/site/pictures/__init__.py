"""Pictures of what code says badly: data flow, masks, windows, Jacobians, curves.

Every picture is computed when the site is built, by running the panels.

picture.py        the type, and the helpers that write SVG and controls
schemes.py        the masks of the dropout schemes
unrolled.py       a recurrent network over time, and where its masks lie
pixels.py         the pixels that a masked convolution reads
jacobians.py      the Jacobians of the flow, and the masks of a MADE
heatmap.py        matrices as heat maps
lossy.py, chart.py  what z keeps for each window
convolutions.py   the pixels that a convolution reads
optimisers.py     the paths of the optimisers
gradients.py      how far back in time a gradient reaches
dataflow/         the calls of a loss as boxes, their arrays as arrows
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from diptych import pairs
from diptych.site.pictures.convolutions import convolution
from diptych.site.pictures.dataflow.figure import data_flow
from diptych.site.pictures.gradients import gradient_reach
from diptych.site.pictures.jacobians import flow_jacobians, made_masks
from diptych.site.pictures.lossy import information_preference
from diptych.site.pictures.optimisers import optimiser_paths
from diptych.site.pictures.picture import Picture, failed_picture
from diptych.site.pictures.pixels import CONTEXTS, receptive_fields
from diptych.site.pictures.schemes import scheme_masks
from diptych.site.pictures.unrolled import unrolled_network

PICTURES: dict[str, list[Callable[[], Picture]]] = {
    **{model: [partial(data_flow, model)] for model in pairs.PAIRS},
    "nn.convolution": [convolution],
    "nn.optim": [optimiser_paths],
    "autoregressive.flow": [flow_jacobians, made_masks],
    "autoregressive.pixel_cnn": [
        partial(receptive_fields, ["raster", "2 × 0", "3 × 1", "5 × 2", "7 × 3"]),
    ],
    "autoregressive.stacked_pixel_cnn": [partial(receptive_fields, ["two stacks", "raster"])],
    "recurrent.masks": [partial(scheme_masks, "rnn")],
    "recurrent.network": [partial(unrolled_network, "rnn", "recurrent.network")],
}
"""page -> the functions that make its pictures"""
PICTURES["conv_vae"].append(convolution)
PICTURES["vlae"] += [
    partial(receptive_fields, ["raster", *(name for name in CONTEXTS if name != "raster")]),
    information_preference,
]
for recurrent in ("rnn", "lstm"):
    PICTURES[recurrent] += [
        partial(unrolled_network, recurrent, recurrent),
        partial(scheme_masks, recurrent),
        partial(gradient_reach, recurrent),
    ]


def for_page(slug: str) -> list[Picture]:
    """The pictures of a page, such as "lstm" or "autoregressive.flow", in order.

    Where a picture's check fails, because the panels differ or a model raises, the page shows the
    error in its place.
    """
    return [_draw(make, f"picture-{i}") for i, make in enumerate(PICTURES.get(slug, []))]


def _draw(make: Callable[[], Picture], id_of_failure: str) -> Picture:
    try:
        return make()
    except Exception as error:
        return failed_picture(id_of_failure, error)


__all__ = ["Picture", "for_page"]
