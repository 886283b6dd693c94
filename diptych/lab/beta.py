"""Experiment: sweep beta and plot reconstruction error against KL, the rate-distortion curve.

    loss_beta = R + beta K,   R = E_q[-log p(x|z)],   K = KL(q(z|x) || p(z))

R is the distortion; K is an upper bound on the rate, the information that z has about x. The claims
follow from an exchange argument for models that minimise their loss on the training images. If i
and j are two such models, each is at least as good as the other at its own beta:

    R_i + beta_i K_i <= R_j + beta_i K_j

Adding the same inequality with i and j exchanged gives (beta_i - beta_j) (K_i - K_j) <= 0: the KL
falls as beta rises, and then by the inequality R does not fall. With beta_i = 1 the inequality says
that -ELBO = R + K is smallest at beta = 1. The argument does not hold for held-out images, which
are therefore in the results but not in the claims.

Source: Higgins et al. (2017), beta-VAE; Alemi et al. (2018), "Fixing a broken ELBO", arXiv
1711.00464, where our R is D and our K is R.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diptych.display import Table
from diptych.evaluation.elbo import elbo_terms
from diptych.figures.style import DPI, INK, LEFT, LEGEND, MUTED, RIGHT, set_heading, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.models import (
    always_below,
    at_most,
    decode_means,
    dequantise,
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

KEY = Key(0).fold_in("lab").fold_in("beta")
BETAS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 16.0)
QUICK = (0.1, 1.0, 16.0)
SHOWN = (0.1, 1.0, 4.0, 16.0)
STEPS, QUICK_STEPS = 1240, 190
FIELDS: dict[str, Any] = {"hidden_dim": 128, "latent_dim": 8, "likelihood": "continuous_bernoulli"}


def run(setting: Setting) -> Findings:
    """Train a VAE for each beta and seed on dequantised images; measure R and K.

    Units: nats per image, means over the images of a split; R is that of a density, and below 0.
    Raises: ValueError for images that are not grey.
    """
    shape = image_size(setting.data)
    betas = QUICK if setting.quick else BETAS
    data = dequantise(setting.data, KEY.fold_in("u"))
    epochs = epochs_for(setting, data, QUICK_STEPS if setting.quick else STEPS)
    splits = {"train": data.train.x, "test": data.test.x}
    by_beta: dict[str, Any] = {}
    pictures = {}
    for beta in betas:
        fields = FIELDS | {"beta": beta}
        panels = [
            train_vae(setting, seed, fields, data=data, epochs=epochs) for seed in setting.seeds
        ]
        by_beta[f"{beta:g}"] = {
            name: [elbo_terms(panel, x, KEY.fold_in("eps")) for panel in panels]
            for name, x in splits.items()
        }
        if beta in SHOWN:
            pictures[beta] = _pictures(panels[0], splits["test"][:10], shape)
    results = {"betas": list(betas), "epochs": epochs, "by_beta": by_beta}
    originals = splits["test"][:10].reshape(-1, *shape)
    figure = _draw(results, originals, pictures)
    return Findings(results, _table(results), figure, truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Check the claims of the exchange argument on the training images."""
    betas = results["betas"]
    kl, recon = (_terms(results, name) for name in ("kl", "recon"))
    steps = range(len(betas) - 1)
    best_at_own_beta = all(
        at_most(recon[i] + betas[i] * kl[i], recon[j] + betas[i] * kl[j])
        for i in range(len(betas))
        for j in range(len(betas))
        if i != j
    )
    negative_elbo, index = recon + kl, betas.index(1.0)
    return {
        "KL falls as beta rises": all(at_most(kl[i + 1], kl[i]) for i in steps)
        and always_below(kl[-1], kl[0]),
        "the reconstruction error rises with beta": all(
            at_most(recon[i], recon[i + 1]) for i in steps
        )
        and always_below(recon[0], recon[-1]),
        "-ELBO is least at beta = 1": all(
            at_most(negative_elbo[index], other) for other in negative_elbo
        ),
        "each model is the best of all at its own beta": best_at_own_beta,
    }


