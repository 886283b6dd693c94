"""The same network as autoencoder and as VAE: what the KL term costs, and what it buys.

The autoencoder minimises E[-log p(x|z)] at z = mu(x) alone, so it reconstructs better; nothing
tells it where to put its codes, nor what to decode between them. The VAE pays KL(q(z|x) || N(0, I))
and decodes a cloud about each code: so a draw from N(0, I) falls where something was learned.

A sample is judged by what knows nothing of the models: its distance to the nearest training image,
and a classifier's confidence in it; held-out images give the scale of both. A hole is where the
classifier is less sure than it is of 95 % of them, a stray what lies further off than 99 % of them:
a classifier is sure of blots too. These flatter a model that draws one digit only, as does an
autoencoder whose codes lie far from 0: so all samples together are judged by their energy distance
to the held-out images. To be fair to the autoencoder its draws come from a Gaussian fitted to its
codes too (after Ghosh et al. 2020, arXiv 1903.12436); whether the VAE beats that is measured, and
no truth.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.spatial.distance import cdist

from diptych.data import Dataset
from diptych.display import Table
from diptych.figures.style import DPI, INK, LABELS, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import (
    codes,
    decoded,
    epochs_in,
    format_mean,
    grey_size,
    less,
    no_more,
    reconstructed,
    trained,
)
from diptych.lab.pictures import head, show
from diptych.panels import Panel
from model_specs.common.key import Key
from numpy_ref.nn import random

KEY = Key(0).fold_in("lab").fold_in("autoencoder")
STEPS, QUICK_STEPS = 2750, 440
FIELDS: dict[str, Any] = {"hidden_dim": 128, "latent_dim": 2}
MODELS = {"autoencoder": "deterministic", "VAE": "logvar"}
SAMPLERS = {
    "VAE, N(0, I)": ("VAE", False),
    "autoencoder, N(0, I)": ("autoencoder", False),
    "autoencoder, fitted": ("autoencoder", True),
}
OURS, THEIRS, FITTED = SAMPLERS
MOST = 5000  # training images that the classifier and the distances see


def run(setting: Setting) -> Findings:
    """Train both from each seed; compare reconstructions, and samples with held-out digits.

    Units: reconstruction is the squared error a pixel; distance is Euclidean, between images;
    confidence is the classifier's largest probability; all means over images. holes and strays are
    shares of them; energy is the energy distance to held-out images, codes_from_prior that of codes
    to N(0, I).
    Raises: ValueError for images without labels, or in colour.
    """
    data = setting.data
    if data.train.y is None or data.test.y is None:
        raise ValueError(f"data: got {data.name}, takes labelled images")
    grey_size(data)
    epochs = epochs_in(setting, data, QUICK_STEPS if setting.quick else STEPS)
    draws = 200 if setting.quick else 1000
    classifier = DigitClassifier(data)
    panels = {
        name: [
            trained(setting, seed, FIELDS | {"posterior": posterior}, epochs=epochs)
            for seed in setting.seeds
        ]
        for name, posterior in MODELS.items()
    }
    result: dict[str, Any] = {
        split: {name: [_error(p, x) for p in models] for name, models in panels.items()}
        for split, x in (("train", data.train.x), ("test", data.test.x))
    }
    samples = {
        name: [_drawn(p, data.train.x, draws, fitted) for p in panels[model]]
        for name, (model, fitted) in SAMPLERS.items()
    }
    judged = {name: [classifier(x) for x in several] for name, several in samples.items()}
    prior = random.normal(KEY.fold_in("z"), (draws, FIELDS["latent_dim"]))
    results = {
        "epochs": epochs,
        "reconstruction": result,
        "held_out": classifier(data.test.x[:1000])
        | {"energy": _energy(data.valid.x, classifier.held_out)},
        "samples": {
            name: {what: [one[what] for one in several] for what in several[0]}
            for name, several in judged.items()
        },
        "codes_from_prior": {
            name: [_energy(codes(p, data.test.x), prior) for p in models]
            for name, models in panels.items()
        },
    }
    firsts = {name: models[0] for name, models in panels.items()}
    figure = _draw(firsts, {n: several[0] for n, several in samples.items()}, data, classifier)
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Each with every seed, strays as far as the seeds can tell."""
    result, samples = results["reconstruction"], results["samples"]
    apart = results["codes_from_prior"]
    strays = [samples[name]["strays"] for name in (OURS, FITTED)]
    return {
        "the autoencoder reconstructs training images better": less(
            result["train"]["autoencoder"], result["train"]["VAE"]
        ),
        "the VAE's codes lie more as N(0, I) does": less(apart["VAE"], apart["autoencoder"]),
        "from N(0, I) the VAE's samples are more like held-out images": less(
            samples[OURS]["energy"], samples[THEIRS]["energy"]
        ),
        "a Gaussian fitted to its codes helps the autoencoder": less(
            samples[FITTED]["energy"], samples[THEIRS]["energy"]
        ),
        "no more of the VAE's samples stray than of those from the Gaussian": no_more(*strays),
        "held-out images are more like each other than any samples": all(
            results["held_out"]["energy"] < energy
            for entry in samples.values()
            for energy in entry["energy"]
        ),
    }


