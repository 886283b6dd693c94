"""Commands on trained runs: evaluate, sample, curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import terminal
from diptych.cli.terminal import DataRoot, Record


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
    memory_mb: Annotated[
        float, typer.Option(help="Bound on what it takes beside model and data.")
    ] = 64,
    resume: Annotated[
        bool, typer.Option(help="Go on with an evaluation that was stopped.")
    ] = False,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="Else the run's own.")] = None,
    record: Record = None,
) -> None:
    """Likelihood of a trained run: ELBO and importance-weighted NLL, perplexity, or accuracy.

    Ctrl-C keeps what was found about images, and --resume goes on bit for bit.
    """
    from diptych.commands.evaluate import evaluate_runs
    from diptych.tasks import Options

    options = Options(terminal.console, split, samples, examples, memory_mb, resume=resume)
    evaluate_runs(runs, options, last=last, data_root=data_root, device=device, record=record)


def sample(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    count: Annotated[int | None, typer.Option(help="Images [64] or tokens [100].")] = None,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    mean: Annotated[
        bool | None,
        typer.Option(
            help="The mean of p(x|z), or a draw from it. [the mean, unless pixels come in turn]",
            show_default=False,
        ),
    ] = None,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Test images over their reconstructions instead.")
    ] = False,
    prompt: Annotated[str | None, typer.Option(help="What a text goes on from.")] = None,
    temperature: Annotated[float, typer.Option(help="Of a text; 0 takes the likeliest.")] = 1.0,
    last: Annotated[bool, typer.Option(help="The last weights, not the best on valid.")] = False,
    out: Annotated[Path | None, typer.Option(help="PNG file; else RUN/samples.png.")] = None,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="Else the run's own.")] = None,
) -> None:
    """Draw from a trained run: a picture, or text."""
    from diptych.commands.sample import sample_run
    from diptych.tasks import Options

    options = Options(
        terminal.console,
        count=count,
        seed=seed,
        mean=mean,
        reconstruct=reconstruct,
        prompt=prompt,
        temperature=temperature,
        out=out,
    )
    message = sample_run(run, options, last=last, data_root=data_root, device=device)
    terminal.console.print(message, markup=False, highlight=False)


def curves(
    left: Annotated[Path, typer.Argument(help="Folder of a run on one backend.")],
    right: Annotated[Path, typer.Argument(help="Folder of the same run on the other.")],
    out: Annotated[Path | None, typer.Option(help="PNG file for the curves.")] = None,
    record: Record = None,
) -> None:
    """Lay the loss curves of two runs over each other and tell how far they part."""
    from diptych.commands.curves import compare_runs

    compare_runs(left, right, out=out, record=record, console=terminal.console)
