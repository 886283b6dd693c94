"""Experiment: ELBO <= IWAE_K <= log p(x), on a model small enough to integrate log p(x).

    IWAE_K = E[log 1/K sum_k w_k],   w = p(x, z) / q(z|x),   z_k ~ q(z|x)

IWAE_1 is the ELBO, which is KL(q(z|x) || p(z|x)) below log p(x). IWAE_K does not decrease with K
and converges to log p(x). With two latent dimensions log p(x) is an integral over a plane, which a
grid computes to ten digits.

Source: Burda, Grosse & Salakhutdinov (2015), arXiv 1509.00519, theorem 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import special

from diptych.display import Table
from diptych.figures.style import DPI, INK, LEFT, LEGEND, MUTED, RIGHT, TERMS, set_heading, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.integral import KEY, integrate_adaptively, integrate_out
from diptych.lab.models import image_size
from diptych.lab.numpy_models import binarise, train_numpy_vae
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE

FIELDS = {"hidden_dim": 64, "latent_dim": 2, "activation": "tanh"}
"""tanh, as in Kingma & Welling: for a smooth integrand the trapezoid rule converges faster than any
power of its step."""
KS = tuple(2**i for i in range(13))


@dataclass(frozen=True)
class Size:
    """The size of the experiment."""

    steps: int
    images: int
    repeats: int
    """independent sets of KS[-1] samples for each image"""
    fineness: float
    """of the grid: points per smallest standard deviation of q"""
    checked: int
    """images for which scipy's adaptive integration is the check"""


FULL = Size(steps=1000, images=64, repeats=16, fineness=4, checked=2)
QUICK = Size(steps=300, images=8, repeats=4, fineness=3, checked=1)


def log_weights(model: MLPVAE, x: np.ndarray, key: Key, repeats: int) -> np.ndarray:
    """Return log w of `repeats` sets of samples.   -> (N, repeats, KS[-1])"""
    log_w = np.empty((len(x), repeats, KS[-1]))
    for repeat in range(repeats):
        for i in range(len(x)):  # one image at a time fits the CPU cache
            noise = model.draw_noise(key.fold_in(repeat), 1, samples=KS[-1], first=i)
            log_w[i, repeat] = model.log_weight(x[i : i + 1], noise)[0]
    return log_w


def log_mean_exp(values: np.ndarray) -> np.ndarray:
    """Return log (1/K) sum_k exp(values_k) over the last axis."""
    return special.logsumexp(values, axis=-1) - math.log(values.shape[-1])


def bounds(log_w: np.ndarray, log_p: np.ndarray) -> list[dict[str, float]]:
    """Estimate IWAE_K and its gap for each K, as means over images.

    Every sample is used once, so a set of 4096 gives 4096 / K estimates of IWAE_K. The weights of
    two neighbouring estimates are averaged at the next K, and the logarithm is concave, so the
    estimates themselves rise with K, not only their expectations.

    For large K the gap is smaller than the noise of log r, with r = 1/K sum_k w_k / p(x). Therefore
    r - 1, whose expectation is 0, is used as a control variate:

        gap_K = log p(x) - IWAE_K = E[r - 1 - log r],   and r - 1 - log r >= 0

    Units: nats. standard_error and gap_error are standard errors of the means; spread is the
    standard deviation of one estimate from K samples.
    """
    rows = []
    for K in KS:
        blocks = log_mean_exp(log_w.reshape(len(log_w), -1, K))
        log_r = blocks - log_p[:, None]
        gaps = np.expm1(log_r) - log_r
        error = math.sqrt(blocks.var(1, ddof=1).mean() / blocks.size)
        rows.append(
            {
                "bound": float(blocks.mean()),
                "standard_error": error,
                "spread": error * math.sqrt(blocks.shape[1]),
                "gap": float(gaps.mean()),
                "gap_error": math.sqrt(gaps.var(1, ddof=1).mean() / gaps.size),
            }
        )
    return rows


def run(setting: Setting) -> Findings:
    """Train a model for each seed; estimate IWAE_K for K = 1 ... 4096 and integrate log p(x).

    Raises: ValueError for images in colour.
    """
    image_size(setting.data)
    size = QUICK if setting.quick else FULL
    x = binarise(setting.data.test)[: size.images]
    models = []
    for seed in setting.seeds:
        if setting.console is not None:
            setting.console.print(f"bound: seed {seed}", style="dim")
        models.append(_measure(setting, seed, size, x))
    results = {"images": len(x), "samples": list(KS), "repeats": size.repeats, "models": models}
    return Findings(results, _table(results), _draw(results), _truths(results))


