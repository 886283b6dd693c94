"""Experiment: compare an autoencoder with a VAE of the same network.

The autoencoder minimises E[-log p(x|z)] at z = mu(x) only, so it reconstructs better; but its loss
constrains neither the distribution of its codes nor the images decoded between them. The VAE also
pays KL(q(z|x) || N(0, I)) and decodes a distribution around each code, so samples from N(0, I)
resemble images.

Samples are scored by measures that do not depend on the models:

* distance to the nearest training image. A stray is a sample further away than 99 % of the held-out
  images.
* confidence of a digit classifier. A hole is a sample with a lower confidence than 95 % of the
  held-out images. Classifiers can be confident of images that are no digits, hence the distance.
* energy distance between the samples and the held-out images. The other two measures would also
  favour a model that generates only one digit, such as an autoencoder whose codes are far from 0.

For a fair comparison the autoencoder is also sampled from a Gaussian fitted to its codes (after
Ghosh et al. 2020, arXiv 1903.12436). Theory does not say whether this sampler or the VAE is better,
so the comparison is reported but is no claim.
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
from diptych.figures.style import DPI, INK, LABELS, set_heading, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import (
    always_below,
    at_most,
    codes,
    decode_means,
    epochs_for,
    format_mean,
    image_size,
    reconstruct,
    train_vae,
)
from diptych.lab.pictures import show_mosaic
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
"""(model, whether z is drawn from a Gaussian fitted to the codes) by name."""
VAE_PRIOR, AE_PRIOR, AE_FITTED = SAMPLERS
MAX_IMAGES = 5000
"""The most training images for the classifier and the distances."""


def run(setting: Setting) -> Findings:
    """Train both models for each seed; compare reconstructions, samples and codes.

    Units: reconstruction is the squared error per pixel; distance is Euclidean, between images;
    confidence is the classifier's largest probability; all are means over images. holes and strays
    are shares of the images; energy is the energy distance to held-out images; codes_from_prior is
    the energy distance of codes to N(0, I).
    Raises: ValueError for images without labels, or in colour.
    """
    data = setting.data
    if data.train.y is None or data.test.y is None:
        raise ValueError(f"data: got {data.name}, takes labelled images")
    image_size(data)
    epochs = epochs_for(setting, data, QUICK_STEPS if setting.quick else STEPS)
    draws = 200 if setting.quick else 1000
    classifier = DigitClassifier(data)
    panels = {
        name: [
            train_vae(setting, seed, FIELDS | {"posterior": posterior}, epochs=epochs)
            for seed in setting.seeds
        ]
        for name, posterior in MODELS.items()
    }
    errors: dict[str, Any] = {
        split: {name: [_error(p, x) for p in models] for name, models in panels.items()}
        for split, x in (("train", data.train.x), ("test", data.test.x))
    }
    samples = {
        name: [_sample(p, data.train.x, draws, fitted) for p in panels[model]]
        for name, (model, fitted) in SAMPLERS.items()
    }
    scores = {name: [classifier(x) for x in batches] for name, batches in samples.items()}
    prior = random.normal(KEY.fold_in("z"), (draws, FIELDS["latent_dim"]))
    results = {
        "epochs": epochs,
        "reconstruction": errors,
        "held_out": classifier(data.test.x[:1000])
        | {"energy": _energy(data.valid.x, classifier.held_out)},
        "samples": {
            name: {measure: [score[measure] for score in seeds] for measure in seeds[0]}
            for name, seeds in scores.items()
        },
        "codes_from_prior": {
            name: [_energy(codes(p, data.test.x), prior) for p in models]
            for name, models in panels.items()
        },
    }
    firsts = {name: models[0] for name, models in panels.items()}
    figure = _draw(firsts, {n: batches[0] for n, batches in samples.items()}, data, classifier)
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Check the claims for every seed, with strays compared within the precision of the seeds."""
    errors, samples = results["reconstruction"]["train"], results["samples"]
    energy = results["codes_from_prior"]
    strays = [samples[name]["strays"] for name in (VAE_PRIOR, AE_FITTED)]
    return {
        "the autoencoder reconstructs training images better": always_below(
            errors["autoencoder"], errors["VAE"]
        ),
        "the VAE's codes lie more as N(0, I) does": always_below(
            energy["VAE"], energy["autoencoder"]
        ),
        "from N(0, I) the VAE's samples are more like held-out images": always_below(
            samples[VAE_PRIOR]["energy"], samples[AE_PRIOR]["energy"]
        ),
        "a Gaussian fitted to its codes helps the autoencoder": always_below(
            samples[AE_FITTED]["energy"], samples[AE_PRIOR]["energy"]
        ),
        "no more of the VAE's samples stray than of those from the Gaussian": at_most(*strays),
        "held-out images are more like each other than any samples": all(
            results["held_out"]["energy"] < energy
            for entry in samples.values()
            for energy in entry["energy"]
        ),
    }


