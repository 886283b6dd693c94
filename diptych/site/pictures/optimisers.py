"""The picture of the optimisers: the paths that both panels take down one valley."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from diptych.site.pictures.picture import (
    Picture,
    controls,
    join,
    path,
    picture_text,
    power_of_ten,
    scroller,
    slider,
    svg,
    tag,
    text,
)
from numpy_ref.nn import optim
from numpy_ref.nn.module import Parameter

CURVATURE = np.array([1.0, 25.0])
"""f(p) = sum_i CURVATURE_i p_i^2 / 2, steep across the valley and flat along it"""
START, STEPS = np.array([-2.8, 0.75]), 60
RATES, FIRST_RATE = (0.01, 0.03, 0.06, 0.085, 0.2), 2
BOUND = 1e-12
"""The largest error of a coordinate, relative to the largest coordinate of its path."""
SCALE, HALF_WIDTH, HALF_HEIGHT = 128.0, 3.05, 1.05
LEVELS = (0.02, 0.1, 0.4, 1.0, 2.0, 4.0, 7.0, 11.0)

Array = np.ndarray
OPTIMISERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "SGD": (optim.SGD, torch.optim.SGD, {}),
    "SGD, momentum 0.9": (optim.SGD, torch.optim.SGD, {"momentum": 0.9}),
    "RMSprop": (optim.RMSprop, torch.optim.RMSprop, {}),
    "Adam": (optim.Adam, torch.optim.Adam, {}),
    "Adamax": (optim.Adamax, torch.optim.Adamax, {}),
}
"""Name, and the optimiser of the left and of the right panel with its keywords."""


def left_path(make: Callable[..., Any], lr: float, **keywords: Any) -> Array:
    """The points (STEPS + 1, 2) that an optimiser of the left panel visits."""
    parameter = Parameter(START.copy())
    optimiser = make([parameter], lr=lr, **keywords)
    points = [START]
    for _ in range(STEPS):
        parameter.grad = CURVATURE * parameter.data
        optimiser.step()
        points.append(parameter.data.copy())
    return np.array(points)


def right_path(make: Callable[..., Any], lr: float, **keywords: Any) -> Array:
    """The points (STEPS + 1, 2) that an optimiser of torch visits, by autograd."""
    parameter = torch.nn.Parameter(torch.tensor(START))
    optimiser = make([parameter], lr=lr, **keywords)
    points = [START]
    for _ in range(STEPS):
        optimiser.zero_grad()
        (0.5 * torch.tensor(CURVATURE) * parameter**2).sum().backward()
        optimiser.step()
        points.append(parameter.detach().numpy().copy())
    return np.array(points)


def optimiser_paths() -> Picture:
    """The paths of the optimisers, with a slider for the learning rate.

    Raises: ValueError if the panels take different paths.
    """
    paths, worst = {}, 0.0
    for name, (left, right, keywords) in OPTIMISERS.items():
        for lr in RATES:
            points = left_path(left, lr, **keywords)
            other = right_path(right, lr, **keywords)
            error = float((np.abs(points - other) / np.abs(points).max()).max())
            if not error <= BOUND:
                raise ValueError(f"{name}: the paths of the panels differ by {error:.1e}")
            worst = max(worst, error)
            paths[name, lr] = points
    curves = [[_curve(paths[name, lr]) for name in OPTIMISERS] for lr in RATES]
    sentences = [_sentence({name: paths[name, lr] for name in OPTIMISERS}) for lr in RATES]
    html = controls(slider("lr", "Learning rate", list(map(str, RATES)), FIRST_RATE))
    html += scroller(_drawing(curves[FIRST_RATE]), f"Paths of {len(OPTIMISERS)} optimisers")
    html += picture_text(sentences[FIRST_RATE], live=True)
    caption = Markup(
        "{steps} steps down the valley <i>f</i> = (<i>x</i><sup>2</sup> + {steep:g} "
        "<i>y</i><sup>2</sup>) / 2, from the upper left to the minimum in the middle; the ellipses "
        "are contours. SGD is stable below a learning rate of 2 / {steep:g} = {limit:g}. Adam, "
        "Adamax and RMSprop divide by the size of past gradients. The first step of Adam and "
        "Adamax has the length of the learning rate in both directions; that of RMSprop is ten "
        "times as long, because its average starts at 0 and is not corrected. Each path was "
        "computed by <code>numpy_ref.nn.optim</code> and by <code>torch.optim</code>; no "
        "coordinate differs by more than {worst} of the path's largest."
    ).format(steps=STEPS, steep=CURVATURE[1], limit=2 / CURVATURE[1], worst=power_of_ten(worst))
    data = {"paths": curves, "sentences": sentences}
    return Picture("optimisers", "Paths of the optimisers", caption, html, data)


def _drawing(curves: list[str]) -> Markup:
    width, height = 2 * HALF_WIDTH * SCALE, 2 * HALF_HEIGHT * SCALE
    contours = [
        tag(
            "ellipse",
            cx=width / 2,
            cy=height / 2,
            rx=SCALE * float(np.sqrt(2 * level / CURVATURE[0])),
            ry=SCALE * float(np.sqrt(2 * level / CURVATURE[1])),
        )
        for level in LEVELS
    ]
    lines = [
        path(curve, class_="walk", style=f"--hue:{hue}")
        for curve, hue in zip(curves, _hues(), strict=True)
    ]
    inside = tag("svg", tag("g", *contours, class_="contours"), *lines, width=width, height=height)
    label = f"Paths of {', '.join(OPTIMISERS)} down a valley."
    drawing = [inside, *_legend(height + 20)]
    return svg(width, height + 28, *drawing, label=label, class_="drawing optimisers")


def _legend(y: float) -> Iterator[Markup]:
    x = 0.0
    for name, hue in zip(OPTIMISERS, _hues(), strict=True):
        mark = path(f"M{x:g} {y - 4:g}h22", class_="walk", style=f"--hue:{hue}")
        yield join([mark, text(x + 30, y, name)])
        x += 62 + 6.4 * len(name)


def _hues() -> list[int]:
    return [360 * i // len(OPTIMISERS) + 30 for i in range(len(OPTIMISERS))]


def _curve(points: Array) -> str:
    """The path in the drawing; a path that leaves it for good ends there."""
    visible = points[
        : 1 + next((i for i, p in enumerate(points) if np.abs(p).max() > 9), len(points))
    ]
    x, y = SCALE * (visible[:, 0] + HALF_WIDTH), SCALE * (HALF_HEIGHT - visible[:, 1])
    return "M" + "L".join(f"{a:.0f} {b:.0f}" for a, b in zip(x, y, strict=True))


def _sentence(paths: dict[str, Array]) -> str:
    ends = {name: 0.5 * float(CURVATURE @ points[-1] ** 2) for name, points in paths.items()}
    start = 0.5 * float(CURVATURE @ START**2)
    values = ", ".join(f"{end:.2g} with {name}" for name, end in ends.items())
    return f"f is {start:.2g} at the start, and after {STEPS} steps {values}."
