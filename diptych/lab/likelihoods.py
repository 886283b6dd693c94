"""Experiment: compare likelihoods for grey images, and show whose nats are comparable.

A density on [0, 1] is not a probability. But if x = (k + u) / levels is dequantised, then

    -log P(k) <= E_u[-log p(x)] + D log(levels),

so every density gives a bound on the negative log-probability of the grey levels, and the bounds
can be compared. The Bernoulli cross-entropy is not the negative logarithm of a density: exp of it
integrates to tanh(l / 2) / l <= 1/2 per pixel over [0, 1], with l the logit. Divided by this
integral it is the continuous Bernoulli. The Gaussian is a density, but a part of it is outside
[0, 1]; its nats give a valid bound, and truncation to [0, 1] improves it at the same weights.

Source: Theis, van den Oord & Bethge (2016), arXiv 1511.01844; Loaiza-Ganem & Cunningham (2019),
arXiv 1907.06845.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diptych.arrays import to_numpy
from diptych.display import Table
from diptych.evaluation.importance import importance_weighted
from diptych.figures.style import DPI, INK, LEGEND, MUTED, TERMS, set_heading, style
from diptych.lab.densities import (
    KEY,
    decoder_outputs,
    density,
    integral,
    integrals,
    with_likelihood,
)
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import (
    at_most,
    dequantise,
    epochs_for,
    format_mean,
    grey_levels,
    image_size,
    train_vae,
)
from diptych.lab.pictures import show_mosaic
from diptych.panels import Panel

STEPS, QUICK_STEPS = 1240, 125
FIELDS: dict[str, Any] = {"hidden_dim": 128, "latent_dim": 8}
STDS = (0.05, 0.1, 0.2, 0.4)
QUICK_STDS = (0.2,)
ROWS = {
    "Bernoulli, raw": ("bernoulli", "bernoulli"),
    "Bernoulli, normalised after": ("bernoulli", "continuous_bernoulli"),
    "continuous Bernoulli": ("continuous_bernoulli", "continuous_bernoulli"),
    "Gaussian": ("gaussian", "gaussian"),
    "Gaussian, cut after": ("gaussian", "truncated_gaussian"),
    "truncated Gaussian": ("truncated_gaussian", "truncated_gaussian"),
    "Beta": ("beta", "beta"),
}
"""(likelihood in training, likelihood in the evaluation) by name."""
RAW, CUT = "Bernoulli, raw", "Gaussian, cut after"
COMPARABLE = {
    RAW: "no: not a density",
    "Gaussian": "yes, a bound: a part is outside [0, 1]",
}


def run(setting: Setting) -> Findings:
    """Train a network with each likelihood and seed; evaluate it with its own and normalised ones.

    The standard deviation of the Gaussians is the best of STDS on the validation images for the
    first seed.
    Units: nll is -log p(x) by importance sampling, in nats per dequantised test image; bits are
    those of the bound on -log P(levels), per pixel.
    Raises: ValueError for images that are not grey.
    """
    samples, stds = (16, QUICK_STDS) if setting.quick else (256, STDS)
    image_size(setting.data)  # raises before the training
    data = dequantise(setting.data, KEY.fold_in("u"))
    epochs = epochs_for(setting, data, QUICK_STEPS if setting.quick else STEPS)
    size, count = data.test.x.shape[1], grey_levels(setting.data)
    test = data.test.x[:100] if setting.quick else data.test.x[:1000]

    models: dict[str, list[Panel]] = {}
    best_stds: dict[str, float] = {}
    for likelihood in dict.fromkeys(in_training for in_training, _ in ROWS.values()):
        fields = FIELDS | {"likelihood": likelihood}
        first, rest = setting.seeds[0], setting.seeds[1:]
        candidates = {
            std: train_vae(setting, first, fields | {"gaussian_std": std}, data=data, epochs=epochs)
            for std in (stds if "gaussian" in likelihood else (1.0,))
        }
        valid = data.valid.x
        best = min(
            candidates,
            key=lambda s: importance_weighted(candidates[s], valid, KEY, min(samples, 64)).nll,
        )
        best_stds[likelihood] = best
        fields["gaussian_std"] = best
        others = [train_vae(setting, seed, fields, data=data, epochs=epochs) for seed in rest]
        models[likelihood] = [candidates[best], *others]

    by_likelihood: dict[str, Any] = {}
    for name, (in_training, in_evaluation) in ROWS.items():
        panels = [with_likelihood(panel, in_evaluation) for panel in models[in_training]]
        nll = [importance_weighted(p, test, KEY.fold_in("nll"), samples).nll for p in panels]
        areas = np.array([integrals(panel, test) for panel in panels])
        bits = [(n + size * math.log(count)) / (size * math.log(2)) for n in nll]
        by_likelihood[name] = {"nll": nll, "integral": [float(areas.min()), float(areas.max())]}
        by_likelihood[name] |= {"bits_per_dim": None if name == RAW else bits}
    gains = [_least_gain(panel, test[:50]) for panel in models["gaussian"]]
    results = {
        "levels": count,
        "pixels": size,
        "samples": samples,
        "epochs": epochs,
        "std": {name: std for name, std in best_stds.items() if "gaussian" in name},
        "by_likelihood": by_likelihood,
        "least_gain_of_the_cut": gains,
    }
    figure = _draw(
        results, {n: with_likelihood(models[a][0], b) for n, (a, b) in ROWS.items()}, setting
    )
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Check properties of densities, and a claim of the continuous Bernoulli's authors."""
    entries, size = results["by_likelihood"], results["pixels"]
    nll = {name: entry["nll"] for name, entry in entries.items()}
    ends = {name: entry["integral"] for name, entry in entries.items()}
    normalised = [name for name in entries if name not in (RAW, "Gaussian", "Beta")]
    gains = np.subtract(nll[RAW], nll["Bernoulli, normalised after"])
    bits = [b for entry in entries.values() for b in entry["bits_per_dim"] or []]
    claims = {
        "each normalised density integrates to 1 over [0, 1]": all(
            abs(end - 1) < 1e-6 for name in normalised for end in ends[name]
        ),
        "the Beta, squeezed, to 1 at most": ends["Beta"][1] < 1 + 1e-6,
        "the Bernoulli's cross-entropy to 1/2 at most": ends[RAW][1] <= 0.5,
        "the Gaussian to less than 1": ends["Gaussian"][1] < 1,
        "normalising the Bernoulli gains at least log 2 a pixel": (
            gains >= size * math.log(2)
        ).all(),
        "the cut only ever raises the Gaussian's density": min(results["least_gain_of_the_cut"])
        >= 0,
        "training with the normaliser beats adding it afterwards": at_most(
            nll["continuous Bernoulli"], nll["Bernoulli, normalised after"]
        ),
        "every bound beats the uniform distribution of the levels": max(bits)
        < math.log2(results["levels"]),
    }
    return {name: bool(holds) for name, holds in claims.items()}