class DigitClassifier:
    """Scores generated images by a classifier and by their distance to training images."""

    def __init__(self, data: Dataset) -> None:
        # imported here because it takes a second, which other experiments need not spend
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        rows = random.permutation(KEY.fold_in("judge"), len(data.train))[:MAX_IMAGES]
        self.images = data.train.x[rows]
        self.classifier = LogisticRegression(C=0.1, max_iter=200)
        assert data.train.y is not None
        with warnings.catch_warnings():  # an almost converged classifier is good enough
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier.fit(self.images, data.train.y[rows])
        self.held_out = data.test.x[:1000]
        self.low_confidence = float(np.quantile(self.confidence(data.test.x), 0.05))
        self.large_distance = float(np.quantile(self.distance(self.held_out), 0.99))

    def confidence(self, x: np.ndarray) -> np.ndarray:
        """Return the largest class probability.   (N, D) -> (N)"""
        return self.classifier.predict_proba(x).max(1)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """Return the distance to the nearest training image.   (N, D) -> (N)"""
        return cdist(x, self.images).min(1)

    def __call__(self, x: np.ndarray) -> dict[str, float]:
        """Return the scores of images, see `run`.   x (N, D)"""
        confidence, distance = self.confidence(x), self.distance(x)
        return {
            "distance": float(distance.mean()),
            "strays": float((distance > self.large_distance).mean()),
            "energy": _energy(x, self.held_out),
            "confidence": float(confidence.mean()),
            "holes": float((confidence < self.low_confidence).mean()),
        }


def _energy(x: np.ndarray, y: np.ndarray) -> float:
    """Estimate the energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|.

    It is 0 if and only if both samples have the same distribution (Székely & Rizzo 2013).
    """

    def mean_distance(a: np.ndarray) -> float:
        return float(cdist(a, a).sum() / (len(a) * (len(a) - 1)))

    return 2 * float(cdist(x, y).mean()) - mean_distance(x) - mean_distance(y)


def _error(panel: Panel, x: np.ndarray) -> float:
    """Return the mean squared error of the means at z = mu(x)."""
    return float(((reconstruct(panel, x) - x) ** 2).mean())


def _sample(panel: Panel, x: np.ndarray, count: int, fitted: bool) -> np.ndarray:
    """Return means of p(x|z) for z from N(0, I), or from a Gaussian fitted to the codes of x."""
    z = random.normal(KEY.fold_in("z"), (count, FIELDS["latent_dim"]))
    if fitted:
        mu = codes(panel, x).astype(np.float64)
        z = mu.mean(0) + z @ np.linalg.cholesky(np.cov(mu.T)).T
    return decode_means(panel, z)


def _table(results: Mapping[str, Any]) -> Table:
    table = Table(title="samples, and reconstructions: mean ± standard deviation over the seeds")
    headings = ("energy", "nearest", "strays, %", "confidence", "holes, %", "error, train", "test")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    scores = results["held_out"]
    cells = [f"{scores['energy']:.3f}", f"{scores['distance']:.2f}"]
    cells += [f"{100 * scores['strays']:.1f}", f"{scores['confidence']:.3f}"]
    table.add_row("held-out images", *cells, f"{100 * scores['holes']:.1f}")
    for name, (model, fitted) in SAMPLERS.items():
        entry = results["samples"][name]
        strays, holes = ([100 * share for share in entry[name]] for name in ("strays", "holes"))
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
    legend = "circle: 2 standard deviations of N(0, I); dark: low confidence, a hole"
    above.supxlabel(legend, fontsize=9, color=INK)
    for axis, (name, x) in zip(below.subplots(1, 4), pictures.items(), strict=True):
        show_mosaic(axis, x[:36].reshape(-1, *image_size(data)), 6, name)
    return figure


def _draw_map(
    axis: Axes, name: str, panel: Panel, data: Dataset, classifier: DigitClassifier
) -> None:
    """Plot codes of held-out images over the classifier's confidence in the image decoded there."""
    z, labels = codes(panel, classifier.held_out), data.test.y
    assert labels is not None
    style(axis, "$z_1$", "$z_2$").grid(False)
    set_heading(axis, f"{name}, codes of held-out images")
    low, high = np.minimum(z.min(0), -2.5), np.maximum(z.max(0), 2.5)
    middle, half = (low + high) / 2, (high - low).max() / 2
    x, y = (np.linspace(m - half, m + half, 100) for m in middle)
    confidence = classifier.confidence(
        decode_means(panel, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    )
    shade: dict[str, Any] = {"cmap": "Greys_r", "vmin": -0.4, "vmax": 1.0, "shading": "gouraud"}
    axis.pcolormesh(x, y, confidence.reshape(100, 100), rasterized=True, **shade)
    colors = np.array(LABELS)[labels[: len(z)]]
    axis.scatter(z[:, 0], z[:, 1], c=colors, s=10, linewidths=0.3, edgecolors="white")
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in np.unique(labels):
        z1, z2 = np.median(z[labels[: len(z)] == label], axis=0)
        text = axis.text(z1, z2, str(label), ha="center", va="center", path_effects=halo)
        text.set(fontsize=13, fontweight="bold", color=INK)
    angle = np.linspace(0, 2 * np.pi, 100)
    for color, width in (("white", 2.5), (INK, 1.0)):
        axis.plot(2 * np.cos(angle), 2 * np.sin(angle), color=color, lw=width)
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
