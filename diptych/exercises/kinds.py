"""The kind of examples that goes with a panel's model."""

from __future__ import annotations

from diptych import pairs
from diptych.exercises.examples import Examples
from diptych.exercises.images import ImageExamples
from diptych.exercises.text import TextExamples
from diptych.panels import Panel

KINDS: dict[str, type[Examples]] = {"images": ImageExamples, "sequences": TextExamples}


def examples_of(panel: Panel) -> Examples:
    """The examples that the panel's model takes."""
    return KINDS[pairs.of_model(panel.model).inputs](panel)