def _measure(setting: Setting, seed: int, size: Size, x: np.ndarray) -> dict[str, Any]:
    model = train_numpy_vae(setting.data, FIELDS, seed, size.steps)
    exact = integrate_out(model, x, size.fineness)
    log_w = log_weights(model, x, KEY.fold_in(seed), size.repeats)
    ratio = np.exp(log_w - exact.log_p[:, None, None])  # w / p(x)
    result: dict[str, Any] = {
        "seed": seed,
        "log_p": float(exact.log_p.mean()),
        "kl": float(exact.kl.mean()),
        "refined": float(exact.error.max()),
        "mean_ratio": float(ratio.mean()),
        "mean_ratio_error": math.sqrt(ratio.var((1, 2)).mean() / ratio.size),
        "bounds": bounds(log_w, exact.log_p),
    }
    if seed == setting.seeds[0]:
        other = [integrate_adaptively(model, x[i : i + 1]) for i in range(size.checked)]
        result["dblquad"] = float(np.abs(exact.log_p[: size.checked] - other).max(initial=0))
    return result


def _truths(results: dict[str, Any]) -> dict[str, bool]:
    models = results["models"]
    rest = max(m["bounds"][-1]["gap"] / m["kl"] for m in models)
    return {
        "log p(x) is exact to 1e-6 nats, by a coarser grid and by scipy's dblquad": all(
            max(m["refined"], m.get("dblquad", 0)) <= 1e-6 for m in models
        ),
        "IWAE_K <= log p(x) for every K, within 4 standard errors": all(
            b["bound"] - m["log_p"] <= 4 * b["standard_error"] for m in models for b in m["bounds"]
        ),
        "IWAE_K rises with K": all(
            (np.diff([b["bound"] for b in m["bounds"]]) >= 0).all() for m in models
        ),
        "the weights' mean is p(x), within 4 standard errors": all(
            abs(m["mean_ratio"] - 1) <= 4 * m["mean_ratio_error"] for m in models
        ),
        "the ELBO's gap is KL(q ‖ posterior), within 4 standard errors": all(
            abs(m["log_p"] - m["kl"] - m["bounds"][0]["bound"])
            <= 4 * m["bounds"][0]["standard_error"]
            for m in models
        ),
        f"at K = {KS[-1]} less than 5 % of that gap is left": rest < 0.05,
    }


def _table(results: dict[str, Any]) -> Table:
    models = results["models"]
    subtitle = f"nats, mean over {results['images']} test images"
    table = Table(title=f"ELBO <= IWAE_K <= log p(x): {subtitle}", title_justify="left")
    table.add_column("K", justify="right")
    for m in models:
        table.add_column(f"seed {m['seed']}", justify="right")
        table.add_column("gap", justify="right")
    for i, K in enumerate(KS):
        cells = []
        for b in (m["bounds"][i] for m in models):
            cells += [f"{b['bound']:.4f}", f"{b['gap']:.5f} ± {b['gap_error']:.5f}"]
        table.add_row(str(K), *cells, end_section=i == len(KS) - 1)
    exact = [f"{m[name]:.{digits}f}" for m in models for name, digits in (("log_p", 4), ("kl", 5))]
    table.add_row("log p, KL", *exact)
    return table


def _draw(results: dict[str, Any]) -> Figure:
    """Plot, left, IWAE_K and log p(x) of one seed; right, the gaps of all seeds."""
    models, K = results["models"], np.array(results["samples"])
    figure = Figure((9.2, 4.0), dpi=DPI, facecolor="white", layout="constrained")
    bound_axis, gap_axis = figure.subplots(1, 2)
    first = models[0]
    bound, std = (np.array([b[name] for b in first["bounds"]]) for name in ("bound", "spread"))
    set_heading(
        style(bound_axis, "K, samples per image", "nats"), f"the bound, seed {first['seed']}"
    )
    bound_axis.axhline(first["log_p"], color=LEFT, lw=3, label="log p(x), by quadrature")
    bound_axis.fill_between(K, bound - std, bound + std, color=RIGHT, alpha=0.18, lw=0)
    bound_axis.plot(
        K, bound, "o-", color=RIGHT, ms=4, lw=1.2, label="IWAE$_K$ ± std of one estimate"
    )
    bound_axis.axhline(bound[0], color=MUTED, lw=1.2, ls=":", label="ELBO = IWAE$_1$")
    bound_axis.set_xscale("log", base=2)
    bound_axis.legend(loc="lower right", **LEGEND | {"markerscale": 1})
    set_heading(style(gap_axis, "K, samples per image", "nats"), "log p(x) − IWAE$_K$")
    for m, (mark, color) in zip(models, cycle(TERMS.items())):
        gap, error = (np.array([b[name] for b in m["bounds"]]) for name in ("gap", "gap_error"))
        gap_axis.errorbar(K, gap, error, fmt=f"{mark}-", color=color, ms=4, lw=1.2)
        gap_axis.lines[-1].set_label(f"seed {m['seed']}")
    kls = [m["kl"] for m in models]
    gap_axis.plot([1] * len(kls), kls, "_", color=INK, ms=22, mew=1.6, label="KL(q ‖ posterior)")
    gap_axis.set_xscale("log", base=2)
    gap_axis.set_yscale("log")
    gap_axis.yaxis.set_major_locator(LogLocator())
    gap_axis.yaxis.set_minor_formatter(NullFormatter())
    gap_axis.legend(loc="lower left", **LEGEND | {"markerscale": 1})
    return figure
