"""The commands of `diptych`, and what it does without one."""

from __future__ import annotations

from typing import Annotated

import typer

from diptych import __version__
from diptych.cli import comparing, listing, proofs, runs, terminal, training, verifying
from diptych.cli.paths import without_empty_paths

app = typer.Typer(
    name="diptych",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # boxes leave too little room for the text at 80 columns
)


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
    app.command()(without_empty_paths(command))
app.command("list")(listing.list_names)
