"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from diptych.cli import terminal
from diptych.cli.terminal import DataRoot


def train(
    model: Annotated[str, typer.Argument(help="Which pair: mlp_vae, conv_vae, vlae, rnn or lstm.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("out/run"),
    preset: Annotated[
        str | None, typer.Option(help="Published settings, zaremba-small for one; yours win.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="numpy or torch: the panel to train. [torch]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, mnist, cifar10, ptb, topics, text:PATH, copy:100, ... [digits | topics]"
        ),
    ] = None,
    data_root: DataRoot = None,
    binarize: Annotated[
        bool | None, typer.Option(help="Draw each pixel anew as 0 or 1.", show_default="no")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training set. [10]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step. [128]")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. [0.001]")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="constant, cosine, step, exponential, constant-then-decay. [constant]"),
    ] = None,
    constant_epochs: Annotated[
        int | None, typer.Option(help="Epochs before constant-then-decay decays. [5]")
    ] = None,
    decay: Annotated[
        float | None, typer.Option(help="Factor an epoch of constant-then-decay. [0.5]")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamax or sgd. [adam]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of every parameter. [0]")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    polyak: Annotated[
        float | None, typer.Option(help="Evaluate averaged weights; their decay, 0.999 for one.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. [cpu]")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32 or float64. [float32]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. [0]")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints. [200]")
    ] = None,
    log_every: Annotated[
        int | None, typer.Option(help="Steps between lines of metrics. [50]")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set a field of the model's config.", metavar="FIELD=VALUE"),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better validation.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(help="Draw samples and reconstructions each so many epochs.")
    ] = None,
    amp: Annotated[
        str | None, typer.Option(help="Mixed precision of torch: off, bf16 or fp16. [off]")
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Images in memory as NHWC (torch).")
    ] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile of the loss.")] = False,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="Normalise batches over all ranks.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in --out, to more --epochs for one.")
    ] = False,
) -> None:
    """Train one panel on a data set; Ctrl-C saves and stops, --resume goes on bit for bit.

    A resumed run takes every setting that is not given from its folder. --epochs, --device,
    --checkpoint-every, --log-every, --patience and --pictures may change.
    """
    from diptych import data as data_sets
    from diptych import pairs
    from diptych.panels.ranks import joined
    from diptych.runs.folder import RunFolder
    from diptych.runs.resuming import resumed_options
    from diptych.training.presets import default_data, settings
    from diptych.training.train import train as run_training

    pair = pairs.get(model)
    folder = RunFolder(out)
    before = folder.config() if resume and folder.settings_file.exists() else None
    data = data or (before.data if before else default_data(model, preset))
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "schedule": schedule}
    given |= {
        "constant_epochs": constant_epochs,
        "decay": decay,
        "optimizer": optimizer,
        "clip": clip,
    }
    given |= {"weight_decay": weight_decay, "polyak": polyak, "binarize": binarize}
    given |= {"backend": backend, "device": device, "dtype": dtype, "seed": seed}
    given |= {"checkpoint_every": checkpoint_every, "log_every": log_every}
    given |= {"patience": patience, "pictures": pictures}
    given |= {"amp": amp, "channels_last": channels_last or None, "compile": compile_ or None}
    given |= {"sync_batchnorm": sync_batchnorm or None}
    fields = pairs.parse_fields(pair, set_ or [])
    if before is not None and before.model == model:
        fields, given = resumed_options(before, preset, fields, given)
    dataset = data_sets.load(data, data_root)
    run = settings(model, data, dataset, preset, fields, given)
    with terminal.flushed_denormals(), joined(run.device) as ranks:
        console = terminal.console if ranks.first else Console(quiet=True)
        console.print(dataset.summary, style="dim")
        outcome = run_training(run, dataset, out, resume=resume, console=console, ranks=ranks)
    message = f"{outcome.steps} steps, {outcome.seconds:.1f} s of training on {run.backend}"
    if outcome.already_finished:
        console.print(f"{out}: finished already, {message}; more --epochs than {run.epochs} go on")
        return
    if outcome.interrupted:
        console.print(f"stopped after {message}; --resume goes on from {out}")
        raise typer.Exit(130)
    console.print(f"{message}; weights, checkpoint and metrics in {out}")