def _terms(results: Mapping[str, Any], name: str, split: str = "train") -> np.ndarray:
    """Return a loss term as an array (betas, seeds)."""
    entries = results["by_beta"].values()
    return np.array([[terms[name] for terms in entry[split]] for entry in entries])


def _pictures(panel: Panel, x: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return reconstructions of x and samples, with the same z from the prior for each beta."""
    z = random.normal(KEY.fold_in("z"), (40, FIELDS["latent_dim"]))
    return reconstruct(panel, x).reshape(-1, *shape), decode_means(panel, z).reshape(-1, *shape)


def _table(results: Mapping[str, Any]) -> Table:
    table = Table(title="nats per image, mean ± standard deviation over the seeds")
    for heading in ("beta", "reconstruction", "KL", "-ELBO", "-ELBO, test"):
        table.add_column(heading, justify="right")
    kl, recon = (_terms(results, name) for name in ("kl", "recon"))
    test = _terms(results, "kl", "test") + _terms(results, "recon", "test")
    for i, beta in enumerate(results["betas"]):
        row = (recon[i], kl[i], recon[i] + kl[i], test[i])
        table.add_row(f"{beta:g}", *(format_mean(values) for values in row))
    return table


def _draw(
    results: Mapping[str, Any],
    originals: np.ndarray,
    pictures: Mapping[float, tuple[np.ndarray, np.ndarray]],
) -> Figure:
    figure = Figure((9.2, 4.0), dpi=DPI, facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.05))[0]
    _draw_curve(left.subplots(), results)
    axes = right.subplots(1 + len(pictures), 2, width_ratios=(1, 2))
    axes[0, 1].set_axis_off()
    show_mosaic(axes[0, 0], originals, 5, "originals")
    for (beta, rows), line in zip(pictures.items(), axes[1:], strict=True):
        for axis, images, columns in zip(line, rows, (5, 10), strict=True):
            show_mosaic(axis, images[: 2 * columns], columns)
        side = line[0].text(-0.06, 0.5, f"β = {beta:g}", ha="right", va="center", fontsize=9)
        side.set(transform=line[0].transAxes, color=INK)
    set_heading(axes[1, 0], "reconstructed", 9)
    set_heading(axes[1, 1], "samples, z from the prior", 9)
    return figure


def _draw_curve(axis: Axes, results: Mapping[str, Any]) -> None:
    kl, recon = (_terms(results, name) for name in ("kl", "recon"))
    set_heading(style(axis, "KL, nats", "reconstruction error, nats"), "training images")
    best = float((kl + recon)[results["betas"].index(1.0)].mean())
    margin = 0.08 * (float(np.ptp(recon)) or 1.0)
    low, high = recon.min() - margin, recon.max() + 2 * margin
    line, label = np.array([low, high]), f"−ELBO = {best:.1f}".replace("-", "−") + " at β = 1"
    axis.plot(best - line, line, ":", color=MUTED, lw=1.2, label=label)
    axis.plot(kl.mean(1), recon.mean(1), "-", color=RIGHT, lw=1.5, zorder=2)
    axis.plot(
        kl.ravel(), recon.ravel(), "o", color=LEFT, ms=4.5, mec=RIGHT, mew=0.6, label="one seed"
    )
    for beta, x, y in zip(results["betas"], kl.mean(1), recon.mean(1), strict=True):
        note = axis.annotate(f"β = {beta:g}", (x, y), (7, 4), textcoords="offset points")
        note.set(fontsize=8.5, color=INK)
    reach = float(kl.max()) or 1.0
    axis.set(xlim=(-0.03 * reach, 1.18 * reach), ylim=(low, high))
    axis.legend(loc="upper right", **LEGEND | {"markerscale": 1})
