"""The front door: `diptych check | train | evaluate | sample | study`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="diptych",
    help="Every model twice, NumPy by hand and PyTorch vectorised, and proved the same.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_UsageError: Any = typer.BadParameter.__base__  # click's, or typer's own copy of it
_console = Console()
_errors = Console(stderr=True, soft_wrap=True)


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command are for every command."""


DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of real data; else the variable DIPTYCH_DATA.", show_default=False),
]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
DType = Annotated[str, typer.Option("--dtype", help="float32 or float64.")]


@app.command()
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
    from diptych.check import check_pairs

    reports = check_pairs(models or None, dtype, device, _console, json_file, verbose=verbose)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Which pair: mlp_vae, rnn or lstm.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("out/run"),
    preset: Annotated[
        str | None, typer.Option(help="Published settings, zaremba-small for one; yours win.")
    ] = None,
    backend: Annotated[str, typer.Option(help="numpy or torch: the panel to train.")] = "torch",
    data: Annotated[
        str | None,
        typer.Option(help="digits, mnist, ptb, topics, text:PATH, copy:100, ... [digits | topics]"),
    ] = None,
    data_root: DataRoot = None,
    binarize: Annotated[
        bool | None, typer.Option(help="Draw each pixel anew as 0 or 1.", show_default="no")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training set. [10]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step. [128]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [0.001]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, cosine, step, exponential, hold. [constant]")
    ] = None,
    hold_epochs: Annotated[int | None, typer.Option(help="Before hold decays. [5]")] = None,
    decay: Annotated[float | None, typer.Option(help="Factor of hold, an epoch. [0.5]")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd. [adam]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of every parameter. [0]")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    device: Device = "cpu",
    dtype: DType = "float32",
    seed: Annotated[int, typer.Option(help="Names every random stream of the run.")] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 200,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a field of the model's config.", metavar="FIELD=VALUE"),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
) -> None:
    """Train one panel on a data set; Ctrl-C saves and stops, --resume goes on bit for bit."""
    from diptych import data as data_sets
    from diptych import pairs
    from diptych.presets import settings
    from diptych.training import train as run_training

    pair = pairs.get(model)
    data = data or pair.data
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "schedule": schedule}
    given |= {"hold_epochs": hold_epochs, "decay": decay, "optimizer": optimizer, "clip": clip}
    given |= {"weight_decay": weight_decay, "binarize": binarize}
    given |= {"backend": backend, "device": device, "dtype": dtype, "seed": seed}
    given |= {"checkpoint_every": checkpoint_every}
    fields = pairs.parse_fields(pair, set_ or [])
    dataset = data_sets.load(data, data_root)
    _console.print(dataset.found, style="dim")
    run = settings(model, data, dataset, preset, fields, given)
    with _flushed_denormals():
        outcome = run_training(run, dataset, out, resume=resume, console=_console)
    told = f"{outcome.steps} steps, {outcome.seconds:.1f} s of training on {backend}"
    if outcome.interrupted:
        _console.print(f"stopped after {told}; --resume goes on from {out}")
        raise typer.Exit(130)
    _console.print(f"{told}; weights, checkpoint and metrics in {out}")


@app.command()
def evaluate(
    runs: Annotated[
        list[Path], typer.Argument(help="Folder of a run; several average their probabilities.")
    ],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    samples: Annotated[
        int | None,
        typer.Option(
            help="Importance samples an image [512], or passes with dropout on over text [none]."
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(help="So many images (shuffled), tokens or sequences; else all."),
    ] = None,
    last: Annotated[bool, typer.Option(help="The last weights, not the best on valid.")] = False,
    memory_mb: Annotated[float, typer.Option(help="Bound on the largest arrays.")] = 64,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="Else the run's own.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write a results file there.", metavar="FILE")
    ] = None,
) -> None:
    """Likelihood of a trained run: ELBO and importance-weighted NLL, perplexity, or accuracy."""
    from diptych.inspect_run import evaluate_runs
    from diptych.tasks import Options

    options = Options(_console, split, samples, examples, memory_mb)
    evaluate_runs(runs, options, last=last, data_root=data_root, device=device, record=record)


@app.command()
def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int | None, typer.Option(help="Images [64] or tokens [100].")] = None,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    mean: Annotated[bool, typer.Option(help="The mean of p(x|z), not a draw from it.")] = True,
    prompt: Annotated[str | None, typer.Option(help="What a text goes on from.")] = None,
    temperature: Annotated[float, typer.Option(help="Of a text; 0 takes the likeliest.")] = 1.0,
    last: Annotated[bool, typer.Option(help="The last weights, not the best on valid.")] = False,
    out: Annotated[Path | None, typer.Option(help="PNG file; else RUN/samples.png.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Draw from a trained run: a picture, or text."""
    from diptych.inspect_run import sample_run
    from diptych.tasks import Options

    options = Options(
        _console,
        count=count,
        seed=seed,
        mean=mean,
        prompt=prompt,
        temperature=temperature,
        out=out,
    )
    told = sample_run(run, options, last=last, data_root=data_root)
    _console.print(told, markup=False, highlight=False)


@app.command()
def curves(
    left: Annotated[Path, typer.Argument(help="Folder of a run on one backend.")],
    right: Annotated[Path, typer.Argument(help="Folder of the same run on the other.")],
    out: Annotated[Path | None, typer.Option(help="PNG file for the curves.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write a results file there.", metavar="FILE")
    ] = None,
) -> None:
    """Lay the loss curves of two runs over each other and tell how far they part."""
    from diptych.inspect_run import compare_runs

    compare_runs(left, right, out=out, record=record, console=_console)


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="Which pair, mlp_vae for one.")],
    rounds: Annotated[int, typer.Option(help="Turns that each is given.")] = 40,
    compiled: Annotated[bool, typer.Option(help="Time torch.compile as well.")] = True,
    record: Annotated[
        Path | None, typer.Option(help="Write a results file there.", metavar="FILE")
    ] = None,
) -> None:
    """Time both panels in turn: forward, gradients, whole step; float64 and float32."""
    from diptych.bench import bench as run_bench

    run_bench(model, _console, rounds=rounds, compiled=compiled, record=record)


@app.command()
def study(
    out: Annotated[Path, typer.Option(help="Folder for figures, weights, metrics.")] = Path("out"),
    epochs: Annotated[int, typer.Option(help="Passes over the digits, on each panel.")] = 100,
) -> None:
    """Check every pair, train both panels on the embedded digits, and show that they are one."""
    from diptych.study import study as run_study

    with _flushed_denormals():
        ok = run_study(out, epochs, _console)
    raise typer.Exit(0 if ok else 1)


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


@contextlib.contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Adam's second moments decay into denormals, which slow a long CPU run up to twofold."""
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _fail(message: str, status: int) -> None:
    _errors.print(f"[bold red]error:[/] {_escape(message)}", highlight=False)
    sys.exit(status)


def _escape(message: str) -> str:
    from rich.markup import escape

    return escape(message)
