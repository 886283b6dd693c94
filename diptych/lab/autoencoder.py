"""The same network as autoencoder and as VAE: what the KL term costs, and what it buys.

The autoencoder minimises E[-log p(x|z)] at z = mu(x) alone, so it reconstructs better; nothing
tells it where to put its codes, nor what to decode between them. The VAE pays KL(q(z|x) || N(0, I))
and decodes a cloud about each code: so a draw from N(0, I) falls where something was learned.

A sample is judged by two that know nothing of the models: its distance to the nearest training
image, and a classifier's confidence in it; held-out digits give the scale of both. A hole is where
the classifier is less sure than it is of 95 % of them. For the autoencoder draws come from N(0, I)
and, to be fair to it, from a Gaussian fitted to its codes (a step towards Ghosh et al., 2020).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table
from scipy.spatial.distance import cdist

from diptych.data import Dataset
from diptych.figures import DPI, LABELS, LEGEND, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import decoded, less, told, trained
from diptych.lab.pictures import head, show
from diptych.panels import Panel
from diptych.parity.tree import to_numpy
from model_specs.key import Key
from numpy_ref import random

KEY = Key(0).fold_in("lab").fold_in("autoencoder")
FIELDS: dict[str, Any] = {"hidden_dim": 128, "latent_dim": 2}
MODELS = {"autoencoder": "deterministic", "VAE": "logvar"}
SAMPLERS = {
    "VAE, z ~ N(0, I)": ("VAE", False),
    "autoencoder, z ~ N(0, I)": ("autoencoder", False),
    "autoencoder, z ~ its codes' Gaussian": ("autoencoder", True),
}
OURS, THEIRS, FITTED = SAMPLERS
MOST = 5000  # training images that the classifier and the distances see


def run(setting: Setting) -> Findings:
    """Train both from each seed; compare reconstructions, and samples with held-out digits.

    Units: reconstruction is the squared error a pixel; distance is Euclidean, between images;
    confidence is the classifier's largest probability; all are means over images.
    Raises: ValueError for images without labels.
    """
    data = setting.data
    if data.train.y is None or data.test.y is None:
        raise ValueError(f"data: got {data.name}, takes labelled images")
    epochs, draws = (40, 200) if setting.quick else (250, 1000)
    judge = Judge(data)
    panels = {
        name: [
            trained(setting, seed, FIELDS | {"posterior": posterior}, epochs=epochs)
            for seed in setting.seeds
        ]
        for name, posterior in MODELS.items()
    }
    found: dict[str, Any] = {
        split: {name: [_error(p, x) for p in models] for name, models in panels.items()}
        for split, x in (("train", data.train.x), ("test", data.test.x))
    }
    samples = {
        name: [_drawn(p, data.train.x, draws, fitted) for p in panels[model]]
        for name, (model, fitted) in SAMPLERS.items()
    }
    judged = {name: [judge(x) for x in several] for name, several in samples.items()}
    results = {
        "epochs": epochs,
        "reconstruction": found,
        "held_out": judge(data.test.x[:1000]),
        "samples": {
            name: {what: [one[what] for one in several] for what in several[0]}
            for name, several in judged.items()
        },
        "code_std": {
            name: [float(_codes(p, data.train.x).std()) for p in models]
            for name, models in panels.items()
        },
    }
    firsts = {name: models[0] for name, models in panels.items()}
    figure = _draw(firsts, {n: several[0] for n, several in samples.items()}, data, judge)
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Each with every seed."""
    found, samples = results["reconstruction"], results["samples"]

    def better(other: str) -> bool:
        nearer = less(samples[OURS]["distance"], samples[other]["distance"])
        return nearer and less(samples[other]["confidence"], samples[OURS]["confidence"])

    return {
        "the autoencoder reconstructs training images better": less(
            found["train"]["autoencoder"], found["train"]["VAE"]
        ),
        "and held-out images too": less(found["test"]["autoencoder"], found["test"]["VAE"]),
        "the VAE's samples are better than the autoencoder's from N(0, I)": better(THEIRS),
        "and than those from a Gaussian fitted to its codes": better(FITTED),
        "fewer of the VAE's draws fall into holes": less(
            samples[OURS]["holes"], samples[FITTED]["holes"]
        ),
    }


