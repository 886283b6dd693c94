"""The command verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import checks, terminal
from diptych.cli.terminal import DataRoot


def verify(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    data_root: DataRoot = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the outcome to this file.", metavar="FILE.json"),
    ] = None,
) -> None:
    """Check the files of trained runs: settings, digests, metrics, checkpoint and data.

    Exit status 1 if anything is wrong.
    """
    checks.check_file("json_file", json_file, ".json")
    checks.check_runs(*runs)
    from diptych.commands.verify import verify_runs

    ok = verify_runs(runs, console=terminal.console, data_root=data_root, json_file=json_file)
    raise typer.Exit(0 if ok else 1)
