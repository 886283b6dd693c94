"""Progress bars on the console for evaluations that take longer than a few seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console

from diptych import pairs
from diptych.display import progress_bar
from diptych.panels import Panel


@contextlib.contextmanager
def pixel_bar(
    console: Console, panel: Panel, count: int
) -> Iterator[dict[str, Callable[[int], None]]]:
    """Show a bar for a model that draws pixels in turn, and yield the keyword that advances it.

    Any other model gets no bar and no keyword.
    """
    total = pairs.traits(panel.model.config).pixels_in_turn
    if not total:
        yield {}
        return
    with progress_bar(console) as progress:
        bar = progress.add_task(f"pixels of {count} images", total=total, message="")
        yield {"progress": lambda pixels: progress.advance(bar, pixels)}
