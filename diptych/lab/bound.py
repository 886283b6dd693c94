"""The bound: ELBO <= IWAE_K <= log p(x), on a model small enough to integrate.

    IWAE_K = E[log 1/K sum_k w_k],   w = p(x, z) / q(z|x),   z_k ~ q(z|x)

IWAE_1 is the ELBO, which lies KL(q(z|x) || p(z|x)) below log p(x); no K is looser than a smaller
one, and as K grows the bound tends to log p(x). With two latent dimensions log p(x) needs no bound:
it is an integral over a plane, and a grid has it to ten digits.

Source: Burda, Grosse & Salakhutdinov (2015), arXiv 1509.00519, theorem 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import integrate, special, stats

from diptych.display import Table
from diptych.figures.style import DPI, INK, LEFT, LEGEND, MUTED, RIGHT, TERMS, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.trained import binary, trained
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE
from numpy_ref.probability.distributions import bernoulli_nll

KEY = Key(0).fold_in("lab").fold_in("bound")
FIELDS = {"hidden_dim": 64, "latent_dim": 2, "activation": "tanh"}
"""tanh, as in Kingma & Welling: the integrand is then smooth, and a trapezoid rule over the plane
converges faster than any power of its step."""
KS = tuple(2**i for i in range(13))
SPARE = 25.0
"""Nats: what lies outside of the grid is at most e^-25 of p(x)."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    steps: int
    images: int
    repeats: int
    """independent sets of KS[-1] draws an image"""
    fineness: float
    """of the grid: steps in the smallest std of q"""
    checked: int
    """images that scipy's adaptive rule integrates as well"""


FULL = Size(steps=1000, images=64, repeats=16, fineness=4, checked=2)
QUICK = Size(steps=300, images=8, repeats=4, fineness=3, checked=1)


@dataclass(frozen=True)
class Exact:
    """Integrals over z of each image, nats.   (N,) each"""

    log_p: np.ndarray
    kl: np.ndarray
    """KL(q(z|x) || p(z|x)), the encoder's own gap"""
    error: np.ndarray
    """by how much log p changes where every second point is left out, in each direction"""


def integrate_out(model: MLPVAE, x: np.ndarray, fineness: float) -> Exact:
    """log p(x) = log of the integral of p(x|z) p(z) over z, by a product trapezoid rule.

    The square [-W, W]^2 is wide enough for certain: p(x|z) <= 1, so what lies outside is at most
    P(|z_1| > W or |z_2| > W) <= exp(-W^2 / 2), and W is chosen such that this is below e^-SPARE
    p(x), p(x) being at least exp(ELBO). Of it, only the box is taken where at some point of a
    coarse grid one image's p(x, z) is above e^-45 of its largest; nothing is left at its edge, and
    the rule does without its halves there. Steps are 1 / fineness of the smallest std of q.
    """
    log_w = model.log_weight(x, model.draw_noise(KEY.fold_in("width"), len(x), samples=64))
    width = math.sqrt(2 * (SPARE - log_w.mean(1).min()))
    coarse = np.linspace(-width, width, 1 + 2 * math.ceil(5 * width))
    rows = [_log_joint(model, x, _points(z1, coarse)) for z1 in coarse]
    heights = np.stack(rows, 1)  # (N, z_1, z_2)
    counts = (heights > heights.max((1, 2), keepdims=True) - 45).any(0)
    (mu, logvar), _ = model.encode(x)
    std = np.exp(0.5 * logvar)
    step, margin = std.min() / fineness, coarse[1] - coarse[0]
    axes = []
    for other in (1, 0):
        (inside,) = np.nonzero(counts.any(other))
        low, high = coarse[inside[0]] - margin, coarse[inside[-1]] + margin
        # an odd number: every second point is a grid again
        axes.append(np.linspace(low, high, 1 + 2 * math.ceil((high - low) / step / 2)))
    log_cell = sum(math.log(axis[1] - axis[0]) for axis in axes)

    fine, halved, gap = np.empty((3, len(x), len(axes[0])))  # integrals over z_2 for each z_1
    for i, z1 in enumerate(axes[0]):
        z = _points(z1, axes[1])
        log_joint = _log_joint(model, x, z)
        log_q = stats.norm.logpdf(z, mu[:, None], std[:, None]).sum(-1)
        fine[:, i] = special.logsumexp(log_joint, axis=1)
        halved[:, i] = special.logsumexp(log_joint[:, ::2], axis=1)
        gap[:, i] = (np.exp(log_q) * (log_q - log_joint)).sum(1)
    log_p = special.logsumexp(fine, axis=1) + log_cell
    fewer = special.logsumexp(halved[:, ::2], axis=1) + log_cell + 2 * math.log(2)
    return Exact(log_p, gap.sum(1) * math.exp(log_cell) + log_p, np.abs(fewer - log_p))


