"""Figures of recorded runs: validation curves, and the perplexity of averaged models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from diptych.figures.style import DPI, INK, LEGEND, RIGHT, TERMS, check, set_heading, style

COLUMNS = 2
ROOM = 0.08
"""The part of the axis that stays free beyond the lowest and the highest value."""
LINE = 0.2
"""The height of a line of the legend, inches."""


def validation_curves(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    units: Mapping[str, str],
) -> Figure:
    """Plot a score of the validation set after each epoch: one axis a group, one line a run.

    `groups[title][run]` are the scores of a run after epoch 1, 2, ...; `units[title]` labels the
    axis. An axis ends a little above the highest score after a tenth of a run's epochs, because the
    first epochs would hide the others. The lowest score of each run is marked. A run of the same
    name has one colour on all axes; where two coincide, the shorter one lies on top. The legend
    stands below the axis, where it covers no line.

    Raises: ValueError for no group, an empty one, a run without scores, or more names than there
    are colours.
    """
    if not groups:
        raise ValueError("groups: got none, takes one or more")
    rows = -(-len(groups) // COLUMNS)
    columns = min(COLUMNS, len(groups))
    height = 3.4 + LINE * max(map(len, groups.values()))
    size = (4.6 * columns, height * rows)
    figure = Figure(size, dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(groups) :]:
        axis.set_visible(False)
    looks = looks_of(groups)
    for axis, (title, runs) in zip(axes, groups.items(), strict=False):
        if not runs:
            raise ValueError(f"groups[{title!r}]: got 0 runs, takes one or more")
        set_heading(style(axis, "epoch", units[title]), title)
        lowest, highest = np.inf, -np.inf
        for name, scores in runs.items():
            mark, color = looks[name]
            values = np.asarray(scores, float)
            check(f"groups[{title!r}][{name!r}]", values, ("epochs",))
            epochs, best = np.arange(1, len(values) + 1), int(values.argmin())
            label = f"{name}: {values[best]:.2f}, epoch {best + 1}"
            axis.plot(epochs, values, color=color, lw=1.5, zorder=2 + 1 / len(values))
            look = {"color": color, "ms": 7, "mec": "white", "label": label}
            axis.plot(epochs[best], values[best], mark, **look)
            lowest = min(lowest, values[best])
            early = min(max(1, len(values) // 10), len(values) - 1)
            highest = max(highest, values[early])
        room = ROOM * max(highest - lowest, 1e-3 * abs(lowest))
        axis.set_ylim(lowest - room, highest + room)
        below = {"loc": "upper left", "bbox_to_anchor": (-0.16, -0.16)}
        axis.legend(**below, **LEGEND | {"markerscale": 1, "fontsize": 7.5})
    return figure


def looks_of(groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, str]]:
    """A mark and a colour for each name, different from those of all names in its groups.

    Raises: ValueError if there are too few.
    """
    looks: dict[str, tuple[str, str]] = {}
    for title in sorted(groups, key=lambda title: -len(list(groups[title]))):
        for name in groups[title]:
            if name in looks:
                continue
            beside = {other for names in groups.values() if name in names for other in names}
            free = [look for look in TERMS.items() if look not in map(looks.get, beside)]
            if not free:
                raise ValueError(f"groups[{title!r}]: {name!r} got no colour of {len(TERMS)}")
            looks[name] = free[0]
    return looks


def averaged_perplexity(
    ours: Mapping[int, float], source: Mapping[int, float], name: str
) -> Figure:
    """Plot the test perplexity of the averaged probabilities of n runs against n.

    `ours` and `source` map n to a perplexity; `name` is the source in the legend.
    Raises: ValueError for no value of ours, or one below 1.
    """
    if not ours:
        raise ValueError("ours: got none, takes a perplexity or more")
    figure = Figure((5.2, 3.6), dpi=DPI, facecolor="white", layout="constrained")
    axis = style(figure.add_subplot(), "runs whose probabilities are averaged", "test perplexity")
    for label, values, color, look in (
        (name, source, INK, "D--"),
        ("ours", ours, RIGHT, "o-"),
    ):
        counts = sorted(values)
        heights = [values[n] for n in counts]
        if any(not height >= 1 for height in heights):
            raise ValueError(f"{label}: got {heights}, takes perplexities of 1 or more")
        axis.plot(counts, heights, look, color=color, ms=6, lw=1.5, label=label)
    axis.set_xticks(sorted({*ours, *source}))
    axis.legend(**LEGEND)
    return figure
