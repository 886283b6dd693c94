"""Figures of recurrent networks: accuracy on memory tasks, perplexity, and dropout masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator

from diptych.figures.style import DPI, INK, LEGEND, MUTED, RIGHT, TERMS, check, set_heading, style
from model_specs.common.fields import check_choice, check_positive_int
from model_specs.recurrent.dropout import SCHEMES, Masks

# Source of the hues: Okabe & Ito, "Color universal design", 2008. Blue for schemes that leave the
# recurrent connections alone, warm for those that drop them. Widths differ so that lines that
# coincide are all visible.
LOOKS: dict[str, dict[str, Any]] = {
    "none": {"color": "#AAAAAA", "marker": "o", "lw": 4.5, "ms": 7.0},
    "per_step": {"color": "#0072B2", "marker": "s", "lw": 3.0, "ms": 6.0},
    "variational": {"color": "#56B4E9", "marker": "D", "lw": 1.5, "ms": 5.0},
    "variational_recurrent": {"color": "#E69F00", "marker": "^", "lw": 1.5, "ms": 5.5},
    "recurrent": {"color": "#A33B00", "marker": "v", "lw": 1.5, "ms": 5.5},
}
KEPT, DROPPED = "#F1EEE6", RIGHT
BAND, DODGE = 0.25, 0.13  # opacity of a band; offset between schemes, delays being 1 apart


def memory_curves(results: Mapping[str, Any]) -> Figure:
    """Plot the accuracy of each dropout scheme on a memory task.

    Left, held-out accuracy against the training step; right, test accuracy against the delay. Marks
    are means over the seeds, bands and bars reach from the worst seed to the best, chance is
    dotted. Seeds that diverged are left out and counted in the legend. `results` is the dict that
    diptych.study.memory.memory_experiment returns.

    Units: % of answers that are right. Raises: ValueError for results of another form, no scheme,
    or seeds of one scheme that were evaluated at different steps.
    """
    _check_memory(results)
    schemes, delays = results["schemes"], results["settings"]["delays"]
    figure = Figure((9.2, 4.2), dpi=DPI, facecolor="white", layout="constrained")
    by_step, by_delay = figure.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    set_heading(
        style(by_step, "training step", "right answers, %"), "during training, held-out data"
    )
    set_heading(style(by_delay, "delay, steps"), "after training, test data")
    handles = []
    for index, (scheme, result) in enumerate(schemes.items()):
        _draw_by_step(by_step, result["curves"], LOOKS[scheme], (index, len(schemes)))
        middle = (len(schemes) - 1) / 2
        x = np.arange(len(delays)) + DODGE * (index - middle)
        _draw_by_delay(by_delay, x, [result["delays"][str(d)] for d in delays], LOOKS[scheme])
        diverged, seeds = sum(map(bool, result["diverged"])), len(result["diverged"])
        name = f"{scheme} ({diverged} of {seeds} diverged)" if diverged else scheme
        handles.append(Line2D([], [], label=name, **LOOKS[scheme]))
    dotted: dict[str, Any] = {"color": INK, "ls": ":", "lw": 1.2, "zorder": 1}
    chance = 100 * results["chance"]
    for axis in (by_step, by_delay):
        axis.axhline(chance, **dotted)
    handles.append(Line2D([], [], label=f"chance, {chance:.1f} %", **dotted))
    trained = results["settings"].get("length")
    names = [f"{d}\n(trained)" if d == trained else str(d) for d in delays]
    by_delay.set_xticks(range(len(delays)), names)
    by_delay.grid(False, axis="x")
    by_step.set_ylim(-4, 104)
    figure.legend(handles=handles, loc="outside upper left", ncols=3, **LEGEND | {"markerscale": 1})
    return figure


def perplexity_curves(runs: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Figure:
    """Plot the perplexity of each run after each epoch: validation solid, training dashed.

    The best validation value of each run is marked, and named in the legend with its epoch. Values
    that are None, NaN or inf are left out. The axis is logarithmic.

    Shapes: runs[name] has "epoch", "train" and "valid", each (epochs). Units: exp(nats per token).
    Raises: ValueError for no run or more than 8, other names, shapes, or a perplexity below 1.
    """
    if not 1 <= len(runs) <= len(TERMS):
        raise ValueError(f"runs: got {len(runs)}, takes 1 to {len(TERMS)}")
    figure = Figure((6.8, 4.2), dpi=DPI, facecolor="white", layout="constrained")
    axis = style(figure.add_subplot(), "epoch", "perplexity")
    axis.set_yscale("log")
    handles, values = [], []
    for (name, run), (mark, color) in zip(runs.items(), TERMS.items(), strict=False):
        epoch, train, valid = _check_run(name, run)
        dot = "." if len(epoch) == 1 else None
        axis.plot(epoch, train, "--", color=color, marker=dot, lw=1.1)
        axis.plot(epoch, valid, "-", color=color, marker=dot, lw=1.8)
        values += [train, valid]
        label = f"{name}: no finite value"
        if np.isfinite(valid).any():
            best = int(np.nanargmin(valid))
            label = f"{name}: best {valid[best]:.2f}, epoch {epoch[best]:g}"
            axis.plot(epoch[best], valid[best], mark, color=color, ms=8, mec="white", mew=1)
        handles.append(Line2D([], [], color=color, marker=mark, lw=1.8, label=label))
    _log_ticks(axis, np.concatenate(values))
    figure.legend(handles=handles, loc="outside upper left", **LEGEND | {"markerscale": 1})
    handles = [
        Line2D([], [], color=MUTED, ls=line, lw=1.4, label=label)
        for label, line in (("validation", "-"), ("training", "--"))
    ]
    figure.legend(handles=handles, loc="outside upper right", **LEGEND)
    return figure


def mask_pictures(noises: Mapping[str, Masks], layers: int, steps: int, example: int = 0) -> Figure:
    """Show the dropout masks of one example: a row for each scheme, a column for each connection.

    Kept is light, dropped is dark. In each picture a row is a unit and a column a time step, so a
    mask that all steps share appears as stripes. noises[scheme] is the noise of a model's
    `draw_noise`; `layers` is its L and `steps` its T.

    Shapes: masks (T or 1, B, width) bool: L + 1 in `inputs` or none, L in `recurrent` or none.
    Raises: ValueError for no scheme, masks of other shapes, or an example index out of range.
    """
    check_positive_int("layers", layers)
    check_positive_int("steps", steps)
    if not noises:
        raise ValueError("noises: got none, takes the masks of one scheme or more")
    rows = [_check_masks(scheme, masks, layers, steps) for scheme, masks in noises.items()]
    names = ["into layer 0", *(f"layer {k - 1} to {k}" for k in range(1, layers))]
    names += [f"out of layer {layers - 1}", *(f"h(t−1), layer {k}" for k in range(layers))]
    size = (1.2 + 1.55 * len(names), 0.8 + 0.85 * len(rows))
    figure = Figure(size, dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for scheme, masks, line in zip(noises, rows, axes, strict=True):
        for axis, mask in zip(line, masks, strict=True):
            _draw_mask(axis, mask, steps, example)
        name = scheme.replace("_", "_\n") if len(scheme) > 12 else scheme
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        line[0].yaxis.label.set(fontsize=9, fontweight="bold", color=INK)
    for name, column, masks in zip(names, axes.T, zip(*rows, strict=True), strict=True):
        widths = {mask.shape[-1] for mask in masks if mask is not None}
        units = f"{widths.pop()} units" if len(widths) == 1 else ""
        column[0].set_title(f"{name}\n{units}".strip(), fontsize=8.5, color=INK)
        column[-1].set_xlabel("step", fontsize=8.5, color=INK)
        column[-1].tick_params(labelbottom=True)
    handles = [
        Patch(facecolor=color, edgecolor=MUTED, lw=0.6, label=label)
        for label, color in (("kept", KEPT), ("dropped", DROPPED))
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, **LEGEND)
    return figure


def _draw_by_step(
    axis: Axes, curves: Sequence[Any], look: Mapping[str, Any], marks: tuple[int, int]
) -> None:
    """Draw the accuracy of one scheme during training; `marks` is (first mark, mark every n)."""
    finished = [curve for curve in curves if curve is not None]
    if not finished:
        return
    step = finished[0]["step"]
    marks = marks if len(step) >= marks[1] else (0, 1)
    seeds = 100 * np.array([curve["accuracy"] for curve in finished], float)
    band = {"color": look["color"], "alpha": BAND, "linewidth": 0}
    axis.fill_between(step, seeds.min(0), seeds.max(0), **band)
    axis.plot(step, seeds.mean(0), markevery=marks, mec="white", mew=0.6, **look)


def _draw_by_delay(
    axis: Axes, x: np.ndarray, accuracies: Sequence[Any], look: Mapping[str, Any]
) -> None:
    """Draw the mean and the range over the seeds of one scheme at each delay."""
    finished = [[100 * a for a in seeds if a is not None] for seeds in accuracies]
    present = [i for i, seeds in enumerate(finished) if seeds]
    ranges = [(min(finished[i]), max(finished[i])) for i in present]
    axis.vlines(x[present], *np.reshape(ranges, (-1, 2)).T, color=look["color"], linewidth=2)
    means = [float(np.mean(finished[i])) for i in present]
    axis.plot(x[present], means, mec="white", mew=0.6, **dict(look) | {"lw": 0.8})


def _draw_mask(axis: Axes, mask: np.ndarray | None, steps: int, example: int) -> None:
    style(axis).grid(False)
    axis.spines[:].set_visible(True)
    axis.tick_params(left=False, labelleft=False, labelbottom=False)
    axis.set_xlim(0.5, steps + 0.5)
    if mask is None:
        text = axis.text(0.5, 0.5, "never dropped", ha="center", va="center", color=MUTED)
        text.set(transform=axis.transAxes, fontsize=8)
        return
    if not 0 <= example < mask.shape[1]:
        raise ValueError(f"example: got {example}, takes one of 0 to {mask.shape[1] - 1}")
    units = np.broadcast_to(mask[:, example], (steps, mask.shape[-1])).T
    colors = ListedColormap([DROPPED, KEPT])
    image = axis.imshow(units, colors, aspect="auto", vmin=0, vmax=1, origin="lower")
    image.set(interpolation="nearest", extent=(0.5, steps + 0.5, -0.5, len(units) - 0.5))


def _log_ticks(axis: Axes, values: np.ndarray) -> None:
    """Label a logarithmic axis with plain numbers, also if it spans less than a decade."""
    values = values[np.isfinite(values)]
    span = values.max() / values.min() if values.size else 1.0
    locator: Locator = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10])
    if span > 3:
        locator = LogLocator(subs=(1, 2, 5) if span > 10 else (1, 1.5, 2, 3, 5, 7))
    axis.yaxis.set_major_locator(locator)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.minorticks_off()


def _check_memory(results: Mapping[str, Any]) -> None:
    missing = {"schemes", "settings", "chance"} - set(results)
    if missing or not results["schemes"]:
        names = ", ".join(sorted(missing)) or "scheme"
        raise ValueError(f"results: got no {names}, takes the results of memory_experiment")
    delays = set(map(str, results["settings"]["delays"]))
    for scheme, result in results["schemes"].items():
        check_choice("scheme", scheme, SCHEMES)
        missing = {"curves", "delays", "diverged"} - set(result) or delays - set(result["delays"])
        if missing:
            names = ", ".join(sorted(missing))
            raise ValueError(f"results: got no {names} of {scheme}, takes each")
        steps = {tuple(curve["step"]) for curve in result["curves"] if curve is not None}
        if len(steps) > 1:
            raise ValueError(
                f"results: got seeds of {scheme} evaluated at different steps, takes the same"
            )


def _check_run(name: str, run: Mapping[str, Sequence[float | None]]) -> list[np.ndarray]:
    """Return "epoch", "train" and "valid" as float arrays; values that are not finite are NaN."""
    names = ("epoch", "train", "valid")
    if set(run) != set(names):
        raise ValueError(f"runs[{name!r}]: got {list(run)}, takes {', '.join(names)}")
    arrays = [np.asarray(run[key], float) for key in names]  # None becomes NaN
    check(f"runs[{name!r}]['epoch']", arrays[0], ("epochs",))
    for key, values in zip(names[1:], arrays[1:], strict=True):
        values[~np.isfinite(values)] = np.nan
        check(f"runs[{name!r}][{key!r}]", np.nan_to_num(values), arrays[0].shape)
        if (values < 1).any():
            raise ValueError(f"runs[{name!r}][{key!r}]: got {np.nanmin(values):g}, takes 1 or more")
    return arrays


def _check_masks(scheme: str, masks: Masks, layers: int, steps: int) -> list[np.ndarray | None]:
    """Return the masks in the order of the columns, None for a connection without dropout."""
    columns: list[np.ndarray | None] = []
    for field, count in (("inputs", layers + 1), ("recurrent", layers)):
        field_masks = getattr(masks, field) or (None,) * count
        if len(field_masks) != count:
            raise ValueError(
                f"noises[{scheme!r}].{field}: got {len(field_masks)}, takes {count} or none"
            )
        for index, mask in enumerate(field_masks):
            name = f"noises[{scheme!r}].{field}[{index}]"
            if mask is not None:
                shared = np.shape(mask)[:1] == (1,)
                check(name, mask, (1 if shared else steps, "B", "units"))
            columns.append(mask)
    return columns