def _points(z1: float, axis: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(z1, axis), -1)


def _log_joint(model: MLPVAE, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log p(x, z) of every image at every point.   x (N, D), z (M, 2) -> (N, M)"""
    logits, _ = model.decode(z)
    blank, _ = bernoulli_nll(logits, np.zeros_like(logits))
    # of log p(x|z), only the inner product is about x
    return x @ logits.T - blank + stats.norm.logpdf(z).sum(-1)


def adaptively(model: MLPVAE, x: np.ndarray) -> float:
    """log p(x) of one image by scipy's dblquad, which shares neither rule nor grid.   x (1, D)"""
    (mu, _), _ = model.encode(x)

    def log_joint(z: np.ndarray) -> float:
        nll, _ = model.likelihood.nll(model.decode(z.reshape(1, 1, 2))[0], x)
        return -0.5 * (z @ z) - math.log(2 * math.pi) - nll.item()

    top = log_joint(mu[0])

    def joint(z2: float, z1: float) -> float:
        return math.exp(log_joint(np.array([z1, z2])) - top)

    # where the integrand is not below e^-40 of its value at mu, as rays from there find
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    radii = np.linspace(0, 12, 240)
    rays = mu[0] + radii[:, None, None] * np.stack((np.cos(angles), np.sin(angles)), -1)
    nll, _ = model.likelihood.nll(model.decode(rays.reshape(1, -1, 2))[0], x)
    heights = stats.norm.logpdf(rays).sum(-1) - nll.reshape(rays.shape[:2])
    inside = rays[heights > top - 40]
    (a, c), (b, d) = inside.min(0) - 0.1, inside.max(0) + 0.1
    area, _ = integrate.dblquad(joint, a, b, c, d, epsabs=1e-7, epsrel=1e-7)
    return math.log(area) + top


def log_weights(model: MLPVAE, x: np.ndarray, key: Key, repeats: int) -> np.ndarray:
    """log w of `repeats` sets of draws.   -> (N, repeats, KS[-1])"""
    result = np.empty((len(x), repeats, KS[-1]))
    for repeat in range(repeats):
        for i in range(len(x)):  # one image at a time stays in the cache
            noise = model.draw_noise(key.fold_in(repeat), 1, samples=KS[-1], first=i)
            result[i, repeat] = model.log_weight(x[i : i + 1], noise)[0]
    return result


def log_mean_exp(values: np.ndarray) -> np.ndarray:
    """log (1/K) sum_k exp(values_k) over the last axis."""
    return special.logsumexp(values, axis=-1) - math.log(values.shape[-1])


def bounds(log_w: np.ndarray, log_p: np.ndarray) -> list[dict[str, float]]:
    """IWAE_K for each K, means over images; every draw is used once, so 4096 / K times a set.

    The means of neighbouring halves are what the next K averages, and the logarithm is concave: so
    these very estimates rise with K, and not their expectations alone.

    For large K the gap drowns in the noise of log r, r = 1/K sum_k w_k / p(x). But log r is almost
    r - 1, whose expectation is known, 0: a control variate. What is left has no negative term:

        gap_K = log p(x) - IWAE_K = E[r - 1 - log r]

    Units: nats. standard_error, gap_error: of the means; spread: the standard deviation of one
    estimate from K draws an image.
    """
    result = []
    for K in KS:
        blocks = log_mean_exp(log_w.reshape(len(log_w), -1, K))
        log_r = blocks - log_p[:, None]
        gaps = np.expm1(log_r) - log_r
        error = math.sqrt(blocks.var(1, ddof=1).mean() / blocks.size)
        result.append(
            {
                "bound": float(blocks.mean()),
                "standard_error": error,
                "spread": error * math.sqrt(blocks.shape[1]),
                "gap": float(gaps.mean()),
                "gap_error": math.sqrt(gaps.var(1, ddof=1).mean() / gaps.size),
            }
        )
    return result


def run(setting: Setting) -> Findings:
    """The bounds of test images for K = 1, 2, 4 ... 4096 on a model a seed, and log p(x) itself."""
    size = QUICK if setting.quick else FULL
    x = binary(setting.data.test)[: size.images]
    models = []
    for seed in setting.seeds:
        if setting.console is not None:
            setting.console.print(f"bound: seed {seed}", style="dim")
        models.append(_one_model(setting, seed, size, x))
    results = {"images": len(x), "samples": list(KS), "repeats": size.repeats, "models": models}
    return Findings(results, _table(results), _draw(results), _truths(results))


def _one_model(setting: Setting, seed: int, size: Size, x: np.ndarray) -> dict[str, Any]:
    model = trained(setting.data, FIELDS, seed, size.steps)
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
        other = [adaptively(model, x[i : i + 1]) for i in range(size.checked)]
        result["dblquad"] = float(np.abs(exact.log_p[: size.checked] - other).max(initial=0))
    return result


def _truths(results: dict[str, Any]) -> dict[str, bool]:
    models = results["models"]
    left = {m["seed"]: m["bounds"][-1]["gap"] / m["kl"] for m in models}
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
        f"at K = {KS[-1]} less than 5 % of that gap is left": max(left.values()) < 0.05,
    }


