"""Progress bars on the console, for what takes long enough to be waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from diptych.panels import Panel


def progress_bar(console: Console) -> Progress:
    """A bar whose tasks have a description and a field `told`, for what is known so far."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[message]}"),
        TimeRemainingColumn(),
        console=console,
    )


@contextlib.contextmanager
def pixel_bar(
    console: Console, panel: Panel, count: int
) -> Iterator[dict[str, Callable[[int], None]]]:
    """What a model that draws pixels in turn is given to tell of them; nothing for any other."""
    total = getattr(panel.model.config, "pixels_in_turn", 0)
    if not total:
        yield {}
        return
    with progress_bar(console) as progress:
        bar = progress.add_task(f"pixels of {count} images", total=total, message="")
        yield {"progress": lambda pixels: progress.advance(bar, pixels)}
