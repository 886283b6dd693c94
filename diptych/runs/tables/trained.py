"""Tables of trained models: likelihoods, reconstructions, perplexities, and both panels' losses."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.remarks import one_draw_legend, one_draw_mark
from diptych.runs.tables.markdown import Record, Row, commands, table

CONTEXTS = {"none": "factorised decoder", "raster": "PixelCNN decoder"}
CONTEXTS |= {"stacks": "stacked PixelCNN"}
LATENTS = {"gaussian": "Gaussian prior", "af_prior": "flow prior", "iaf_posterior": "IAF posterior"}
LATENTS |= {"none": "no z"}
USUAL = {"posterior": "logvar", "likelihood": "bernoulli"}
"""The fields of an MLP VAE that are in its name if they have another value."""
TRAINING = ("training", "seed, commit")
"""Headings of the cells of `_training`."""


def likelihood(records: list[Record]) -> str:
    """Importance-weighted likelihoods of test images: a table for each data set."""
    parts = [f"### {name}\n\n{_likelihood_table(part)}" for name, part in by_data(records).items()]
    return "\n\n".join(parts)


def _likelihood_table(records: list[Record]) -> str:
    rows = []
    for name, r in zip(run_names(records), records, strict=True):
        m = r["metrics"]
        split = next(s for s in ("test", "train", "valid") if f"{s}_nll" in m)
        nll, error, elbo, kl, samples, images = (
            m[f"{split}_{quantity}"]
            for quantity in ("nll", "nll_standard_error", "elbo", "kl", "samples", "examples")
        )
        value = f"**{nll:.2f}** ± {error:.2f}{one_draw_mark(m, f'{split}_', share=True)}"
        code = f"{kl:.2f} ({kl / math.log(2):.1f} bits)"
        draws = f"{samples} × {images}" + ("" if split == "test" else f" of {split}")
        rows.append((name, value, f"{elbo:.2f}", code, draws, *_training(r)))
    return _page_part(
        "The NLL of test images is importance-weighted, its ± the standard error over the images. "
        "K × images: the number of draws of z for each image, and the number of images; a part of "
        "the test images is the beginning of one random order, the same for all runs."
        + one_draw_legend(" ".join(nll for _, nll, *_ in rows)),
        ("run", "NLL, nats", "ELBO", "KL, nats", "K × images", *TRAINING),
        rows,
        records,
    )


def reconstruction(records: list[Record]) -> str:
    """Errors of reconstructed test images, one row for each run."""
    rows = []
    for name, r in zip(run_names(records), records, strict=True):
        m, c = r["metrics"], _model_config(r)
        size = f"{c['in_channels']} × {c['image_size']} × {c['image_size']}"
        rmse = f"**{m['test_rmse']:.3f}** of [0, 1]"
        count = str(m["test_examples"])
        rows.append((name, size, f"{m['test_elbo']:.0f}", rmse, count, *_training(r)))
    heads = ("run", "images", "ELBO, nats", "RMSE", "test images", *TRAINING)
    return _page_part(
        "The ELBO and the error of the reconstructions of test images.", heads, rows, records
    )


def perplexity(records: list[Record]) -> str:
    """Perplexities of test text, one row for each run."""
    rows = []
    for name, r in zip(run_names(records), records, strict=True):
        m = r["metrics"]
        test, tokens = f"**{m['test_perplexity']:.2f}**", str(m["test_tokens"])
        valid = "–" if m["runs"] > 1 else f"{m['history'][-1]['perplexity']:.2f}"
        rows.append((name, valid, test, tokens, *_training(r)))
    heads = ("run", "validation perplexity", "test perplexity", "test tokens", *TRAINING)
    text = "One pass over the text, the state carried; of several runs the probabilities averaged."
    return _page_part(text, heads, rows, records)


def compared(records: list[Record]) -> str:
    """Table of the differences between the losses of one training on both panels."""
    rows, lines = [], []
    for r in records:
        m = r["metrics"]
        names = ("first_100_steps", "train_epochs", "valid_epochs")  # a final fit lacks the last
        values = [m.get(f"relative_difference_{name}") for name in names]
        errors = ["–" if value is None else f"{value:.0e}" for value in values]
        times = [f"{m[f'train_seconds_{backend}']:.0f} s" for backend in ("numpy", "torch")]
        rows.append((f"{r['data']}, {m['dtype']}, {m['epochs']} epochs", *errors, *times))
        folders = shlex.split(r["command"])[2:4]  # diptych curves LEFT RIGHT
        train = f"diptych train {m['settings']['model']} --data {r['data']} --epochs {m['epochs']}"
        lines += [
            f"{train} --backend {backend} --out {folder}"
            for backend, folder in zip(("numpy", "torch"), folders, strict=True)
        ]
        lines.append(r["command"])
    heads = ("data", "100 steps", "training epochs", "validation", "NumPy took", "PyTorch took")
    if not rows:
        return ""
    return (
        "One MLP VAE trained twice, with the same settings, weights and noise: the largest "
        "relative difference of the losses, step by step and epoch by epoch.\n\n"
        f"{table(heads, rows)}\n\n{commands([('', lines)])}"
    )


def select(records: list[Record], *metrics: str) -> list[Record]:
    """Return the records that have a metric whose name begins with one of `metrics`.

    A run of images has both a likelihood and an error of its reconstructions. It is listed by the
    error if its config has an image_size (the convolutional VAE), otherwise by the likelihood.
    """
    selected = [r for r in records if any(name.startswith(metrics) for name in r["metrics"])]
    if metrics[0] in ("test_nll", "test_rmse"):
        selected = [r for r in selected if "test_perplexity" not in r["metrics"]]
        colour = metrics[0] == "test_rmse"
        selected = [r for r in selected if ("image_size" in _model_config(r)) == colour]
    return selected


def _model_config(record: Record) -> dict[str, Any]:
    return record["metrics"].get("settings", {}).get("model_config", {})


def data_name(record: Record) -> str:
    """The name of the data that a result was measured on."""
    return record["data"].partition(":")[0]


def by_data(records: list[Record]) -> dict[str, list[Record]]:
    """The results on each data set."""
    groups: dict[str, list[Record]] = {}
    for r in records:
        groups.setdefault(data_name(r), []).append(r)
    return groups


def run_name(record: Record) -> str:
    """The model of a trained run and its sizes, and the number of runs that are averaged."""
    runs = record["metrics"].get("runs", 1)
    several = f", {runs} runs averaged" if runs > 1 else ""
    return model_name(record["metrics"]["settings"]) + several


def run_names(records: Sequence[Record]) -> list[str]:
    """The name of each run; runs of one name that differ in their epochs have them in it."""
    names = [run_name(r) for r in records]
    epochs = [r["metrics"]["epochs"] for r in records]
    lengths: dict[str, set[int]] = {}
    for name, count in zip(names, epochs, strict=True):
        lengths.setdefault(name, set()).add(count)
    return [
        f"{name}, {count} epochs" if len(lengths[name]) > 1 else name
        for name, count in zip(names, epochs, strict=True)
    ]


def model_name(settings: Mapping[str, Any]) -> str:
    """The model of a run with these settings, and its sizes."""
    c, model = settings["model_config"], settings["model"]
    if "masked_layers" in c:
        parts = [CONTEXTS.get(c["context"], c["context"]), LATENTS.get(c["latent"], c["latent"])]
        if c["latent"] == "none" and c.get("position_maps"):
            parts.append("maps of positions")
        if settings.get("fit", "train") != "train":
            parts.append("fitted to train and valid")
        return ", ".join((model, *parts))
    if "image_size" in c:
        return f"{model}, {c['base_channels']} channels, {c['latent_dim']} latents"
    if "num_layers" in c:
        dropout = "no dropout" if c["scheme"] == "none" else f"{c['scheme']} {c['rate']:g}"
        return f"{model} {c['num_layers']} × {c['hidden_dim']}, {dropout}"
    sizes = f"{model} {c['input_dim']}-{c['hidden_dim']}-{c['latent_dim']}"
    choices = [c[name] for name, usual in USUAL.items() if c.get(name, usual) != usual]
    return ", ".join((sizes, *choices))


def _training(record: Record) -> tuple[str, str]:
    """The epochs, the time and the threads of a training, and its seed and its commit.

    Older records have one seed, and only the commit of the evaluation.
    """
    m = record["metrics"]
    settings, epochs = m["settings"], str(m["epochs"])
    if m["epochs"] < settings["epochs"]:
        at_most = "at most " if settings.get("patience") else ""
        epochs += f" of {at_most}{settings['epochs']}"
    older = {"seed": record["seed"], "commit": record["commit"], "threads": None}
    runs = settings.get("trained", [older])
    several = f"{len(runs)} × " if len(runs) > 1 else ""
    time = f"{several}{epochs} epochs, {m['train_seconds'] / 60:.1f} min"
    threads = {run["threads"] for run in runs} - {None}
    if threads:
        time += f", {' or '.join(map(str, sorted(threads)))} thread{'s' * (threads != {1})}"
    seeds = ", ".join(str(run["seed"]) for run in runs)
    commits = {run["commit"][:7] if run["commit"] else "not known" for run in runs}
    return time, f"{seeds}, {' and '.join(sorted(commits))}"


def _trained_with(record: Record) -> str:
    s = record["metrics"]["settings"]
    panel = {"numpy": "NumPy", "torch": "PyTorch"}[s["backend"]]
    return f"{panel} panel, {s['dtype']}, {record['device']}"


def _run_commands(records: list[Record]) -> str:
    return commands(
        (name, [*r["metrics"]["settings"]["command"].splitlines(), r["command"]])
        for name, r in zip(run_names(records), records, strict=True)
    )


def _page_part(text: str, heads: Row, rows: Sequence[Row], records: list[Record]) -> str:
    if not records:
        return ""
    texts = {data_name(r): r["data"] for r in records}  # some records say less of the same data
    data = "; ".join(dict.fromkeys(f"{texts[data_name(r)]}; {_trained_with(r)}" for r in records))
    return f"Data: {data}. {text}\n\n{table(heads, rows)}\n\n{_run_commands(records)}"
