"""A matrix as a small heat map, whose numbers are read with the mouse or the arrow keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from diptych.site.pictures.picture import path, rect, svg, tag

LEVELS = 8
"""Number of shades; a number that is exactly 0 has none."""


def heatmap(matrix: np.ndarray, title: Any, entry: str, label: str, cell: float = 17.0) -> Markup:
    """The magnitudes of a matrix as shades of one colour; numbers that are 0 stay blank.

    `entry` names one entry, with {i} and {j} for its row and column from 1 on; `label` says what
    the map shows.
    """
    rows, columns = matrix.shape
    shades = _shades(matrix)
    parts = [rect(0, 0, columns * cell, rows * cell, class_="ground")]
    for level in range(1, LEVELS + 1):
        places = zip(*np.nonzero(shades == level), strict=True)
        size = f"h{cell - 1:g}v{cell - 1:g}h-{cell - 1:g}z"
        d = "".join(f"M{j * cell + 0.5:g} {i * cell + 0.5:g}{size}" for i, j in places)
        if d:
            parts.append(path(d, class_="entry", fill_opacity=level / LEVELS))
    parts.append(rect(0, 0, cell, cell, class_="cursor", visibility="hidden"))
    image = svg(
        columns * cell,
        rows * cell,
        *parts,
        label=f"{label} The arrow keys read its numbers.",
        role="application",
        tabindex=0,
        class_="drawing heat",
        data_cell=cell,
        data_rows=";".join(",".join(map(_short, row)) for row in matrix),
        data_entry=entry,
    )
    return tag("div", tag("div", title, class_="heat-title"), image, class_="heat-map")


def heatmaps(*maps: Markup) -> Markup:
    """Heat maps side by side."""
    return tag("div", *maps, class_="heat-maps")


READOUT = tag(
    "p", Markup("&nbsp;"), class_="picture-note mono", aria_live="polite", data_readout=True
)
"""The line in which the number under the cursor stands."""


def _shades(matrix: np.ndarray) -> np.ndarray:
    """0 for an exact 0, else 1 ... LEVELS by the square root of the magnitude."""
    sizes = np.abs(matrix.astype(float))
    largest = sizes.max()
    if largest == 0:
        return np.zeros(sizes.shape, int)
    return np.where(sizes == 0, 0, np.ceil(LEVELS * np.sqrt(sizes / largest)).clip(1)).astype(int)


def _short(value: Any) -> str:
    """A number with three significant digits."""
    return f"{float(value):.3g}"
