"""How the information preference looks: nats on z, the digit's identity, and what is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.figures.style import DPI, INK, LEGEND, MUTED, RIGHT, TERMS, style
from diptych.lab.pictures import head, show

SHOWN = {"z": "z ~ q(z|x)", "mu": "μ(x)", "x'": "x′ ~ p(x′|z)"}


def draw(results: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Above, KL and identity against the window's pixels; below, images and their x'.

    Shapes: pictures[name] (N, H, W), the originals first.
    """
    height = 3.6 + 0.5 * len(pictures)
    figure = Figure((9.2, height), dpi=DPI, facecolor="white", layout="constrained")
    ratios = (3.6, height - 3.6)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=ratios)[:, 0]
    panels = 1 if results["identity"] is None else 2
    axes = above.subplots(1, panels, squeeze=False)[0]
    _draw_nats(axes[0], results)
    if panels == 2:
        _draw_identity(axes[1], results)
    for axis, (name, images) in zip(
        below.subplots(len(pictures), 1, squeeze=False)[:, 0], pictures.items(), strict=True
    ):
        show(axis, images, len(images))
        side = axis.text(-0.01, 0.5, _called(name), ha="right", va="center", fontsize=9)
        side.set(transform=axis.transAxes, color=INK)
    return figure


def _called(name: str) -> str:
    return {"none": "x′, factorised", "originals": "x, held-out"}.get(name, f"x′, {name}")


def _draw_nats(axis: Axes, results: Mapping[str, Any]) -> None:
    """Every seed a thin line, their mean a thick one."""
    windows = results["windows"].values()
    kl = np.array([entry["test_kl"] for entry in windows])  # (windows, seeds)
    _ruler(axis, results, "KL(q(z|x) ‖ p(z)), nats")
    head(axis, "nats on z, held-out images")
    places = range(len(kl))
    seeds = axis.plot(places, kl, "-", color=MUTED, lw=0.7)
    seeds[0].set_label("a seed")
    axis.plot(places, kl.mean(1), "o-", color=RIGHT, lw=2.4, ms=5, label="mean")
    axis.set_ylim(0, 1.15 * kl.max() or 1)
    axis.legend(loc="upper right", **LEGEND | {"markerscale": 1})


def _draw_identity(axis: Axes, results: Mapping[str, Any]) -> None:
    """The share of digits told, by what of them is shown."""
    windows, identity = results["windows"].values(), results["identity"]
    _ruler(axis, results, "digits told, %")
    head(axis, "what a classifier tells of the digit")
    axis.axhline(100 * identity["x"], color=INK, lw=1.2, ls=":", label="x itself")
    for (what, name), (mark, color) in zip(SHOWN.items(), TERMS.items(), strict=False):
        share = 100 * np.array([entry[what] for entry in windows])
        axis.plot(share.mean(1), f"{mark}-", color=color, lw=1.5, ms=5, label=name)
        axis.plot(share, "-", color=color, lw=0.5, alpha=0.6)
    axis.axhline(100 * identity["chance"], color=MUTED, lw=1.2, ls=":", label="chance")
    axis.set_ylim(0, 150)  # room for the legend
    axis.set_yticks(range(0, 101, 20))
    axis.legend(loc="upper left", ncols=2, **LEGEND | {"fontsize": 8, "markerscale": 1})


def _ruler(axis: Axes, results: Mapping[str, Any], y: str) -> None:
    """The windows one after the other, equally far apart: from 0 to 69 pixels no scale is fair."""
    style(axis, "window, and the pixels in it", y)
    names = [f"{name}\n{entry['pixels']}" for name, entry in results["windows"].items()]
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.3, len(names) - 0.7)
