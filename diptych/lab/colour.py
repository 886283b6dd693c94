"""Experiment: colour and texture, what z keeps of them for each window and context of the decoder.

The images are those of colour_digits, each with a global colour of 3.22 nats that every pixel
shows, a local texture of 2.83 nats a pixel that nothing predicts, and the strokes of a digit. By
bits-back coding, as in the experiment `lossy`, z encodes only what the decoder's window does not
reveal, and what it reveals depends on the channels that the decoder reads of it:

    context in colour   one pixel before a pixel reveals the colour, so that z gains little by it
    grey context        the luma of a pixel is independent of the colour, so that z has to carry it

A texture in z would save as many nats as it costs at best, since no other pixel depends on it. So
the claims are: over all windows the KL falls with the number of pixels; with colour context the
colour that can be read from z falls as well; with grey context z keeps it, and x' shows it; the
texture is not in z; and no model beats the entropy of colour and texture. How much of the digit
remains in z is measured without a claim, and so is the ELBO: after these few steps no model is near
its optimum, for which the entropy of colour and texture is a lower bound, as the strokes cost nats
as well.

Training has soft free bits as in the paper, but of one nat, in case the posterior collapses
before the decoder is precise enough for the colour to pay. A larger lambda would keep the KL of
every window at lambda.

Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731, figure 3, where x' is
judged by the eye.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau

from diptych.data import Dataset
from diptych.data.colour_digits import COLOUR_NATS, TEXTURE_NATS
from diptych.display import Table
from diptych.lab.colour_figure import draw
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import always_below, format_mean
from diptych.lab.readers import THINNING, FactorReaders, thinned
from diptych.lab.windows import Recipe, WindowedVLAE, epochs_for, subset, visible_pixels
from diptych.workers import run_jobs
from model_specs.common import levels

DATA = "colour_digits"
WINDOWS = {"1 × 1": (1, 1), "2 × 1": (2, 1), "4 × 2": (4, 2), "7 × 4": (7, 4)}
"""(width, rows) of the smallest and the largest window of the paper, and of two smaller ones."""
CONTEXTS = ("all", "grey")
RECIPE = Recipe("vlae-colour-digits", {}, {"schedule": "cosine", "polyak": 0.98})
"""A shorter average of the weights than in the preset, and steps that become smaller. With a
learning rate of 0.01 the posterior of a grey window collapses."""
FREE_NATS = 1.0
"""lambda of the soft free bits, in nats per image."""
SHOWN = 14
ONE_PIXEL = 1.0


@dataclass(frozen=True)
class Size:
    """The size of the experiment."""

    steps: int
    samples: int
    """K of the importance sampling"""
    windows: tuple[str, ...]
    readers: int
    """the number of training images whose codes and x' the regressions are fitted on"""
    workers: int
    thin: bool
    """take every other row and column of the images"""
    fields: Mapping[str, Any]


SMALL: dict[str, Any] = {"maps": 8, "strides": 2, "hidden_dim": 32, "latent_dim": 8}
SMALL |= {"latent": "gaussian", "components": 2, "decoder_maps": 12}
FULL = Size(1200, 32, tuple(WINDOWS), readers=1297, workers=2, thin=False, fields={})
QUICK = Size(600, 4, ("4 × 2",), readers=300, workers=1, thin=True, fields=SMALL)


@dataclass(frozen=True)
class Job:
    """One model to train and measure."""

    data: Dataset
    name: str
    seed: int
    fields: Mapping[str, Any]
    size: Size
    step: int = 1
    """THINNING if the images of `data` are thinned"""


