"""Figures of image models: loss curves, image grids, reconstructions and latent spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.stats import norm

from diptych.figures.style import (
    DPI,
    GAP,
    INK,
    LABELS,
    LEFT,
    LEGEND,
    RIGHT,
    TERMS,
    check,
    set_heading,
    style,
)

Curves = Mapping[str, Mapping[str, np.ndarray]]  # curves[panel]["step" or a loss term]


def loss_curves(curves: Curves, units: str = "nats per example") -> Figure:
    """Plot the loss terms of both panels, one axis a term, and their relative difference below.

    The relative difference |left - right| / |right| has a logarithmic axis. A difference of 0 is
    drawn below the smallest decade, and an infinite one, where `right` is 0, above the largest.
    Shapes: curves["numpy"] and curves["torch"] have the same names: "step" (T), and any terms (T).
    Raises: ValueError if panels, names, shapes or steps do not match, or a value is not finite.
    """
    terms = _check_curves(curves)
    rows = math.ceil(len(terms) / 4)
    columns = math.ceil(len(terms) / rows)
    size = (max(6.4, 3.1 * columns), 2.4 * rows + 2.6)
    figure = Figure(size, dpi=DPI, facecolor="white", layout="constrained")
    step, differences = curves["torch"]["step"], {}
    dot = "o" if len(step) == 1 else None
    for i, term in enumerate(terms):
        a, b = curves["numpy"][term], curves["torch"][term]
        y = units if i % columns == 0 else ""
        axis = style(figure.add_subplot(rows + 1, columns, i + 1), y=y)
        set_heading(axis, term)
        left = axis.plot(step, a, marker=dot, color=LEFT, lw=5, ms=8, label="NumPy")
        right = axis.plot(step, b, "--", marker=dot, color=RIGHT, lw=1.2, ms=3, label="PyTorch")
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            differences[term] = np.where(a == b, 0.0, np.abs(a - b) / np.abs(b))
    figure.legend(handles=[*left, *right], loc="outside upper right", ncols=2, **LEGEND)
    last_row = (rows * columns + 1, (rows + 1) * columns)
    axis = style(
        figure.add_subplot(rows + 1, columns, last_row), "step", "|left − right| / |right|"
    )
    _draw_differences(axis, step, differences)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, handlelength=1, **LEGEND)
    return figure


def image_grid(images: np.ndarray, columns: int) -> Figure:
    """Show images in a grid, row by row; an image pixel is a whole number of dots.

    Shapes: images (N, H, W), or (N, H, W, 3) for colour, clipped to [0, 1].
    Raises: ValueError for another shape, NaN or inf, integers above 1, or columns below 1.
    """
    _check_images("images", images)
    if columns < 1:
        raise ValueError(f"columns: got {columns}, takes 1 or more")
    return _mosaic(images, min(columns, len(images)))[0]


def reconstructions(originals: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Show originals in the upper row and their reconstructions in the lower row.

    Shapes: originals (N, H, W) or (N, H, W, 3), reconstructions alike, clipped to [0, 1].
    Raises: ValueError for other shapes, NaN or inf, or integers above 1.
    """
    _check_images("originals", originals)
    check("reconstructions", reconstructions, originals.shape, grey=True)
    count = len(originals)
    figure, axis = _mosaic(np.concatenate([originals, reconstructions]), count, left=1.05)
    for image, name in zip(axis.images[::count], ("original", "reconstruction"), strict=True):
        middle = (-2 * GAP, sum(image.get_extent()[2:]) / 2)
        axis.text(*middle, name, ha="right", va="center", fontsize=9, color=INK)
    return figure


def latent_scatter(mu: np.ndarray, labels: np.ndarray) -> Figure:
    """Plot the posterior means of a two-dimensional latent space, coloured by label.

    Shapes: mu (N, 2), labels (N), integers from 0 to 9.
    Raises: ValueError for other shapes, NaN or inf, or other labels.
    """
    check("mu", mu, ("N", 2))
    check("labels", labels, (len(mu),))
    present = np.unique(labels)
    if labels.dtype.kind not in "iu" or not set(present) <= set(range(10)):
        raise ValueError(f"labels: got {present[0]} to {present[-1]}, takes integers from 0 to 9")
    figure = Figure((6.4, 5.6), dpi=DPI, facecolor="white", layout="constrained")
    axis = style(figure.add_subplot(), r"$\mu_1$", r"$\mu_2$")
    look = {"s": np.clip(12000 / len(mu), 5, 24), "alpha": 0.8, "linewidths": 0}
    axis.scatter(mu[:, 0], mu[:, 1], c=[LABELS[label] for label in labels], **look)
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in present:
        x, y = np.median(mu[labels == label], axis=0)
        text = axis.text(x, y, str(label), ha="center", va="center", path_effects=halo)
        text.set(fontsize=15, fontweight="bold", color=INK)
        axis.scatter([], [], s=36, linewidths=0, color=LABELS[label], label=str(label))
    axis.set_aspect("equal", adjustable="datalim")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=1, **LEGEND)
    return figure