class DigitClassifier:
    """A classifier, and the training images, for images that a model made up."""

    def __init__(self, data: Dataset) -> None:
        # a second that other experiments need not spend
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        some = random.permutation(KEY.fold_in("judge"), len(data.train))[:MOST]
        self.images = data.train.x[some]
        self.classifier = LogisticRegression(C=0.1, max_iter=200)
        assert data.train.y is not None
        with warnings.catch_warnings():  # nearly converged is as good a judge
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier.fit(self.images, data.train.y[some])
        self.held_out = data.test.x[:1000]
        self.unsure = float(np.quantile(self.confidence(data.test.x), 0.05))
        self.far = float(np.quantile(self.distance(self.held_out), 0.99))

    def confidence(self, x: np.ndarray) -> np.ndarray:
        """The largest probability of a class.   (N, D) -> (N)"""
        return self.classifier.predict_proba(x).max(1)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """To the nearest training image.   (N, D) -> (N)"""
        return cdist(x, self.images).min(1)

    def __call__(self, x: np.ndarray) -> dict[str, float]:
        """All that `run` tells of samples.   x (N, D)"""
        sure, distance = self.confidence(x), self.distance(x)
        return {
            "distance": float(distance.mean()),
            "strays": float((distance > self.far).mean()),
            "energy": _energy(x, self.held_out),
            "confidence": float(sure.mean()),
            "holes": float((sure < self.unsure).mean()),
        }


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|: 0 where both are drawn from one distribution, and only
    there (Székely & Rizzo 2013)."""

    def within(a: np.ndarray) -> float:
        return float(cdist(a, a).sum() / (len(a) * (len(a) - 1)))

    return 2 * float(cdist(x, y).mean()) - within(x) - within(y)


def _error(panel: Panel, x: np.ndarray) -> float:
    """Of the means at z = mu(x), for both."""
    return float(((reconstructed(panel, x) - x) ** 2).mean())


def _drawn(panel: Panel, x: np.ndarray, count: int, fitted: bool) -> np.ndarray:
    """Means of p(x|z) at draws of z from N(0, I), or from the codes' own mean and covariance."""
    z = random.normal(KEY.fold_in("z"), (count, FIELDS["latent_dim"]))
    if fitted:
        own = codes(panel, x).astype(np.float64)
        z = own.mean(0) + z @ np.linalg.cholesky(np.cov(own.T)).T
    return decoded(panel, z)


def _table(results: Mapping[str, Any]) -> Table:
    table = Table(title="samples, and reconstructions: mean ± standard deviation over the seeds")
    headings = ("energy", "nearest", "strays, %", "confidence", "holes, %", "error, train", "test")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    held = results["held_out"]
    real = (f"{held['energy']:.3f}", f"{held['distance']:.2f}", f"{100 * held['strays']:.1f}")
    sure = (f"{held['confidence']:.3f}", f"{100 * held['holes']:.1f}")
    table.add_row("held-out images", *real, *sure)
    for name, (model, fitted) in SAMPLERS.items():
        entry = results["samples"][name]
        strays, holes = ([100 * share for share in entry[what]] for what in ("strays", "holes"))
        row = [
            format_mean(entry["energy"], 3),
            format_mean(entry["distance"]),
            format_mean(strays, 1),
        ]
        row += [format_mean(entry["confidence"], 3), format_mean(holes, 1)]
        errors = [] if fitted else [results["reconstruction"][s][model] for s in ("train", "test")]
        table.add_row(name, *row, *(format_mean(error, 4) for error in errors))
    return table


def _draw(
    panels: Mapping[str, Panel],
    samples: Mapping[str, np.ndarray],
    data: Dataset,
    classifier: DigitClassifier,
) -> Figure:
    figure = Figure((9.2, 7.4), dpi=DPI, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5, 1))[:, 0]
    for axis, (name, panel) in zip(above.subplots(1, 2), panels.items(), strict=True):
        _draw_map(axis, name, panel, data, classifier)
    pictures = {"held-out images": data.test.x, **samples}
    legend = "circle: 2 standard deviations of N(0, I); dark: the classifier is unsure, a hole"
    above.supxlabel(legend, fontsize=9, color=INK)
    for axis, (name, x) in zip(below.subplots(1, 4), pictures.items(), strict=True):
        show(axis, x[:36].reshape(-1, *grey_size(data)), 6, name)
    return figure


def _draw_map(
    axis: Axes, name: str, panel: Panel, data: Dataset, classifier: DigitClassifier
) -> None:
    """Codes of held-out images over the confidence in what is decoded there: a hole is dark."""
    z, labels = codes(panel, classifier.held_out), data.test.y
    assert labels is not None
    style(axis, "$z_1$", "$z_2$").grid(False)
    head(axis, f"{name}, codes of held-out images")
    low, high = np.minimum(z.min(0), -2.5), np.maximum(z.max(0), 2.5)
    middle, half = (low + high) / 2, (high - low).max() / 2
    x, y = (np.linspace(m - half, m + half, 100) for m in middle)
    sure = classifier.confidence(decoded(panel, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)))
    shade: dict[str, Any] = {"cmap": "Greys_r", "vmin": -0.4, "vmax": 1.0, "shading": "gouraud"}
    axis.pcolormesh(x, y, sure.reshape(100, 100), rasterized=True, **shade)
    colors = np.array(LABELS)[labels[: len(z)]]
    axis.scatter(z[:, 0], z[:, 1], c=colors, s=10, linewidths=0.3, edgecolors="white")
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in np.unique(labels):
        at = np.median(z[labels[: len(z)] == label], axis=0)
        text = axis.text(at[0], at[1], str(label), ha="center", va="center", path_effects=halo)
        text.set(fontsize=13, fontweight="bold", color=INK)
    turn = np.linspace(0, 2 * np.pi, 100)
    for color, width in (("white", 2.5), (INK, 1.0)):
        axis.plot(2 * np.cos(turn), 2 * np.sin(turn), color=color, lw=width)
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