def run(setting: Setting) -> Findings:
    """Train a VLAE for each window, context and seed; measure the KL and what z and x' reveal.

    Units: kl, recon and nll are in nats per image, means over the images of a split; colour is the
    R^2 of a regression, the mean of its two coordinates; digit is an accuracy; texture is the sum
    of R^2 over the pixels, so the number of pixels whose texture is known.
    Raises: ValueError for other data than colour_digits.
    """
    size, data = QUICK if setting.quick else FULL, setting.data
    if data.name != DATA:
        raise ValueError(f"data: got {data.name}, takes {DATA}")
    data, step = (thinned(data), THINNING) if size.thin else (data, 1)
    models = model_fields(size.windows)
    jobs = [
        Job(data, name, seed, {**size.fields, **fields}, size, step)
        for name, fields in models.items()
        for seed in setting.seeds
    ]
    measures: dict[tuple[str, int], dict[str, Any]] = {}
    pictures: dict[tuple[str, int], np.ndarray] = {}
    for job, (measured, images) in run_jobs(train_and_measure, jobs, size.workers):
        measures[job.name, job.seed] = measured
        pictures[job.name, job.seed] = images
        if setting.console is not None:
            message = f"{job.name}, seed {job.seed}: {len(measures)} of {len(jobs)} models"
            setting.console.print(message, style="dim", highlight=False)
    by_model = {name: _merge([measures[name, seed] for seed in setting.seeds]) for name in models}
    readers = FactorReaders(data, size.readers, step)
    results: dict[str, Any] = {
        "models": by_model,
        "values": data.test.x.shape[1],
        "images": len(readers.test.digit),
        "samples": size.samples,
        "epochs": epochs_for(data, size.steps, RECIPE),
        "free_nats": FREE_NATS,
        "entropy": _entropy(data),
        "x": readers.read_pixels(),
    }
    results["tau"] = {
        context: {"kl": tau(results, context, "kl"), "colour": tau(results, context, "colour")}
        for context in CONTEXTS
    }
    first = {name: pictures[name, setting.seeds[0]] for name in models}
    originals = data.test.x[subset(data, "test")[:SHOWN]].reshape(-1, *data.image_shape)
    figure = draw(results, {"originals": originals} | first)
    return Findings(results, _table(results), figure, truths(results))


