"""The command compare."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import checks, terminal
from diptych.cli.errors import bad_input
from diptych.names import lookup

SIDE = "a golden file (.safetensors), FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION"
TABLES = ("rename", "layout", "bound", "kwargs")
SETTINGS = (*TABLES, "ignore", "allow_unused", "infinities")


def compare(
    left: Annotated[
        str, typer.Argument(help=f"Left side: {SIDE}; or a saved case, without a right side.")
    ],
    right: Annotated[
        str | None, typer.Argument(help="Right side: likewise.", show_default=False)
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="Arguments of the models: the arrays of this file in their order; an array named "
            "noise, or arrays named noise.FIELD, are the noise of a loss. Without it, those of the "
            "golden file.",
            metavar="FILE.npz|.npy|.safetensors",
        ),
    ] = None,
    rename: Annotated[
        Path | None,
        typer.Option(
            help="Options from a file with the tables [rename], [layout], [bound] and [kwargs], "
            "and the keys ignore, allow_unused and infinities.",
            metavar="FILE.toml",
        ),
    ] = None,
    copy_weights: Annotated[
        bool,
        typer.Option(
            "--copy-weights", help="Copy the left model's weights to the right model first."
        ),
    ] = False,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            help="Bound of the errors, for all tensors or for those that match a pattern.",
            metavar="NUMBER|PATTERN=NUMBER",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Do not compare tensors that match this pattern.", metavar="PATTERN"),
    ] = None,
    allow_unused: Annotated[
        list[str] | None,
        typer.Option(help="Parameters that may get no gradient on the right.", metavar="PATTERN"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the pair in the report.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all rows.", metavar="FILE.json")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page.", metavar="FILE.html")
    ] = None,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", help="Write the verdict and failures.", metavar="FILE.md"),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show a row for each tensor.")
    ] = False,
) -> None:
    """Compare two models of your own, tensor by tensor.

    A function takes no arguments and returns a NumPy or a torch model; a class will do. Golden
    files are written by diptych.parity.record, saved cases by diptych.parity.save_case. The exit
    status is 0 if the sides agree, 1 if they diverge and 2 if they cannot be compared.
    """
    with bad_input():
        check_side("left", left, alone=right is None)
        if right is not None:
            check_side("right", right)
        check_exists("inputs", inputs, (".npz", ".npy", ".safetensors"))
        check_exists("rename", rename, (".toml",))
        checks.check_file("json_file", json_file, ".json")
        checks.check_file("html_file", html_file, ".html")
        checks.check_file("markdown_file", markdown_file, ".md")
        options = read_options(rename, bound or [], ignore or [], allow_unused or [])
        from diptych.commands.compare import compare_sides

        report = compare_sides(
            left,
            right,
            terminal.console,
            inputs=inputs,
            options=options,
            copy_weights=copy_weights,
            name=name,
            reproducer=_command(
                [left, *([right] if right else [])],
                {"--input": inputs, "--rename": rename, "--bound": bound, "--ignore": ignore}
                | {"--allow-unused": allow_unused, "--copy-weights": copy_weights},
            ),
            verbose=verbose,
            files={"to_json": json_file, "to_html": html_file, "to_markdown": markdown_file},
        )
    raise typer.Exit(0 if report.ok else 1)


def check_side(argument: str, text: str, *, alone: bool = False) -> None:
    """Raise unless `text` names a golden file or a maker; `alone`, a saved case."""
    from diptych.parity.makers import parse

    if text.endswith(".safetensors"):
        check_exists(argument, Path(text), (".safetensors",))
        return
    parse(argument, text, " or a golden file (.safetensors)")
    if alone:
        raise ValueError(f"right: got None, takes {SIDE}; only a saved case is compared alone")


def check_exists(argument: str, path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raise unless `path` is None or an existing file with one of the suffixes."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise ValueError(f"{argument}: got '{path}', takes a {' or '.join(suffixes)} file")
    if not path.is_file():
        raise ValueError(f"{argument}: got '{path}', there is no such file")


def read_options(
    file: Path | None, bound: list[str], ignore: list[str], allow_unused: list[str]
) -> dict[str, Any]:
    """The options in a TOML file and in the command's arguments; the latter add to the former.

    Raises: ValueError that names the file or the argument, and the fault.
    """
    options = {} if file is None else _read_toml(file)
    if bound:
        options["bound"] = _merged_bound(options.get("bound"), bound)
    if ignore:
        options["ignore"] = [*options.get("ignore", []), *ignore]
    if allow_unused and options.get("allow_unused") is not True:
        options["allow_unused"] = [*(options.get("allow_unused") or []), *allow_unused]
    return options


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not TOML: {error}") from None
    options = {}
    for key, value in content.items():
        try:
            lookup("key", key, dict.fromkeys(SETTINGS))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        is_table = key in TABLES and isinstance(value, dict)
        if key in ("rename", "layout") and not is_table:
            raise ValueError(f"{file}: {key}: got {value!r}, takes a table [{key}]")
        if key == "ignore" and not isinstance(value, list):
            raise ValueError(f"{file}: {key}: got {value!r}, takes a list of patterns")
        # an unquoted encoder.weight = ... is a table in a table
        options[key] = dict(_flattened(value)) if is_table and key != "kwargs" else value
    return options


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Any:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merged_bound(bound: Any, texts: list[str]) -> Any:
    """A number, or numbers by pattern, from "1e-9" and "pattern=1e-9"."""
    result = {} if bound is None else bound if isinstance(bound, dict) else {"*": bound}
    for text in texts:
        pattern, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"bound: got {text!r}, takes NUMBER or PATTERN=NUMBER") from None
        if not pattern:
            result.pop("*", None)
        result = result | {pattern or "*": value}
    return result["*"] if list(result) == ["*"] else result


def _command(sides: list[str], options: Mapping[str, Any]) -> str:
    """The command line that repeats this comparison."""
    words = ["diptych", "compare", *sides]
    for option, value in options.items():
        if isinstance(value, bool) or value is None:
            words += [option] if value else []
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [option, str(item)]
    return shlex.join(words)