def _least_gain(panel: Panel, x: np.ndarray) -> float:
    """Return the least gain in log p(x|z), in nats, from truncating the Gaussian to [0, 1].

    The minimum is over the images and over samples of z.
    """
    noise = panel.model.draw_noise(KEY.fold_in("cut"), len(x), samples=8)
    log_w = [
        to_numpy(with_likelihood(panel, likelihood).model.log_weight(panel.array(x), noise))
        for likelihood in ("gaussian", "truncated_gaussian")
    ]
    return float((log_w[1] - log_w[0]).min())


def _table(results: Mapping[str, Any]) -> Table:
    stds = ", ".join(f"{name} {std:g}" for name, std in results["std"].items())
    uniform = math.log2(results["levels"])
    table = Table(
        title=f"{results['pixels']} pixels of {results['levels']} levels (uniform: "
        f"{uniform:.2f} bits/dim); std {stds}"
    )
    table.add_column("p(x|z)")
    for heading in ("integral over [0, 1]", "−log p(x), nats", "−log₂ P(k) ≤, bits/dim"):
        table.add_column(heading, justify="right")
    table.add_column("comparable")
    for name, entry in results["by_likelihood"].items():
        low, high = entry["integral"]
        integral = f"{low:.3f}" if high - low < 5e-4 else f"{low:.3f} to {high:.3f}"
        bits = "–" if entry["bits_per_dim"] is None else format_mean(entry["bits_per_dim"], 3)
        table.add_row(name, integral, format_mean(entry["nll"]), bits, COMPARABLE.get(name, "yes"))
    return table


