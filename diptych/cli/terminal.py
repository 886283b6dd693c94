"""What the commands share: where they print, and options that several have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True, soft_wrap=True)

DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of real data; else the variable DIPTYCH_DATA.", show_default=False),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
DType = Annotated[str, typer.Option("--dtype", help="float32 or float64.")]
Record = Annotated[Path | None, typer.Option(help="Write a results file there.", metavar="FILE")]


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Adam's second moments decay into denormals, which slow a long CPU run up to twofold."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
