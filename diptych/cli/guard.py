"""Run one command of the command line; whatever happens in it ends as one line."""

from __future__ import annotations

import sys
from typing import Any

import typer

from diptych import allocator, limits
from diptych.cli import interrupts, streams, terminal
from diptych.cli.commands import app
from diptych.cli.errors import BadInputError, describe, fail, name_options

_UsageError: Any = typer.BadParameter.__base__  # click's, or typer's own copy of it


def run(arguments: list[str] | None) -> None:
    """Run a command and end with its exit status; see diptych.cli.main."""
    if arguments is None:
        arguments = sys.argv[1:]
        streams.prepare()
        limits.limit_memory()
        allocator.keep_freed_memory()
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    command: Any = typer.main.get_command(app)
    status = 0
    try:
        # not command.main: it takes EOFError for Ctrl-C and hides errors of a pipe
        with command.make_context("diptych", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", interrupts.STATUS)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and streams.output_is_broken():
            sys.exit(1)
        if debug:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is no error of one line
            terminal.errors.print(error.format_message(), highlight=False)  # type: ignore[attr-defined]
            sys.exit(2)
        usage = error.format_message if isinstance(error, _UsageError) else None
        message = usage() if usage else name_options(describe(error), command, arguments)
        fail(message, 2 if usage or isinstance(error, BadInputError) else 1)
    failure = terminal.console.failure or streams.flush()
    if failure is not None:
        fail(f"standard output: {failure.strerror}", status or 1)
    sys.exit(status)
