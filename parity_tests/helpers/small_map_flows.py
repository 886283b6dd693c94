"""Small flows over maps on both panels, and the dimensions that each of their steps may read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych import weights
from model_specs.autoregressive.map_flow import MapFlowConfig, MapOrder
from model_specs.common.key import Key
from numpy_ref.autoregressive import map_flow as left_side
from numpy_ref.nn import random
from torch_impl.autoregressive import map_flow as right_side

SHAPES = [(C, h, w) for C in (1, 2, 5) for h, w in ((1, 1), (2, 3), (4, 4))]
"""(C, h, w): one, two and five maps of one pixel, of unequal sides, and larger than one kernel."""
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=str)
SMALL: dict[str, Any] = {"hidden_dim": 7, "hidden_layers": 2, "steps": 3, "mean_only": False}


def make_map_flows(
    shape: tuple[int, int, int] = (2, 2, 3), dtype: str = "float64", **settings: Any
) -> tuple[Any, Any]:
    """(left, right) with the same weights, none of them 0, large enough to change z noticeably."""
    config = MapFlowConfig(*shape, **SMALL | settings)
    left, right = (
        left_side.MapFlow(config, Key(3), dtype),
        right_side.MapFlow(config, Key(4), dtype),
    )
    for name, parameter in left.named_parameters():
        noise = random.normal(Key(5).fold_in(name), parameter.data.shape, dtype=dtype)
        parameter.data += 0.5 * noise * noise[0].size ** -0.5
    weights.transfer(left, right)
    return left, right


def readable_dimensions(order: MapOrder, layers: int) -> np.ndarray:
    """[d, e] is True if output d of a MapMADE with this number of layers may read dimension e.

    A layer goes from a pixel to one of the pixels before it among its eight neighbours, in the
    image. Within a pixel, the channels before a channel may be read.
    """
    C, h, w = order.shape
    sign = -1 if order.backwards else 1
    neighbours = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    pixels = {(i, j): {(i, j)} for i in range(h) for j in range(w)}
    for reach in pixels.values():
        for _ in range(layers):
            moves = {(i + sign * a, j + sign * b) for i, j in reach for a, b in neighbours}
            reach.update(moves & pixels.keys())
    place = {c: n for n, c in enumerate(order.of_channels)}
    result = np.zeros((C, h, w, C, h, w), bool)
    for (i, j), reach in pixels.items():
        for a, b in reach:
            for c in range(C):
                for d in range(C):
                    result[c, i, j, d, a, b] = (a, b) != (i, j) or place[d] < place[c]
    return result.reshape(C * h * w, C * h * w)
