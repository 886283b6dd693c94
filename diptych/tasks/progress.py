"""Progress bars on the console, for what takes long enough to be waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console

from diptych.display import progress_bar
from diptych.panels import Panel


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