def _table(results: dict[str, Any]) -> Table:
    models = results["models"]
    message = f"{results['images']} test images, nats, mean over them"
    table = Table(title=f"ELBO <= IWAE_K <= log p(x): {message}", title_justify="left")
    table.add_column("K", justify="right")
    for m in models:
        table.add_column(f"seed {m['seed']}", justify="right")
        table.add_column("its gap", justify="right")
    for i, K in enumerate(KS):
        cells = []
        for b in (m["bounds"][i] for m in models):
            cells += [f"{b['bound']:.4f}", f"{b['gap']:.5f} ± {b['gap_error']:.5f}"]
        table.add_row(str(K), *cells, end_section=i == len(KS) - 1)
    exact = [f"{m[name]:.{digits}f}" for m in models for name, digits in (("log_p", 4), ("kl", 5))]
    table.add_row("log p, KL", *exact)
    return table


def _draw(results: dict[str, Any]) -> Figure:
    """Left, one seed's bounds under its log p(x); right, every seed's gap, logarithmic."""
    models, K = results["models"], np.array(results["samples"])
    figure = Figure((9.2, 4.0), dpi=DPI, facecolor="white", layout="constrained")
    rising, closing = figure.subplots(1, 2)
    first = models[0]
    bound, std = (np.array([b[name] for b in first["bounds"]]) for name in ("bound", "spread"))
    _title(style(rising, "K, draws an image", "nats"), f"the bound, seed {first['seed']}")
    rising.axhline(first["log_p"], color=LEFT, lw=3, label="log p(x), by quadrature")
    rising.fill_between(K, bound - std, bound + std, color=RIGHT, alpha=0.18, lw=0)
    rising.plot(K, bound, "o-", color=RIGHT, ms=4, lw=1.2, label="IWAE$_K$ ± std of one estimate")
    rising.axhline(bound[0], color=MUTED, lw=1.2, ls=":", label="ELBO = IWAE$_1$")
    rising.set_xscale("log", base=2)
    rising.legend(loc="lower right", **LEGEND | {"markerscale": 1})
    _title(style(closing, "K, draws an image", "nats"), "log p(x) − IWAE$_K$")
    for m, (mark, color) in zip(models, TERMS.items(), strict=False):
        gap, error = (np.array([b[name] for b in m["bounds"]]) for name in ("gap", "gap_error"))
        closing.errorbar(K, gap, error, fmt=f"{mark}-", color=color, ms=4, lw=1.2)
        closing.lines[-1].set_label(f"seed {m['seed']}")
    kls = [m["kl"] for m in models]
    closing.plot([1] * len(kls), kls, "_", color=INK, ms=22, mew=1.6, label="KL(q ‖ posterior)")
    closing.set_xscale("log", base=2)
    closing.set_yscale("log")
    closing.yaxis.set_major_locator(LogLocator())
    closing.yaxis.set_minor_formatter(NullFormatter())
    closing.legend(loc="lower left", **LEGEND | {"markerscale": 1})
    return figure


def _title(axis: Any, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=10, fontweight="bold", color=INK)
