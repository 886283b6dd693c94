"""The commands check, bench, lab, site and study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import checks, terminal
from diptych.cli.terminal import DEVICE, DTYPE, DataRoot, Record, option
from diptych.names import EXPERIMENTS, MODELS
from model_specs.common.fields import check_positive_int


def check(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pairs to compare, as PAIR or 'PAIR[VARIANT]' (see `diptych list pairs`); "
            "'random' compares the random streams.  [default: all pairs and 'random']",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help=DTYPE)] = "float64",
    device: Annotated[str, typer.Option(help=DEVICE)] = "cpu",
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the outcome to this file.", metavar="FILE.json"),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show a row for each tensor.")
    ] = False,
) -> None:
    """Compare the two panels of each pair, tensor by tensor.

    The exit status is 1 if a pair diverges.
    """
    checks.check_pairs(models or [], others=["random"])
    checks.check_dtype(dtype)
    checks.check_device(device)
    checks.check_file("json_file", json_file, ".json")
    from diptych.commands.check import check_pairs

    reports = check_pairs(
        models or None, dtype, device, terminal.console, json_file, verbose=verbose
    )
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Models to time: {', '.join(MODELS)}.  [default: all]", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help=f"{DEVICE} A GPU is timed beside the CPU.")] = "cpu",
    threads: Annotated[
        int | None, option("Threads of each process.", "the cores that this process may use")
    ] = None,
    dtype: Annotated[str | None, option(DTYPE, "both; float32 with --quick", "--dtype")] = None,
    sizes: Annotated[
        str | None,
        option(
            "Batch sizes of the sweep, separated by commas.",
            "1 to 16384 in powers of 4; 1,8,64 with --quick",
            metavar="N,N,...",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Time training steps alone: two minutes on two cores.")
    ] = False,
    rounds: Annotated[
        int | None, option("Rounds of each measurement, at most.", "20; 5 with --quick")
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Time layers, flows and samplers as well.")
    ] = False,
    compiled: Annotated[
        bool | None,
        option("Time torch.compile as well.", "yes; no with --quick", "--compiled/--no-compiled"),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers to this file.", metavar="FILE.json"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path(
        "out/bench"
    ),
) -> None:
    """Time NumPy against PyTorch, on the CPU and on a GPU.

    Each backend has a process of its own, and they take turns. First every backend is compared with
    the left panel in float64, at the size and dtype that are timed; the exit status is 1 if one
    differs. Then training steps are timed over a sweep of batch sizes.
    """
    for name in models or []:
        checks.check_model(name)
    checks.check_device(device)
    checks.check_dtype(dtype)
    batch_sizes = checks.check_sizes(sizes)
    for argument, value in (("threads", threads), ("rounds", rounds)):
        if value is not None:
            check_positive_int(argument, value)
    checks.check_file("json_file", json_file, ".json")
    checks.check_folder("out", out, ["index.html"], ["figures"])
    checks.check_distinct({"json_file": json_file}, [out / "index.html"])
    from diptych.bench import bench as run_bench
    from diptych.bench.clock import cores
    from diptych.bench.points import Settings

    available = cores()
    if threads is not None and threads > available:
        terminal.errors.print(
            f"warning: {threads} threads on {available} cores wait for each other", style="yellow"
        )
    defaults = Settings()
    settings = Settings(
        models=tuple(dict.fromkeys(models or MODELS)),
        device=device,
        threads=threads or available,
        dtypes=(dtype,) if dtype else ("float32",) if quick else defaults.dtypes,
        sizes=batch_sizes,
        quick=quick,
        rounds=rounds or (5 if quick else defaults.rounds),
        parts=parts,
        compiled=not quick if compiled is None else compiled,
        plain=not quick,
        operations=("step",) if quick else defaults.operations,
    )
    record = run_bench(settings, terminal.console, json_file)
    from diptych.bench.measure import DIFFER
    from diptych.site.speed import write_page

    terminal.console.print(write_page(record, out), soft_wrap=True, highlight=False)
    for row in record["metrics"]["cut"]:
        if row["reason"].endswith(DIFFER):
            case = f"{row['backend']}, {row['model']}, {row['config']}, batch {row['batch']}"
            raise ValueError(f"{case}, {row['dtype']}: {row['reason']}; the rest was timed")


def lab(
    name: Annotated[str, typer.Argument(help=f"Experiment: {', '.join(EXPERIMENTS)}.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the figure, the table and the JSON file.")
    ] = Path("out/lab"),
    data: Annotated[
        str | None,
        option(
            "Data set of images (see `diptych list data`).",
            "digits; lossy: binary_digits16; colour: colour_digits",
        ),
    ] = None,
    data_root: DataRoot = None,
    seeds: Annotated[
        int, typer.Option(help="Number of models to train, each from its own random seed.")
    ] = 3,
    first_seed: Annotated[
        int, typer.Option(help="Random seed of the first model; the next models take the next.")
    ] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run a shorter version that takes seconds.")
    ] = False,
    record: Record = None,
) -> None:
    """Run an experiment on the theory of variational autoencoders.

    The exit status is 1 if the numbers contradict the theory.
    """
    checks.check_experiment(name)
    check_positive_int("seeds", seeds)
    if first_seed < 0:
        raise ValueError(f"first_seed: got {first_seed}, takes an int >= 0")
    checks.check_data(data)
    files = [f"{name}.{kind}" for kind in ("json", "png", "txt")]
    checks.check_folder("out", out, files)
    checks.check_file("record", record, ".json")
    checks.check_distinct({"record": record}, [out / file for file in files])
    from diptych.lab import run_lab

    with terminal.flushed_denormals():
        report = run_lab(
            name,
            out,
            terminal.console,
            dataset=data,
            data_root=data_root,
            seeds=tuple(range(first_seed, first_seed + seeds)),
            quick=quick,
            record=record,
        )
    raise typer.Exit(0 if report.ok else 1)


def site(
    out: Annotated[
        Path, typer.Option(help="Folder of the site; its index.html is the page to open.")
    ] = Path("out"),
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Compare every pair first and show what was measured.",
        ),
    ] = True,
) -> None:
    """Build pages that show both panels side by side.

    The pages need no server and no network. The exit status is 1 if a definition lacks its twin or
    a pair diverges.
    """
    checks.check_folder("out", out, ["index.html"], ["pages", "assets"])
    from diptych.site.build import build_site

    result = build_site(out, terminal.console, check=check)
    for problem in result.problems:
        terminal.errors.print(problem, style="red", markup=False, highlight=False)
    terminal.console.print(result.index, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if result.ok else 1)


def study(
    out: Annotated[
        Path, typer.Option(help="Folder for the figures, the weights and the metrics.")
    ] = Path("out"),
    epochs: Annotated[
        int, typer.Option(help="Passes of the MLP VAE over the digits, on each panel.")
    ] = 100,
    workers: Annotated[
        int, typer.Option(help="Number of processes that train and experiment at the same time.")
    ] = 2,
) -> None:
    """Check all pairs, train both panels, compare their loss curves, and build the site.

    The data are embedded. The index of the site is the last line that is printed. The exit status
    is 1 if the panels diverge.
    """
    folders = ["pages", "assets", "figures", "lab", "memory"]
    checks.check_folder("out", out, ["index.html", "check.json", "summary.json"], folders)
    check_positive_int("epochs", epochs)
    check_positive_int("workers", workers)
    from diptych.study import study as run_study

    with terminal.flushed_denormals():
        ok = run_study(out, epochs, terminal.console, workers)
    raise typer.Exit(0 if ok else 1)
