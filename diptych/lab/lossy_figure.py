"""The figure of the information preference: KL, accuracy of digit classifiers, and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.figures.style import DPI, INK, LEGEND, MUTED, RIGHT, TERMS, set_heading, style
from diptych.lab.pictures import show_mosaic

SHOWN = {"z": "z ~ q(z|x)", "mu": "μ(x)", "x'": "x′ ~ p(x′|z)"}


def draw(results: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> Figure:
    """Plot, above, KL and classifier accuracy against the window; below, images x and x'.

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
        show_mosaic(axis, images, len(images))
        side = axis.text(-0.01, 0.5, _label(name), ha="right", va="center", fontsize=9)
        side.set(transform=axis.transAxes, color=INK)
    return figure


def _label(name: str) -> str:
    return {"none": "x′, factorised", "originals": "x, held-out"}.get(name, f"x′, {name}")


def _draw_nats(axis: Axes, results: Mapping[str, Any]) -> None:
    """Plot the KL of each seed as a thin line and their mean as a thick one."""
    windows = results["windows"].values()
    kl = np.array([entry["test_kl"] for entry in windows])  # (windows, seeds)
    _set_window_axis(axis, results, "KL(q(z|x) ‖ p(z)), nats")
    set_heading(axis, "KL in nats, held-out images")
    places = range(len(kl))
    seeds = axis.plot(places, kl, "-", color=MUTED, lw=0.7)
    seeds[0].set_label("one seed")
    axis.plot(places, kl.mean(1), "o-", color=RIGHT, lw=2.4, ms=5, label="mean")
    axis.set_ylim(0, 1.15 * kl.max() or 1)
    axis.legend(loc="upper right", **LEGEND | {"markerscale": 1})


def _draw_identity(axis: Axes, results: Mapping[str, Any]) -> None:
    """Plot the accuracy of the digit classifiers of z, mu and x'."""
    windows, identity = results["windows"].values(), results["identity"]
    _set_window_axis(axis, results, "accuracy, %")
    set_heading(axis, "digit classifiers, held-out images")
    axis.axhline(100 * identity["x"], color=INK, lw=1.2, ls=":", label="x itself")
    for (field, label), (mark, color) in zip(SHOWN.items(), TERMS.items(), strict=False):
        share = 100 * np.array([entry[field] for entry in windows])
        axis.plot(share.mean(1), f"{mark}-", color=color, lw=1.5, ms=5, label=label)
        axis.plot(share, "-", color=color, lw=0.5, alpha=0.6)
    axis.axhline(100 * identity["chance"], color=MUTED, lw=1.2, ls=":", label="chance")
    axis.set_ylim(0, 150)  # room for the legend
    axis.set_yticks(range(0, 101, 20))
    axis.legend(loc="upper left", ncols=2, **LEGEND | {"fontsize": 8, "markerscale": 1})


def _set_window_axis(axis: Axes, results: Mapping[str, Any], y: str) -> None:
    """Space the windows equally: their sizes range from 0 to 69 pixels."""
    style(axis, "window and its number of pixels", y)
    names = [f"{name}\n{entry['pixels']}" for name, entry in results["windows"].items()]
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.3, len(names) - 0.7)
