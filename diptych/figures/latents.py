"""Figures of a latent space: where images lie in it, and the images decoded from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.stats import norm

from diptych.figures.pixels import check_images, mosaic
from diptych.figures.style import DPI, GAP, INK, LABELS, LEGEND, RIGHT, check, set_heading, style

Names = tuple[str, str]
"""The names of the horizontal and of the vertical axis."""


def latent_scatter(
    mu: np.ndarray,
    labels: np.ndarray | None,
    names: Names = (r"$\mu_1$", r"$\mu_2$"),
    heading: str = "",
) -> Figure:
    """Plot the posterior means in two dimensions, coloured by label; in one colour without labels.

    Shapes: mu (N, 2), labels (N), integers from 0 to 9.
    Raises: ValueError for other shapes, NaN or inf, or other labels.
    """
    check("mu", mu, ("N", 2))
    present = np.unique(_check_labels(labels, len(mu)))
    figure = Figure((6.4, 5.6), dpi=DPI, facecolor="white", layout="constrained")
    axis = style(figure.add_subplot(), *names)
    set_heading(axis, heading, 9)
    look = {"s": np.clip(12000 / len(mu), 5, 24), "alpha": 0.8, "linewidths": 0}
    colours = RIGHT if labels is None else [LABELS[label] for label in labels]
    axis.scatter(mu[:, 0], mu[:, 1], c=colours, **look)
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in present:
        x, y = np.median(mu[labels == label], axis=0)
        text = axis.text(x, y, str(label), ha="center", va="center", path_effects=halo)
        text.set(fontsize=15, fontweight="bold", color=INK)
        axis.scatter([], [], s=36, linewidths=0, color=LABELS[label], label=str(label))
    axis.set_aspect("equal", adjustable="datalim")
    if len(present):
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=1, **LEGEND)
    return figure


def latent_manifold(
    images: np.ndarray,
    quantiles: tuple[float, float],
    names: Names = ("$z_1$", "$z_2$"),
) -> Figure:
    """Show images decoded at z = Phi^-1(u), with u equally spaced over `quantiles`.

    Shapes: images (side, side, H, W), or (side, side, H, W, 3) for colour, clipped to [0, 1]: rows
    from the top, as diptych.evaluation.latents.quantile_grid orders them.
    Raises: ValueError for another shape, NaN or inf, integers above 1, or a side below 2.
    """
    z = norm.ppf(quantiles)
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3).tick_values(*z)
    ticks = ticks[(z[0] <= ticks) & (ticks <= z[1])]
    texts = {float(norm.cdf(tick)): f"{tick:g}".replace("-", "−") for tick in ticks}
    return _square_of_images(images, quantiles, texts, names)


def latent_plane(images: np.ndarray, reach: float, names: Names) -> Figure:
    """Show images decoded on a plane, at equally spaced points from -reach to reach.

    Units: `reach` is in standard deviations.
    Shapes: as for `latent_manifold`.
    Raises: ValueError as `latent_manifold`.
    """
    units = range(-int(reach), int(reach) + 1)
    texts = {float(n): f"{n} σ".replace("-", "−") if n else "0" for n in units}
    return _square_of_images(images, (-reach, reach), texts, names)


def interpolations(originals: np.ndarray, decoded: np.ndarray) -> Figure:
    """Show rows of decoded images between two originals.

    Shapes: originals (N, 2, H, W), or (N, 2, H, W, 3) for colour; decoded alike, with any number
    of steps in place of 2; clipped to [0, 1].
    Raises: ValueError for other shapes, NaN or inf, or integers above 1.
    """
    colour = (3,) if np.ndim(originals) == 5 else ()
    check("originals", originals, ("N", 2, "H", "W", *colour), grey=True)
    count, _, *size = originals.shape
    check("decoded", decoded, (count, "steps", *size), grey=True)
    rows = np.concatenate([originals[:, :1], decoded, originals[:, 1:]], 1)
    columns = rows.shape[1]
    figure, axis = mosaic(rows.reshape(-1, *size), columns, above=0.25, apart=(1, columns - 1))
    extents = [image.get_extent() for image in axis.images[:columns]]
    cells = (("original", 0, 0), ("decoded", 1, -2), ("original", -1, -1))
    for name, first, last in cells:
        middle = (extents[first][0] + extents[last][1]) / 2
        axis.text(middle, -2 * GAP, name, ha="center", va="bottom", fontsize=8, color=INK)
    return figure


def _square_of_images(
    images: np.ndarray, ends: tuple[float, float], ticks: Mapping[float, str], names: Names
) -> Figure:
    """Draw side x side images, their middles equally spaced from end to end of both axes.

    `ticks` maps positions between the ends to their names.
    """
    if np.ndim(images) not in (4, 5) or images.shape[0] != images.shape[1] or len(images) < 2:
        raise ValueError(
            f"images: got shape {np.shape(images)}, takes (side, side, H, W), side >= 2"
        )
    side, _, *size = images.shape
    flat = images.reshape(-1, *size)
    check_images("images", flat)
    figure, axis = mosaic(flat, side, left=0.75, below=0.65)
    _, width, height, _ = axis.images[0].get_extent()
    across, _, _, down = axis.images[-1].get_extent()
    axis.set_axis_on()
    style(axis, *names).grid(False)
    shares = (np.array([*ticks]) - ends[0]) / (ends[1] - ends[0])  # of the way from end to end
    axis.set_xticks(width / 2 + shares * across, list(ticks.values()))
    axis.set_yticks(height / 2 + (1 - shares) * down, list(ticks.values()))
    return figure


def _check_labels(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Return the labels, or none for None. Raises: ValueError for others than integers 0 to 9."""
    if labels is None:
        return np.empty(0, np.int64)
    check("labels", labels, (count,))
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        low, high = labels.min(), labels.max()
        raise ValueError(f"labels: got {low} to {high}, takes integers from 0 to 9")
    return labels
