"""The command line: `diptych check | compare | train | evaluate | sample | curves | verify |
bench | lab | site | study`, and `diptych list`.

This module imports next to nothing, so that Ctrl-C is quiet from the first import on.
"""

from __future__ import annotations

from diptych.cli.interrupts import STATUS, QuietInterrupts, tell

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error is one line, with its traceback only after --debug.

    Without arguments it is the process's own command line, whose output is made ready first (see
    diptych.cli.streams).
    """
    with QuietInterrupts(whole_process=arguments is None):
        try:
            from diptych.cli.guard import run  # imports Typer and Rich

            run(arguments)
        except KeyboardInterrupt:  # before or after the command itself
            tell()
            raise SystemExit(STATUS) from None
