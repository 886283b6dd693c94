"""The command train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import checks, terminal
from diptych.cli.terminal import DEVICE, DTYPE, DataRoot, option
from diptych.display import Console
from diptych.names import MODELS

# Each option of a run is None unless the user sets it. Then a preset, the folder of a resumed run,
# or the default of RunConfig gives the value. The help shows the default of RunConfig.


def train(
    model: Annotated[str, typer.Argument(help=f"Model to train: {', '.join(MODELS)}.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("out/run"),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --out.",
        ),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings of a published run (see `diptych list presets`). Other options take "
            "precedence."
        ),
    ] = None,
    backend: Annotated[str | None, option("Panel to train: numpy or torch.", "torch")] = None,
    data: Annotated[
        str | None,
        option("Data set (see `diptych list data`).", "embedded data of the model"),
    ] = None,
    data_root: DataRoot = None,
    size: Annotated[
        int | None,
        option(
            "Height and width of the images of colour_digits or cifar10: 16 or 32.", "of --data"
        ),
    ] = None,
    binarize: Annotated[
        bool | None,
        option(
            "Draw each pixel as 0 or 1 at every step, with its grey value as probability of 1.",
            "no",
        ),
    ] = None,
    fit: Annotated[
        str | None,
        option(
            "Images that the weights are fitted to: train, or train+valid for a final fit, which "
            "is not validated.",
            "train",
        ),
    ] = None,
    epochs: Annotated[int | None, option("Passes over the training set.", "10")] = None,
    batch_size: Annotated[int | None, option("Examples in each step.", "128")] = None,
    lr: Annotated[float | None, option("Learning rate.", "0.001")] = None,
    schedule: Annotated[
        str | None,
        option(
            "Learning rate over the epochs: constant, cosine, step, exponential or "
            "constant-then-decay.",
            "constant",
        ),
    ] = None,
    constant_epochs: Annotated[
        int | None,
        option("Epochs of constant-then-decay before the learning rate decays.", "5"),
    ] = None,
    decay: Annotated[
        float | None,
        option(
            "Factor by which constant-then-decay multiplies the learning rate each epoch.",
            "0.5",
        ),
    ] = None,
    optimizer: Annotated[
        str | None, option("Optimizer: adam, adamax, rmsprop or sgd.", "adam")
    ] = None,
    weight_decay: Annotated[
        float | None,
        option("Weight decay (L2 penalty) on every parameter.", "0"),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Largest norm of the gradient; larger gradients are scaled down."),
    ] = None,
    polyak: Annotated[
        float | None,
        typer.Option(
            help="Keep an average of the weights with this decay (0.999, for example), and "
            "evaluate it instead of the last weights."
        ),
    ] = None,
    device: Annotated[str | None, option(DEVICE, "cpu")] = None,
    dtype: Annotated[str | None, option(DTYPE, "float32")] = None,
    seed: Annotated[int | None, option("Random seed.", "0")] = None,
    checkpoint_every: Annotated[int | None, option("Steps between checkpoints.", "200")] = None,
    log_every: Annotated[
        int | None,
        option("Steps between lines of metrics; each of the first 100 steps has one.", "50"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a field of the model's config (see `diptych list fields MODEL`). May be "
            "repeated.",
            metavar="FIELD=VALUE",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Number of epochs without a better validation loss after which the run stops."
        ),
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(help="Number of epochs between pictures of samples and reconstructions."),
    ] = None,
    amp: Annotated[
        str | None,
        option("Mixed precision of torch: off, bf16 or fp16.", "off"),
    ] = None,
    channels_last: Annotated[
        bool | None,
        typer.Option("--channels-last", help="Keep images in memory as NHWC (torch only)."),
    ] = None,
    compile_: Annotated[
        bool | None,
        typer.Option("--compile", help="Compile the loss by torch.compile (torch only)."),
    ] = None,
    sync_batchnorm: Annotated[
        bool | None,
        typer.Option(
            "--sync-batchnorm",
            help="Normalise each batch over all processes of torchrun, not in each process alone.",
        ),
    ] = None,
    resident: Annotated[
        bool | None,
        option(
            "Keep data, noise and losses on the device; on CUDA, replay each step as one graph. "
            "The weights are the same.",
            "yes on CUDA",
            "--resident/--no-resident",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write the number of steps and their seconds to this file.",
            metavar="FILE.json",
        ),
    ] = None,
) -> None:
    """Train one panel of a model on a data set.

    Ctrl-C saves a checkpoint and stops; --resume continues the run, which ends in the same weights
    as without the stop. A resumed run keeps its settings; only --device, --checkpoint-every,
    --log-every, --patience, --pictures, the place of a text, and --epochs and learning rates of
    epochs that have not begun may change.
    """
    options: dict[str, Any] = {
        "backend": backend,
        "binarize": binarize,
        "fit": fit,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "constant_epochs": constant_epochs,
        "decay": decay,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "clip": clip,
        "polyak": polyak,
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
        "log_every": log_every,
        "patience": patience,
        "pictures": pictures,
        "amp": amp,
        "channels_last": channels_last,
        "compile": compile_,
        "sync_batchnorm": sync_batchnorm,
    }
    checks.check_model(model)
    checks.check_preset(preset, model)
    checks.check_data(data)
    checks.check_dtype(dtype)
    checks.check_device(device)
    checks.check_folder("out", out, checks.TRAINED_FILES)
    checks.check_file("json_file", json_file, ".json")
    from diptych.commands.train import prepare
    from diptych.files import write_json
    from diptych.panels.ranks import joined
    from diptych.training.outcome_warning import outcome_warning
    from diptych.training.train import train as run_training

    run, dataset = prepare(
        model,
        out,
        resume=resume,
        preset=preset,
        data=data,
        data_root=data_root,
        size=size,
        fields=set_ or [],
        options=options,
    )
    with terminal.flushed_denormals(), joined(run.device) as ranks:
        console = terminal.console if ranks.first else Console(quiet=True)
        console.print(dataset.summary, style="dim", markup=False, soft_wrap=True)
        outcome = run_training(
            run, dataset, out, resume=resume, console=console, ranks=ranks, resident=resident
        )
    steps = f"{outcome.steps} steps, {outcome.seconds:.1f} s of training on {run.backend}"
    if outcome.resident:
        steps += f" ({outcome.timing})"
    if json_file is not None and ranks.first:
        write_json(json_file, outcome.record)
    if outcome.already_finished:
        message = f"{out}: this run is finished already, after {steps}; a larger --epochs goes on"
    elif outcome.interrupted:
        message = f"stopped after {steps}; --resume goes on from {out}"
    else:
        message = f"{steps}; weights, checkpoint and metrics in {out}"
    console.print(message, markup=False, soft_wrap=True)
    warning = outcome_warning(outcome, run, dataset) if ranks.first else None
    if warning is not None:
        console.print(warning, markup=False, soft_wrap=True)
    raise typer.Exit(130 if outcome.interrupted else 0)