def _draw(results: Mapping[str, Any], panels: Mapping[str, Panel], setting: Setting) -> Figure:
    figure = Figure((9.2, 6.6), dpi=DPI, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1))[:, 0]
    left, right = above.subplots(1, 2)
    _draw_densities(left, panels, setting)
    _draw_bits(right, results)
    own = {
        name: panels[name]
        for name, (in_training, in_evaluation) in ROWS.items()
        if in_training == in_evaluation
    }
    axes = below.subplots(len(own) + 1, 1)
    shape = (-1, *image_size(setting.data))
    show_mosaic(axes[0], setting.data.test.x[:24].reshape(shape), 24)
    for axis, panel in zip(axes[1:], own.values(), strict=True):
        x = to_numpy(panel.model.sample(KEY.fold_in("sample"), 24))
        show_mosaic(axis, x.reshape(shape), 24)
    for axis, name in zip(axes, ("test images", *own), strict=True):
        text = axis.text(-0.01, 0.5, name, ha="right", va="center", fontsize=9)
        text.set(transform=axis.transAxes, color=INK)
    return figure


def _draw_densities(axis: Axes, panels: Mapping[str, Panel], setting: Setting) -> None:
    """Plot the density of one dark pixel under each likelihood."""
    x = setting.data.test.x[:1]
    pixel = int(np.abs(x[0] - 0.15).argmin())
    grid = np.concatenate([[1e-4, 1e-3], np.linspace(0.005, 0.995, 199), [0.999, 0.9999]])
    set_heading(style(axis, "grey value x", "p(x) of one pixel"), "density of a dark pixel")
    names, top = [name for name in panels if name != CUT], 0.0
    for name, color in zip(names, cycle(TERMS.values())):
        panel = panels[name]
        outputs = decoder_outputs(panel, x)[:, pixel]
        p = np.concatenate([density(panel.model.config, outputs, t) for t in grid])
        line = "--" if name == RAW else "-"
        area = integral(panel.model.config, outputs)[0]
        axis.plot(grid, p, line, color=color, lw=1.5, label=f"{name}: ∫ = {area:.2f}")
        top = max(top, p[(grid > 0.03) & (grid < 0.97)].max())
    axis.set(xlim=(0, 1), ylim=(0, 2 * top))  # the density may be infinite at an end
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.legend(**LEGEND | {"fontsize": 8})


def _draw_bits(axis: Axes, results: Mapping[str, Any]) -> None:
    rows = {n: e["bits_per_dim"] for n, e in results["by_likelihood"].items() if e["bits_per_dim"]}
    set_heading(style(axis, "bits per pixel, upper bound"), "−log₂ P(levels), test images")
    for place, values in enumerate(rows.values()):
        axis.plot(values, [place] * len(values), "o", color=INK, ms=5, alpha=0.7)
        axis.plot(np.mean(values), place, "|", color=INK, ms=16)
    uniform = math.log2(results["levels"])
    axis.axvline(uniform, color=MUTED, ls=":", lw=1.2)
    note = axis.text(uniform, -0.4, "uniform ", ha="right", va="center", fontsize=8)
    note.set_color(MUTED)
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.set_yticks(range(len(rows)), list(rows), fontsize=9, color=INK)
    axis.set_ylim(len(rows) - 0.5, -0.5)
