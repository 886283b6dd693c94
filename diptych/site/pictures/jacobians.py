"""The pictures of the autoregressive flow: its Jacobians, and the masks that make their zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from diptych.site.pictures.heatmap import READOUT, heatmap, heatmaps
from diptych.site.pictures.picture import Picture, controls, join, panels, power_of_ten, switch
from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.common.key import Key
from numpy_ref.autoregressive.flow import AutoregressiveFlow
from numpy_ref.autoregressive.made import MaskedLinear
from numpy_ref.nn import random

DIM, UNITS, DIFFERENCE = 8, 28, 1e-6
SIZES: dict[str, Any] = {"dim": DIM, "hidden_dim": UNITS, "hidden_layers": 2, "steps": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "affine": {"mean_only": False},
    "mean only": {"mean_only": True},
    "affine, shuffled": {"mean_only": False, "order": (3, 6, 0, 5, 2, 7, 1, 4)},
}

CELL = 7.0
BOUND = 1e-7
"""The largest error of the inverse, whose derivatives are central differences."""

Array = np.ndarray


def make_flow(variant: str) -> tuple[AutoregressiveFlow, Array]:
    """A flow with random weights, and a point z."""
    flow = AutoregressiveFlow(AutoregressiveFlowConfig(**SIZES | VARIANTS[variant]), Key(4))
    return flow, random.normal(Key(5), (DIM,))


def jacobian(layer: Callable[[Array], Any], z: Array) -> Array:
    """d y / d z (D, D) of a map (N, D) -> (N, D or more) by its vjp, row by row of the first D.

    A batch of D equal points gets the rows of the identity as cotangents.
    """
    y, vjp = layer(np.repeat(z[None], DIM, axis=0))
    if isinstance(y, tuple):  # eps and its log-determinant
        return np.asarray(vjp(np.eye(DIM), np.zeros(DIM)))
    return np.asarray(vjp(np.eye(DIM, y.shape[1])))


def differences(function: Callable[[Array], Array], x: Array) -> Array:
    """d function / d x (D, D) by central differences, for a function without a vjp."""
    steps = DIFFERENCE * np.eye(DIM)
    return np.asarray((function(x + steps) - function(x - steps)).T / (2 * DIFFERENCE))


def flow_jacobians() -> Picture:
    """The Jacobians of a MADE, of each step, of the flow and of its inverse."""
    contents, errors = [], []
    for variant in VARIANTS:
        flow, z = make_flow(variant)
        maps, error = _maps(flow, z)
        contents.append((variant, maps))
        errors.append(error)
    choices = [(variant, variant) for variant in VARIANTS]
    html = controls(switch("flow-variant", "Steps", choices)) + panels("flow-variant", contents)
    caption = Markup(
        "Jacobians of a flow of two steps in {dim} dimensions with random weights: row <i>i</i>, "
        "column <i>j</i> is the derivative of output <i>i</i> with respect to input <i>j</i>, and "
        "blank cells are exactly 0. A MADE's output reads earlier dimensions alone, so a step has "
        "a triangular Jacobian, whose determinant is the product of its diagonal. The second step "
        "takes the dimensions in reverse order, and the two together are dense. All are measured "
        "by vjps of the left panel; those of the inverse, which has no vjp, by central "
        "differences. The product of the flow's and the inverse's Jacobian differs from the "
        "identity by at most {error}, and log |det| by <code>numpy.linalg.slogdet</code> from "
        "the flow's own by at most {logdet}."
    ).format(
        dim=DIM,
        error=power_of_ten(max(e[0] for e in errors)),
        logdet=power_of_ten(max(e[1] for e in errors)),
    )
    return Picture("jacobians", "Jacobians of the flow", caption, html + READOUT)


def made_masks() -> Picture:
    """The masks of a MADE's layers, and the number of ways from each input to each output."""
    flow, _ = make_flow("mean only")
    first = next(iter(flow.steps))
    masks = [layer.mask for layer in first.made if isinstance(layer, MaskedLinear)]
    ways = np.linalg.multi_dot([mask.astype(int) for mask in reversed(masks)])
    titles = ["inputs to hidden 1", "hidden 1 to hidden 2", "hidden 2 to outputs"]
    maps = [
        heatmap(mask, title, "mask[{i}, {j}]", f"Mask, {title}.", CELL)
        for mask, title in zip(masks, titles, strict=True)
    ]
    maps.append(heatmap(ways, "ways from input to output", "ways to {i} from {j}", "Ways.", 12))
    caption = Markup(
        "The masks of the first step's MADE: rows are the units that read, columns those that are "
        "read, and a blank weight is masked. Their product counts the ways from an input to an "
        "output. Output <i>i</i> is reached from no input at position <i>i</i> or later: these "
        "zeros are those of the Jacobian above, whatever the weights are."
    )
    return Picture("made", "Masks of the MADE", caption, heatmaps(*maps) + READOUT)


def _maps(flow: AutoregressiveFlow, z: Array) -> tuple[Markup, tuple[float, float]]:
    """The heat maps of one flow, and the errors of its inverse and of its log-determinant."""
    first, second = flow.steps
    between = first(z[None])[0].eps[0]
    eps, logdet = (part[0] for part in flow(z[None])[0])
    whole = jacobian(flow, z)
    back = differences(flow.inverse, eps)
    back_first = differences(first.inverse, between)
    maps = heatmaps(
        heatmap(jacobian(first.made, z), "MADE of step 1", "∂μ{i}/∂z{j}", "Jacobian of the MADE."),
        heatmap(jacobian(first, z), "step 1", "∂y{i}/∂z{j}", "Jacobian of step 1."),
        heatmap(
            jacobian(second, between), "step 2, reversed", "∂ε{i}/∂y{j}", "Jacobian of step 2."
        ),
        heatmap(whole, "the flow", "∂ε{i}/∂z{j}", "Jacobian of the flow."),
        heatmap(
            back_first, "inverse of step 1", "∂z{i}/∂y{j}", "Jacobian of the inverse of step 1."
        ),
        heatmap(back, "inverse of the flow", "∂z{i}/∂ε{j}", "Jacobian of the inverse."),
    )
    error = np.abs(whole @ back - np.eye(DIM)).max()
    if not error <= BOUND:
        raise ValueError(f"inverse: its Jacobian times the flow's is off by {error:.1e}")
    return join([maps]), (float(error), float(abs(np.linalg.slogdet(whole)[1] - logdet)))
