"""The consoles that commands print to, and options that several commands share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.display import Console

console = Console()
errors = Console(stderr=True, soft_wrap=True)

DEVICE = "Device that computes: cpu, cuda or cuda:N."
DTYPE = "Floating-point type: float32 or float64."


def option(text: str, default: str, *names: str, **details: Any) -> Any:
    """Make an option that is None unless it is given; the help shows `default` as its meaning."""
    return typer.Option(*names, help=f"{text}  [default: {default}]", show_default=False, **details)


DataRoot = Annotated[
    Path | None,
    option(
        "Folder of the data files that are not embedded.",
        "the environment variable DIPTYCH_DATA",
        metavar="FOLDER",
    ),
]
RunDevice = Annotated[str | None, option(DEVICE, "the device of the run")]
LastWeights = Annotated[
    bool,
    typer.Option(
        "--last", help="Take the last weights instead of those with the best validation loss."
    ),
]
Record = Annotated[
    Path | None,
    typer.Option(
        help="Write the numbers, the settings and the machine to this JSON file.",
        metavar="FILE.json",
    ),
]


def write_text(text: str) -> None:
    """Write `text` and one newline to standard output exactly: no wrapping, no markup, tabs kept.

    Characters that the encoding of the output lacks become question marks.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Set denormal numbers to 0 while this is open.

    Adam's second moments decay into denormals, which slow a long run on a CPU up to twofold.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
