"""Which likelihood for grey images, and which of their nats can be compared.

The nats of a density on [0, 1] are no probability's; but where x = (k + u) / levels is dequantised,

    -log P(k) <= E_u[-log p(x)] + D log(levels),

so all densities bound the same thing, the log-probability of the levels that the files hold, and
the smaller bound is the better. The Bernoulli's cross-entropy is none of them: over [0, 1] its
integral is tanh(l / 2) / l, at most 1/2 a pixel, so its nats say nothing of anything. Divided by
that it is the continuous Bernoulli, at the same weights. The Gaussian is a density, but some of it
lies outside of [0, 1], where no grey value is: its nats are a bound, and cut to [0, 1] it is the
better everywhere, at the same weights too.

Source: Theis, van den Oord & Bethge (2016), arXiv 1511.01844; Loaiza-Ganem & Cunningham (2019),
arXiv 1907.06845.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.integrate import quad_vec

from diptych.arrays import to_numpy
from diptych.display import Table
from diptych.evaluation.importance import importance_weighted
from diptych.figures.style import DPI, INK, LEGEND, MUTED, TERMS, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import (
    codes,
    dequantised,
    epochs_in,
    format_mean,
    grey_size,
    levels,
    no_more,
    trained,
)
from diptych.lab.pictures import head, show
from diptych.panels import Panel, make_panel
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random
from numpy_ref.probability.likelihoods import make_likelihood

KEY = Key(0).fold_in("lab").fold_in("likelihoods")
STEPS, QUICK_STEPS = 1240, 125
FIELDS: dict[str, Any] = {"hidden_dim": 128, "latent_dim": 8}
STDS = (0.05, 0.1, 0.2, 0.4)
QUICK_STDS = (0.2,)
# trained as, judged as
ROWS = {
    "Bernoulli, raw": ("bernoulli", "bernoulli"),
    "Bernoulli, normalised after": ("bernoulli", "continuous_bernoulli"),
    "continuous Bernoulli": ("continuous_bernoulli", "continuous_bernoulli"),
    "Gaussian": ("gaussian", "gaussian"),
    "Gaussian, cut after": ("gaussian", "truncated_gaussian"),
    "truncated Gaussian": ("truncated_gaussian", "truncated_gaussian"),
    "Beta": ("beta", "beta"),
}
RAW, CUT = "Bernoulli, raw", "Gaussian, cut after"
WHY = {
    RAW: "no: no density, nats of nothing",
    "Gaussian": "yes, a bound: the rest lies outside",
}
PIXELS = 24


def run(setting: Setting) -> Findings:
    """Train one network under each likelihood, from each seed, and judge it under its own and under
    the normalised one.

    The Gaussians' std is the best of STDS on the validation images, by the first seed's models.
    Units: nll is -log p(x) by importance sampling, nats per dequantised test image; bits are those
    of the bound on the levels' log-probability, per pixel.
    Raises: ValueError for images that are not grey.
    """
    samples, stds = (16, QUICK_STDS) if setting.quick else (256, STDS)
    grey_size(setting.data)  # before a minute of training
    data = dequantised(setting.data, KEY.fold_in("u"))
    epochs = epochs_in(setting, data, QUICK_STEPS if setting.quick else STEPS)
    size, count = data.test.x.shape[1], levels(setting.data)
    test = data.test.x[:100] if setting.quick else data.test.x[:1000]

    models: dict[str, list[Panel]] = {}
    chosen: dict[str, float] = {}
    for likelihood in dict.fromkeys(trained_as for trained_as, _ in ROWS.values()):
        fields = FIELDS | {"likelihood": likelihood}
        first, rest = setting.seeds[0], setting.seeds[1:]
        tried = {
            std: trained(setting, first, fields | {"gaussian_std": std}, data=data, epochs=epochs)
            for std in (stds if "gaussian" in likelihood else (1.0,))
        }
        valid = data.valid.x
        best = min(
            tried, key=lambda s: importance_weighted(tried[s], valid, KEY, min(samples, 64)).nll
        )
        chosen[likelihood] = best
        fields["gaussian_std"] = best
        others = [trained(setting, seed, fields, data=data, epochs=epochs) for seed in rest]
        models[likelihood] = [tried[best], *others]

    result: dict[str, Any] = {}
    for name, (trained_as, judged_as) in ROWS.items():
        panels = [_judged(panel, judged_as) for panel in models[trained_as]]
        nll = [importance_weighted(p, test, KEY.fold_in("nll"), samples).nll for p in panels]
        integrals = np.array([_integrals(panel, test) for panel in panels])
        bits = [(n + size * math.log(count)) / (size * math.log(2)) for n in nll]
        result[name] = {"nll": nll, "integral": [float(integrals.min()), float(integrals.max())]}
        result[name] |= {"bits_per_dim": None if name == RAW else bits}
    raised = [_raised(panel, test[:50]) for panel in models["gaussian"]]
    results = {
        "levels": count,
        "pixels": size,
        "samples": samples,
        "epochs": epochs,
        "std": {name: std for name, std in chosen.items() if "gaussian" in name},
        "found": result,
        "least_gain_of_the_cut": raised,
    }
    figure = _draw(results, {n: _judged(models[a][0], b) for n, (a, b) in ROWS.items()}, setting)
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """What must hold of densities, and what the authors of the continuous Bernoulli claim."""
    result, size = results["found"], results["pixels"]
    nll = {name: entry["nll"] for name, entry in result.items()}
    ends = {name: entry["integral"] for name, entry in result.items()}
    whole = [name for name in result if name not in (RAW, "Gaussian", "Beta")]
    gained = np.subtract(nll[RAW], nll["Bernoulli, normalised after"])
    bits = [b for entry in result.values() for b in entry["bits_per_dim"] or []]
    held = {
        "each normalised density integrates to 1 over [0, 1]": all(
            abs(end - 1) < 1e-6 for name in whole for end in ends[name]
        ),
        "the Beta, squeezed, to 1 at most": ends["Beta"][1] < 1 + 1e-6,
        "the Bernoulli's cross-entropy to 1/2 at most": ends[RAW][1] <= 0.5,
        "the Gaussian to less than 1": ends["Gaussian"][1] < 1,
        "normalising the Bernoulli gains at least log 2 a pixel": (
            gained >= size * math.log(2)
        ).all(),
        "the cut only ever raises the Gaussian's density": min(results["least_gain_of_the_cut"])
        >= 0,
        "training with the normaliser beats adding it afterwards": no_more(
            nll["continuous Bernoulli"], nll["Bernoulli, normalised after"]
        ),
        "every bound beats the uniform distribution of the levels": max(bits)
        < math.log2(results["levels"]),
    }
    return {name: bool(holds) for name, holds in held.items()}


def _judged(panel: Panel, likelihood: str) -> Panel:
    """The same weights under another likelihood."""
    config = replace(panel.model.config, likelihood=likelihood)
    other = make_panel("mlp_vae", config, "torch", key=Key(0))
    other.load_weights(panel.weights())
    other.model.eval()
    return other


def _outputs(panel: Panel, x: np.ndarray) -> np.ndarray:
    """What the decoder gives at the code of x.   (N, D) -> (N, D, outputs), float64"""
    with panel.evaluating():
        given = to_numpy(panel.model.decode(panel.array(codes(panel, x)))).astype(np.float64)
    return given.reshape(len(x), -1, x.shape[1]).swapaxes(1, 2)


def _density(config: MLPVAEConfig, outputs: np.ndarray, x: float) -> np.ndarray:
    """p(x) of pixels, by the left panel.   outputs (P, outputs) -> (P)"""
    nll, _ = make_likelihood(config).nll(outputs[None], np.full((1, 1), x))
    return np.exp(-nll[0])


def _integrals(panel: Panel, x: np.ndarray) -> np.ndarray:
    """The integral of p(x|z) over [0, 1] of some pixels of as many images, by quadrature."""
    outputs = _outputs(panel, x[:PIXELS])
    pixels = random.permutation(KEY.fold_in("pixels"), x.shape[1])
    chosen = outputs[np.arange(len(outputs)), pixels[np.arange(len(outputs)) % len(pixels)]]
    return _integral(panel.model.config, chosen)


def _integral(config: MLPVAEConfig, outputs: np.ndarray) -> np.ndarray:
    """Of p(x) over [0, 1].   outputs (P, outputs) -> (P)"""
    ends = (1e-6, 1e-4, 1e-2, 0.1)  # where a Beta is steep
    points = (*ends, *(1 - end for end in ends))
    result, _ = quad_vec(
        lambda x: _density(config, outputs, x), 0, 1, points=points, epsabs=1e-9, norm="max"
    )
    return result


def _raised(panel: Panel, x: np.ndarray) -> float:
    """The least that the cut adds to log p(x|z), of all images and of draws of z, nats."""
    noise = panel.model.draw_noise(KEY.fold_in("cut"), len(x), samples=8)
    log_w = [
        to_numpy(_judged(panel, likelihood).model.log_weight(panel.array(x), noise))
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
    for name, entry in results["found"].items():
        low, high = entry["integral"]
        integral = f"{low:.3f}" if high - low < 5e-4 else f"{low:.3f} to {high:.3f}"
        bits = "–" if entry["bits_per_dim"] is None else format_mean(entry["bits_per_dim"], 3)
        table.add_row(name, integral, format_mean(entry["nll"]), bits, WHY.get(name, "yes"))
    return table


def _draw(results: Mapping[str, Any], panels: Mapping[str, Panel], setting: Setting) -> Figure:
    figure = Figure((9.2, 6.6), dpi=DPI, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1))[:, 0]
    left, right = above.subplots(1, 2)
    _draw_densities(left, panels, setting)
    _draw_bits(right, results)
    own = {
        name: panels[name]
        for name, (trained_as, judged_as) in ROWS.items()
        if trained_as == judged_as
    }
    axes = below.subplots(len(own) + 1, 1)
    shape = (-1, *grey_size(setting.data))
    show(axes[0], setting.data.test.x[:24].reshape(shape), 24)
    for axis, panel in zip(axes[1:], own.values(), strict=True):
        x = to_numpy(panel.model.sample(KEY.fold_in("sample"), 24))
        show(axis, x.reshape(shape), 24)
    for axis, name in zip(axes, ("test images", *own), strict=True):
        text = axis.text(-0.01, 0.5, name, ha="right", va="center", fontsize=9)
        text.set(transform=axis.transAxes, color=INK)
    return figure


def _draw_densities(axis: Axes, panels: Mapping[str, Panel], setting: Setting) -> None:
    """p(x) of one pixel, a dark one."""
    x = setting.data.test.x[:1]
    pixel = int(np.abs(x[0] - 0.15).argmin())
    grid = np.concatenate([[1e-4, 1e-3], np.linspace(0.005, 0.995, 199), [0.999, 0.9999]])
    head(style(axis, "grey value x", "p(x) of one pixel"), "what a decoder says of a dark pixel")
    shown, top = [name for name in panels if name != CUT], 0.0
    for name, color in zip(shown, TERMS.values(), strict=True):
        panel = panels[name]
        outputs = _outputs(panel, x)[:, pixel]
        p = np.concatenate([_density(panel.model.config, outputs, t) for t in grid])
        line = "--" if name == RAW else "-"
        whole = _integral(panel.model.config, outputs)[0]
        axis.plot(grid, p, line, color=color, lw=1.5, label=f"{name}: ∫ = {whole:.2f}")
        top = max(top, p[(grid > 0.03) & (grid < 0.97)].max())
    axis.set(xlim=(0, 1), ylim=(0, 2 * top))  # an end may be infinite
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.legend(**LEGEND | {"fontsize": 8})


def _draw_bits(axis: Axes, results: Mapping[str, Any]) -> None:
    rows = {n: e["bits_per_dim"] for n, e in results["found"].items() if e["bits_per_dim"]}
    head(style(axis, "bits a pixel, at most"), "−log₂ P(levels), test images")
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