class Judge:
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
        self.unsure = float(np.quantile(self.confidence(data.test.x), 0.05))

    def confidence(self, x: np.ndarray) -> np.ndarray:
        """The largest probability of a class.   (N, D) -> (N)"""
        return self.classifier.predict_proba(x).max(1)

    def __call__(self, x: np.ndarray) -> dict[str, float]:
        sure = self.confidence(x)
        return {
            "distance": float(cdist(x, self.images).min(1).mean()),
            "confidence": float(sure.mean()),
            "holes": float((sure < self.unsure).mean()),
        }


def _codes(panel: Panel, x: np.ndarray) -> np.ndarray:
    return to_numpy(panel.model.encode(panel.array(x)).mu)


def _error(panel: Panel, x: np.ndarray) -> float:
    """Of the means at z = mu(x), for both."""
    again = to_numpy(panel.model.reconstruct(panel.array(x)))
    return float(((again - x) ** 2).mean())


def _drawn(panel: Panel, x: np.ndarray, count: int, fitted: bool) -> np.ndarray:
    """Means of p(x|z) at draws of z from N(0, I), or from the codes' own mean and covariance."""
    z = random.normal(KEY.fold_in("z"), (count, FIELDS["latent_dim"]))
    if fitted:
        codes = _codes(panel, x).astype(np.float64)
        z = codes.mean(0) + z @ np.linalg.cholesky(np.cov(codes.T)).T
    return decoded(panel, z)


def _table(results: Mapping[str, Any]) -> Table:
    table = Table(title="mean ± standard deviation over the seeds")
    headings = (
        "nearest training image",
        "confidence",
        "in holes, %",
        "squared error a pixel, test",
    )
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    held = results["held_out"]
    scale = [f"{held['distance']:.2f}", f"{held['confidence']:.3f}", f"{100 * held['holes']:.1f}"]
    table.add_row("held-out images", *scale, "")
    for name, (model, fitted) in SAMPLERS.items():
        entry = results["samples"][name]
        holes = [100 * share for share in entry["holes"]]
        error = "" if fitted else told(results["reconstruction"]["test"][model], 4)
        told_ = (told(entry["distance"]), told(entry["confidence"], 3), told(holes, 1))
        table.add_row(name, *told_, error)
    return table


def _draw(
    panels: Mapping[str, Panel], samples: Mapping[str, np.ndarray], data: Dataset, judge: Judge
) -> Figure:
    figure = Figure((9.2, 7.4), dpi=DPI, facecolor="white", layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5, 1))[:, 0]
    for axis, (name, panel) in zip(above.subplots(1, 2), panels.items(), strict=True):
        _draw_map(axis, name, panel, data, judge)
    pictures = {"held-out images": data.test.x, **samples}
    for axis, (name, x) in zip(below.subplots(1, 4), pictures.items(), strict=True):
        shape = (-1, *data.image_shape[1:])
        show(axis, x[:36].reshape(shape), 6, name.replace(", ", "\n"))
    return figure


def _draw_map(axis: Axes, name: str, panel: Panel, data: Dataset, judge: Judge) -> None:
    """Codes of held-out images over the confidence in what is decoded there: pale is a hole."""
    codes, labels = _codes(panel, data.test.x[:1000]), data.test.y
    assert labels is not None
    style(axis, "$z_1$", "$z_2$").grid(False)
    head(axis, name)
    low, high = np.minimum(codes.min(0), -2.5), np.maximum(codes.max(0), 2.5)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 90).T), -1)
    sure = judge.confidence(decoded(panel, grid.reshape(-1, 2))).reshape(90, 90)
    extent = (low[0], high[0], low[1], high[1])
    axis.imshow(sure, "Greys_r", origin="lower", extent=extent, aspect="auto", vmin=-0.6, vmax=1.0)
    shown = np.array(LABELS)[labels[:1000]]
    axis.scatter(codes[:, 0], codes[:, 1], c=shown, s=9, linewidths=0.3, edgecolors="white")
    angle = np.linspace(0, 2 * np.pi, 100)
    axis.plot(2 * np.cos(angle), 2 * np.sin(angle), "-", color="white", lw=2.5)
    axis.plot(
        2 * np.cos(angle), 2 * np.sin(angle), "-", color="black", lw=1, label="2 std of N(0, I)"
    )
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axis.legend(loc="upper right", **LEGEND | {"frameon": True, "fontsize": 8})
