"""Commands that prove, time and tell: check, bench, lab, study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import terminal
from diptych.cli.terminal import DataRoot, Device, DType, Record


def check(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Pairs, or pair[variant]; all of them where none is named."),
    ] = None,
    dtype: DType = "float64",
    device: Device = "cpu",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the outcome there.", metavar="FILE")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every tensor.")] = False,
) -> None:
    """Compare the two panels, tensor by tensor. Exit status 1 where they diverge."""
    from diptych.commands.check import check_pairs

    reports = check_pairs(
        models or None, dtype, device, terminal.console, json_file, verbose=verbose
    )
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def bench(
    model: Annotated[str, typer.Argument(help="Which pair, mlp_vae for one.")],
    rounds: Annotated[int, typer.Option(help="Turns that each is given.")] = 40,
    compiled: Annotated[bool, typer.Option(help="Time torch.compile as well.")] = True,
    record: Record = None,
) -> None:
    """Time both panels in turn: forward, gradients, whole step; float64 and float32."""
    from diptych.bench import bench as run_bench

    run_bench(model, terminal.console, rounds=rounds, compiled=compiled, record=record)


def lab(
    name: Annotated[
        str, typer.Argument(help="estimators, bound, beta, likelihoods, autoencoder or lossy.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the figure, the table, the JSON.")] = Path(
        "out/lab"
    ),
    data: Annotated[
        str | None,
        typer.Option(
            help="Images: digits, mnist, ...; digits, for lossy binary_digits16, if none."
        ),
    ] = None,
    data_root: DataRoot = None,
    seeds: Annotated[int, typer.Option(help="Models trained, each from a seed of its own.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds, not minutes.")] = False,
    record: Record = None,
) -> None:
    """An experiment on the theory of the VAE. Exit status 1 where theory and numbers disagree."""
    from diptych.lab import run_lab

    with terminal.flushed_denormals():
        report = run_lab(
            name,
            out,
            terminal.console,
            dataset=data,
            data_root=data_root,
            seeds=tuple(range(seeds)),
            quick=quick,
            record=record,
        )
    raise typer.Exit(0 if report.ok else 1)


def study(
    out: Annotated[Path, typer.Option(help="Folder for figures, weights, metrics.")] = Path("out"),
    epochs: Annotated[int, typer.Option(help="Passes over the digits, on each panel.")] = 100,
) -> None:
    """Check every pair, train both panels on the embedded digits, and show that they are one."""
    from diptych.study import study as run_study

    with terminal.flushed_denormals():
        ok = run_study(out, epochs, terminal.console)
    raise typer.Exit(0 if ok else 1)