def model_fields(windows: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return the config fields of each model: the factorised decoder, then each context."""
    models: dict[str, dict[str, Any]] = {"none": {"context": "none", "masked_layers": 2}}
    for context in CONTEXTS:
        for name in windows:
            width, rows = WINDOWS[name]
            fields = {"window_width": width, "window_rows": rows, "context_channels": context}
            models[name if context == "all" else f"{name}, {context}"] = fields
    return models


def train_and_measure(job: Job) -> tuple[dict[str, Any], np.ndarray]:
    """Train a model; return its measures and x' of the first held-out images (SHOWN, 3, H, W)."""
    if multiprocessing.parent_process() is not None:
        # a setting of each process; in the main one it is the command line that makes it
        torch.set_flush_denormal(True)
    size, data = job.size, job.data
    epochs = epochs_for(data, size.steps, RECIPE)
    setting = Setting(data, (job.seed,), quick=False)
    fields = {**job.fields, "free_bits": FREE_NATS / data.train.x.shape[1]}
    model = WindowedVLAE(setting, job.seed, fields, epochs, RECIPE)
    readers, count = FactorReaders(data, size.readers, job.step), size.readers
    mu, z = zip(*(model.codes(split) for split in ("train", "test")), strict=True)
    lossy = model.reconstruct()
    inputs = {"mu": mu, "z": z, "x'": (model.reconstruct("train", count), lossy)}
    measured: dict[str, Any] = dict(model.measure(size.samples))
    measured["pixels"] = visible_pixels(model.config)
    measured["context"] = model.config.context_channels if measured["pixels"] else "none"
    measured |= {name: readers.read(train[:count], test) for name, (train, test) in inputs.items()}
    return measured, lossy[:SHOWN]


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Check the claims on held-out images."""
    models = results["models"]
    colour, grey = (of_context(results, context) for context in CONTEXTS)
    none, others = models["none"], [*colour, *grey]
    pairs = list(zip(colour, grey, strict=True))
    claims = {
        "with every seed the factorised decoder spends the most on z": all(
            always_below(entry["test_kl"], none["test_kl"]) for entry in others
        ),
        "the more pixels a window in colour has, the less is spent, by Kendall's tau": tau(
            results, "all", "kl"
        )
        < 0,
        "the more pixels a grey window has, the less is spent, by Kendall's tau": tau(
            results, "grey", "kl"
        )
        < 0,
        "with every seed a grey window spends more than the same window in colour": all(
            always_below(a["test_kl"], b["test_kl"]) for a, b in pairs
        ),
        "the more pixels a window in colour has, the less colour is in z, by Kendall's tau": tau(
            results, "all", "colour"
        )
        < 0,
        "with every seed z tells more of the colour if the same window is grey": all(
            always_below(a["z"]["colour"], b["z"]["colour"]) for a, b in pairs
        ),
        "with every seed x' tells more of the colour if the same window is grey": all(
            always_below(a["x'"]["colour"], b["x'"]["colour"]) for a, b in pairs
        ),
        "z tells the texture of less than one pixel": all(
            max(entry["z"]["texture"]) < ONE_PIXEL for entry in (none, *others)
        ),
        "no model needs fewer nats than the entropy of colour and texture": all(
            min(entry["nll"]) >= results["entropy"] for entry in (none, *others)
        ),
    }
    return {name: bool(holds) for name, holds in claims.items()}


def of_context(results: Mapping[str, Any], context: str) -> list[Mapping[str, Any]]:
    """Return the measures of the windows with a context, from the smallest window on."""
    return [entry for entry in results["models"].values() if entry["context"] == context]


def tau(results: Mapping[str, Any], context: str, measure: str) -> float:
    """Return Kendall's tau of a measure and the number of pixels, from the factorised decoder on.

    `measure` is kl, or a factor that is read from z.
    """
    entries = [results["models"]["none"], *of_context(results, context)]
    values = [e["test_kl"] if measure == "kl" else e["z"][measure] for e in entries]
    counts = [
        np.full(len(of_seeds), e["pixels"]) for e, of_seeds in zip(entries, values, strict=True)
    ]
    return float(np.nan_to_num(kendalltau(np.ravel(counts), np.ravel(values)).statistic))


def bits_per_dim(results: Mapping[str, Any], entry: Mapping[str, Any]) -> list[float]:
    """Return -log2 p(x) per pixel and channel, for each seed."""
    return [levels.bits_per_dim(nll, results["values"]) for nll in entry["nll"]]


def _entropy(data: Dataset) -> float:
    """Entropy of the colour and the texture of an image, in nats."""
    return COLOUR_NATS + math.prod(data.image_shape[1:]) * TEXTURE_NATS


def _merge(measures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the measures of one model as lists over the seeds."""
    first = measures[0]
    merged: dict[str, Any] = {name: first[name] for name in ("context", "pixels")}
    for name, value in first.items():
        if isinstance(value, dict):
            merged[name] = {key: [m[name][key] for m in measures] for key in value}
        elif name not in merged:
            merged[name] = [m[name] for m in measures]
    return merged


def _table(results: Mapping[str, Any]) -> Table:
    subject = f"{results['images']} held-out images"
    table = Table(title=f"{subject}: mean ± standard deviation over the seeds")
    table.add_column("window")
    headings = ["pixels", "KL, nats", "bits/dim", "colour from z, R²", "from x′, R²"]
    headings += ["digit from z, %", "from x′, %", "texture from z, pixels", "from x′, pixels"]
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, entry in results["models"].items():
        row = [format_mean(entry["test_kl"]), format_mean(bits_per_dim(results, entry), 3)]
        row += [format_mean(entry[source]["colour"]) for source in ("z", "x'")]
        shares = [100 * np.array(entry[source]["digit"]) for source in ("z", "x'")]
        row += [format_mean(share.tolist(), 1) for share in shares]
        row += [format_mean(entry[source]["texture"]) for source in ("z", "x'")]
        table.add_row(name, str(entry["pixels"]), *row)
    x, values = results["x"], results["values"]
    bound = levels.bits_per_dim(results["entropy"], values)
    table.caption = (
        f"entropy of colour and texture: {bound:.3f} bits/dim; from x itself: colour "
        f"{x['colour']:.2f}, digit {100 * x['digit']:.1f} %, texture {x['texture']:.0f} pixels"
    )
    return table
