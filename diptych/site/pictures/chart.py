"""A chart over named places: axes, lines of means, points of single runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from diptych.site.pictures.picture import join, line, path, rect, tag, text

WIDTH, HEIGHT, LEFT, TOP, BELOW = 520.0, 240.0, 46.0, 34.0, 78.0


@dataclass(frozen=True)
class Series:
    """Values (places, runs) of one quantity; `style` is the class of its marks."""

    label: str
    values: np.ndarray
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart with one place for each name, and a vertical axis from 0 to `top`."""

    names: Sequence[str]
    top: float
    ticks: Sequence[float]
    heading: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing."""
        return WIDTH, TOP + HEIGHT + BELOW

    def x(self, place: float) -> float:
        """The horizontal position of a place, 0 for the first."""
        gap = (WIDTH - LEFT - 20) / len(self.names)
        return LEFT + gap * (place + 0.5)

    def y(self, value: float) -> float:
        """The vertical position of a value."""
        return TOP + HEIGHT * (1 - value / self.top)

    def axes(self) -> Markup:
        """Heading, horizontal rules with their numbers, and the names of the places."""
        rules = [
            join(
                [
                    line(LEFT, self.y(tick), WIDTH - 20, self.y(tick), class_="gridline"),
                    text(LEFT - 8, self.y(tick) + 4, f"{tick:g}", class_="anchor-end faint"),
                ]
            )
            for tick in self.ticks
        ]
        names = [
            text(self.x(place), TOP + HEIGHT + 20, name, class_="anchor-middle")
            for place, name in enumerate(self.names)
        ]
        return join([text(0, 14, self.heading, class_="chart-heading"), *rules, *names])

    def draw(self, series: Series, shift: float = 0.0) -> Markup:
        """The mean of a series as a line, its single runs as points with their values.

        The points stand `shift` pixels to the right, so that those of several series do not
        cover each other.
        """
        means = series.values.mean(1)
        d = "M" + "L".join(f"{self.x(i):.1f} {self.y(v):.1f}" for i, v in enumerate(means))
        points = [
            tag(
                "circle",
                tag("title", f"{series.label}, {self.names[place]}: {value:.3g}"),
                cx=self.x(place) + shift,
                cy=self.y(value),
                r=2.6,
            )
            for place, runs in enumerate(series.values)
            for value in runs
        ]
        return tag("g", path(d), *points, class_=f"series {series.style}")

    def level(self, value: float, label: str) -> Markup:
        """A dotted line at a value, with its label at the right end."""
        y = self.y(value)
        words = text(WIDTH - 22, y - 5, label, class_="anchor-end faint")
        return join([line(LEFT, y, WIDTH - 20, y, class_="level-line"), words])

    def legend(self, series: Sequence[Series], y: float = 22.0) -> Markup:
        """A mark and a label for each series, in the upper right."""
        parts: list[Any] = []
        x = WIDTH - 20
        for entry in reversed(series):
            x -= 6.4 * len(entry.label) + 34
            mark = rect(x, y - 1.5, 18, 3, class_=f"swatch {entry.style}")
            parts += [mark, text(x + 24, y + 4, entry.label)]
        return join(parts)