def latent_manifold(
    decode: Callable[[np.ndarray], np.ndarray],
    side: int,
    image_shape: tuple[int, int],
    quantiles: tuple[float, float] = (0.01, 0.99),
) -> Figure:
    """Show side x side images decoded at z = Phi^-1(u), with u equally spaced over `quantiles`.

    Shapes: decode (M, 2) float64 -> (M, H * W) means, clipped to [0, 1]; image_shape (H, W).
    Raises: ValueError for side below 2, quantiles not 0 < low < high < 1, or another shape decoded.
    """
    (height, width), (low, high) = image_shape, quantiles
    if side < 2:
        raise ValueError(f"side: got {side}, takes 2 or more")
    if not 0 < low < high < 1:
        raise ValueError(f"quantiles: got {quantiles}, takes 0 < low < high < 1")
    z = norm.ppf(np.linspace(low, high, side))
    means = decode(np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2))  # z_2 grows upwards
    check("decode(z)", means, (side**2, height * width))
    picture = np.block([[m.reshape(height, width) for m in r] for r in np.split(means, side)])
    scale = max(1, 900 // max(picture.shape))
    figure, axis = _pixel_axis(picture.shape[1] * scale, picture.shape[0] * scale, 0.6, 0.5)
    style(axis, "$z_1$", "$z_2$").grid(False)
    half = (high - low) / (side - 1) / 2
    _show(axis, picture, (low - half, high + half, low - half, high + half))
    ticks = axis.xaxis.get_major_locator().tick_values(z[0], z[-1])
    ticks = ticks[(z[0] <= ticks) & (ticks <= z[-1])]
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(norm.cdf(ticks), [f"{tick:g}".replace("-", "−") for tick in ticks])
    return figure


def _check_images(name: str, images: np.ndarray) -> None:
    colour = np.ndim(images) == 4
    check(name, images, ("N", "H", "W", 3) if colour else ("N", "H", "W"), grey=True)


def _mosaic(images: np.ndarray, columns: int, left: float = 0) -> tuple[Figure, Axes]:
    count, height, width = images.shape[:3]
    scale = max(1, int(np.clip(1000 / columns, 64, 160)) // max(height, width))
    right, down = width * scale + GAP, height * scale + GAP
    rows = math.ceil(count / columns)
    figure, axis = _pixel_axis(columns * right - GAP, rows * down - GAP, left)
    for i, image in enumerate(images):
        x, y = i % columns * right, i // columns * down
        _show(axis, image, (x, x + right - GAP, y + down - GAP, y))
    axis.set(xlim=(0, columns * right - GAP), ylim=(rows * down - GAP, 0))
    axis.set_axis_off()
    return figure, axis


def _pixel_axis(width: int, height: int, left: float = 0, below: float = 0) -> tuple[Figure, Axes]:
    """Make a figure with an axis of width x height dots; `left`, `below`: margins in inches."""
    x, y = round(left * DPI) + GAP, round(below * DPI) + GAP
    w, h = x + width + GAP, y + height + GAP
    # + 0.01 because Agg rounds the size down, and w / DPI * DPI may be just below w
    figure = Figure(((w + 0.01) / DPI, (h + 0.01) / DPI), dpi=DPI, facecolor="white")
    return figure, figure.add_axes((x / w, y / h, width / w, height / h))


def _show(axis: Axes, image: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    grey = axis.imshow(np.clip(image, 0, 1), "gray", aspect="auto", vmin=0, vmax=1, origin="upper")
    grey.set(interpolation="nearest", extent=extent)


def _draw_differences(axis: Axes, step: np.ndarray, differences: dict[str, np.ndarray]) -> None:
    values = np.concatenate(list(differences.values()))
    logs = np.log10(values[(values > 0) & np.isfinite(values)]).clip(-100, 100)
    low, high = (math.floor(logs.min()), math.ceil(logs.max())) if logs.size else (-16, -15)
    ticks = {10.0**d: f"$10^{{{d}}}$" for d in range(low, high + 1, 1 + (high - low) // 6)}
    distance = 1 + (high - low) / 8
    zero, infinity = 10 ** (low - distance), 10 ** (high + distance)
    ticks |= {zero: "0"} if (values == 0).any() else {}
    ticks |= {infinity: "∞"} if np.isinf(values).any() else {}
    axis.set_yscale("log")
    size, looks = np.clip(50 / math.sqrt(len(step)), 2.2, 4), cycle(TERMS.items())
    for term, values in differences.items():
        mark, color = next(looks)
        name = f"{term}: max {values.max():.1e}" if values.any() else f"{term}: equal"
        axis.plot(
            step,
            values.clip(zero, infinity),
            mark,
            color=color,
            label=name,
            ms=size,
            mew=0,
            alpha=0.75,
        )
    axis.set_yticks(list(ticks), list(ticks.values()))
    axis.minorticks_off()
    margin = 10 ** (distance / 3)
    axis.set_ylim(min(ticks) / margin, max(*ticks, 10.0**high) * margin)


def _check_curves(curves: Curves) -> list[str]:
    left, right = curves.get("numpy", {}), curves.get("torch", {})
    if len(curves) != 2 or set(left) != set(right) or not set(left) > {"step"}:
        got = {panel: list(curve) for panel, curve in curves.items()}
        raise ValueError(f"curves: got {got}, takes numpy and torch, each step and the same terms")
    for panel, curve in curves.items():
        for name, values in curve.items():
            check(f"curves[{panel!r}][{name!r}]", values, (np.size(right["step"]),))
    if (left["step"] != right["step"]).any():
        raise ValueError("curves: got different steps in the two panels, takes the same in both")
    return [name for name in left if name != "step"]
