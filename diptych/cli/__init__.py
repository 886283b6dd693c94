"""The front door: `diptych check | train | evaluate | sample | curves | bench | lab | study`."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from diptych.cli import proofs, runs, terminal, training

app = typer.Typer(
    name="diptych",
    help="Every model twice, NumPy by hand and PyTorch vectorised, and proved the same.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_UsageError: Any = typer.BadParameter.__base__  # click's, or typer's own copy of it


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command are for every command."""


for command in (
    proofs.check,
    training.train,
    runs.evaluate,
    runs.sample,
    runs.curves,
    proofs.bench,
    proofs.lab,
    proofs.study,
):
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line, with its traceback only after --debug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    command: Any = typer.main.get_command(app)
    try:
        sys.exit(command.main(args=arguments, prog_name="diptych", standalone_mode=False) or 0)
    except typer.Abort:
        _fail("interrupted", 130)
    except (_UsageError, ValueError, OSError, RuntimeError) as error:
        if debug:
            raise
        usage = getattr(error, "format_message", None)
        message = usage() if usage else str(error)
        _fail(" ".join(message.split()), 2 if usage else 1)


def _fail(message: str, status: int) -> None:
    rank = os.environ.get("RANK") or "0"
    message = message if rank == "0" else f"rank {rank}: {message}"
    terminal.errors.print(f"[bold red]error:[/] {_escape(message)}", highlight=False)
    sys.exit(status)


def _escape(message: str) -> str:
    from rich.markup import escape

    return escape(message)
