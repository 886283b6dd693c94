"""The commands on trained runs: evaluate, sample and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import checks, terminal
from diptych.cli.terminal import DataRoot, LastWeights, Record, RunDevice, option
from model_specs.common.fields import check_choice


def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs; the probabilities of several runs on text are averaged."
        ),
    ],
    split: Annotated[str, typer.Option(help="Part of the data: train, valid or test.")] = "test",
    samples: Annotated[
        int | None,
        option(
            "Importance samples for each image; for text, passes with dropout left on.",
            "512; text: one pass without dropout",
        ),
    ] = None,
    examples: Annotated[
        int | None,
        option("Number of images (drawn at random), tokens or sequences.", "all"),
    ] = None,
    last: LastWeights = False,
    memory_mb: Annotated[
        float, typer.Option(help="Memory in MiB to use besides the model and the data.")
    ] = 64,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted evaluation.")
    ] = False,
    data: Annotated[
        str | None,
        option("Data of the run at another place, such as text:PATH.", "the data of the run"),
    ] = None,
    data_root: DataRoot = None,
    device: RunDevice = None,
    per_image: Annotated[
        Path | None,
        typer.Option(
            help="Write the NLL, the ELBO and the effective sample size of each image to this "
            "file.",
            metavar="FILE.csv",
        ),
    ] = None,
    record: Record = None,
) -> None:
    """Evaluate a trained run on held-out data.

    Images: the ELBO and the importance-weighted negative log-likelihood. Text: the perplexity.
    Memory tasks: the accuracy. After Ctrl-C, --resume continues with the remaining images.
    """
    check_choice("split", split, ("train", "valid", "test"))
    checks.check_data(data)
    checks.check_device(device)
    checks.check_record(record, *runs)
    checks.check_file("per_image", per_image, ".csv")
    checks.check_runs(*runs)
    from diptych.commands.evaluate import evaluate_runs
    from diptych.tasks import Options

    options = Options(
        terminal.console, split, samples, examples, memory_mb, resume=resume, per_image=per_image
    )
    evaluate_runs(
        runs, options, last=last, data=data, data_root=data_root, device=device, record=record
    )


def sample(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    count: Annotated[
        int | None,
        option(
            "Number of images, of rows of --interpolate, or of tokens.",
            "64; 16 with --reconstruct, 2000 or all test images with --latents, 225 with "
            "--manifold, 8 with --interpolate; 100 tokens",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    mean: Annotated[
        bool | None,
        option(
            "Show the mean of p(x|z), or draw the pixels from it.",
            "the mean; a model that draws pixel by pixel draws them",
        ),
    ] = None,
    reconstruct: Annotated[
        bool,
        typer.Option("--reconstruct", help="Show test images above their reconstructions instead."),
    ] = False,
    latents: Annotated[
        bool,
        typer.Option(
            "--latents",
            help="Show where test images lie in the latent space instead: their codes at the mean "
            "of q(z|x), coloured by label. With more than 2 dimensions it shows the first two "
            "principal components.",
        ),
    ] = False,
    manifold: Annotated[
        bool,
        typer.Option(
            "--manifold",
            help="Show a grid of images decoded over the latent space instead. With 2 dimensions "
            "it lies at quantiles of the prior, or of the input of a flow that is the prior. With "
            "more, or with no prior, it lies on the plane of the first two principal components "
            "of the codes of test images, up to 2 standard deviations from their mean.",
        ),
    ] = False,
    interpolate: Annotated[
        bool,
        typer.Option(
            "--interpolate",
            help="Show images decoded on the line between the codes of two test images instead, "
            "a row for each pair.",
        ),
    ] = False,
    steps: Annotated[
        int | None, option("Number of decoded images in a row of --interpolate.", "8")
    ] = None,
    prompt: Annotated[
        str | None,
        option("Text that the model continues.", "the start of a line"),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Temperature of the next token; 0 takes the most probable one.")
    ] = 1.0,
    last: LastWeights = False,
    out: Annotated[
        Path | None,
        option(
            "Picture file (.png), or for a run on text, text file (.txt).",
            "samples.png, reconstructions.png, latents.png, manifold.png or interpolations.png in "
            "RUN; text goes to the terminal",
            metavar="FILE",
        ),
    ] = None,
    data_root: DataRoot = None,
    device: RunDevice = None,
) -> None:
    """Draw images or text from a trained run.

    Text is written exactly as the model draws it: in UTF-8 to --out, or to the terminal, where one
    newline follows.
    """
    checks.check_device(device)
    checks.check_file("out", out, ".png", ".txt")
    checks.check_runs(run)
    is_text = checks.is_text_run(run)
    checks.check_file("out", out, ".txt" if is_text else ".png")
    from diptych.commands.sample import sample_run
    from diptych.tasks import Options

    options = Options(
        terminal.console,
        count=count,
        seed=seed,
        mean=mean,
        reconstruct=reconstruct,
        latents=latents,
        manifold=manifold,
        interpolate=interpolate,
        steps=steps,
        prompt=prompt,
        temperature=temperature,
        out=out,
    )
    message = sample_run(run, options, last=last, data_root=data_root, device=device)
    if is_text and out is None:
        terminal.write_text(message)
    else:
        terminal.console.print(message, markup=False, highlight=False, soft_wrap=True)


def curves(
    left: Annotated[Path, typer.Argument(help="Folder of a run on one backend.")],
    right: Annotated[Path, typer.Argument(help="Folder of the same run on the other backend.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Draw both loss curves into this file.", metavar="FILE.png"),
    ] = None,
    record: Record = None,
) -> None:
    """Compare the loss curves of one run on both backends.

    The two runs must have the same settings apart from --backend.
    """
    checks.check_file("out", out, ".png")
    checks.check_record(record, left, right)
    checks.check_runs(left, right)
    from diptych.commands.curves import compare_runs

    compare_runs(left, right, out=out, record=record, console=terminal.console)
