"""The command line: `diptych check | compare | train | evaluate | sample | curves | verify | bench
| lab | site | study`, and `diptych list`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from diptych import __version__
from diptych.cli import comparing, listing, proofs, runs, terminal, training, verifying
from diptych.cli.errors import BadInputError, fail, name_options

__all__ = ["app", "main", "terminal"]

app = typer.Typer(
    name="diptych",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # boxes leave too little room for the text at 80 columns
)
_UsageError: Any = typer.BadParameter.__base__  # click's, or typer's own copy of it


def _print_version(value: bool) -> None:
    if value:
        terminal.console.print(f"diptych {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Every model twice, by hand in NumPy and vectorised in PyTorch, and a proof that both
    compute the same."""


for command in (
    proofs.check,
    comparing.compare,
    training.train,
    runs.evaluate,
    runs.sample,
    runs.curves,
    verifying.verify,
    proofs.bench,
    proofs.lab,
    proofs.site,
    proofs.study,
):
    app.command()(command)
app.command("list")(listing.list_names)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line, with its traceback only after --debug."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    command: Any = typer.main.get_command(app)
    try:
        sys.exit(command.main(args=arguments, prog_name="diptych", standalone_mode=False) or 0)
    except typer.Abort:
        fail("interrupted", 130)
    except (_UsageError, ValueError, OSError, RuntimeError) as error:
        if debug:
            raise
        usage = getattr(error, "format_message", None)
        message = usage() if usage else name_options(str(error), command, arguments)
        is_usage = usage or isinstance(error, BadInputError)
        fail(" ".join(message.split()), 2 if is_usage else 1)
