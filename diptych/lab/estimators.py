"""The gradient's estimators: bias and variance of A, B and the score function, against L.

All four have one mean, the gradient of -ELBO; what they cost is variance. On the same draws

    A - B = beta d (log q(z|x) - log p(z)) - beta d KL =: D,   Var A = Var B + Var D + 2 Cov(B, D)

and D's mean is 0, so B is the better wherever Cov(B, D) >= -Var(D) / 2. That is no law. It holds

* where the decoder ignores z: B's encoder gradient has no variance at all there, and A's, that of
  D, is known: of an image's share, at beta = 1, sigma^2 in d/dmu and (sigma^2 mu^2 + 2 sigma^4)
  / 4 in d/dlogvar;
* where it nearly does (here: random weights, the last layer's at a tenth): after Cauchy and
  Schwarz, wherever sd(B) <= sd(D) / 2.

Elsewhere it is measured. Of the score function nothing is promised: its variance carries the square
of the cost itself, which a baseline takes away. Where q is the posterior the cost is the same at
every z, so that with a baseline nothing is left, and of A the score of q (Roeder, Wu & Duvenaud
2017, arXiv 1703.09194).

Source: A and B are Kingma & Welling (2013), eqs. 6 and 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from diptych.display import Table
from diptych.figures.style import DPI, INK, LEGEND, MUTED, RIGHT, style
from diptych.lab.findings import Findings, Setting
from diptych.lab.gradients import PARTS, WAYS, Moments, both, encoder_size, estimates, gradient
from diptych.lab.trained import binary, trained
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE

KEY = Key(0).fold_in("lab").fold_in("estimators")
FIELDS = {"hidden_dim": 64, "latent_dim": 8}
STEPS, BATCH = 100, 16
"""Steps of training, after which the model is a VAE but not a good one; images in the batch."""
LOOKS: dict[str, dict[str, Any]] = {
    "A": {"color": "#E69F00", "marker": "s"},
    "B": {"color": RIGHT, "marker": "o"},
    "score": {"color": "#D55E00", "marker": "v"},
    "score + baseline": {"color": "#CC79A7", "marker": "D"},
}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    samples: tuple[int, ...]
    draws: int
    """estimates of each kind, at each L"""
    reference: int
    """estimates by B, at the largest L, whose mean is the reference"""


FULL = Size(samples=(1, 2, 4, 8, 16, 32, 64), draws=400, reference=1200)
QUICK = Size(samples=(1, 4, 16), draws=60, reference=100)


def measure(model: MLPVAE, x: np.ndarray, size: Size, key: Key) -> dict[str, Any]:
    """Bias and variance of each way at each L, and the reference they are compared with."""
    encoder = encoder_size(model)
    first = next(estimates(model, "B", x, size.samples[-1], 1, key))  # a centre to count from
    long_run = Moments(first, encoder)
    for grad in estimates(model, "B", x, size.samples[-1], size.reference, key.fold_in("long")):
        long_run.add(grad)
    reference = first + long_run.total / size.reference
    ways: dict[str, Any] = {}
    for way in WAYS:
        result = []
        for L in size.samples:
            if way == "score + baseline" and L == 1:
                continue
            moments = Moments(reference, encoder)
            for grad in estimates(model, way, x, L, size.draws, key):
                moments.add(grad)
            result.append({"samples": L} | moments.summary())
        ways[way] = result
    chance = long_run.summary()
    return {
        "norm": {part: float(np.linalg.norm(reference[:n])) for part, n in long_run.ends.items()},
        "error": {part: chance[part]["bias_error"] for part in PARTS},
        "along_error": chance["along_error"],
        "ways": ways,
    }


def blind(model: MLPVAE, x: np.ndarray, size: Size, key: Key) -> dict[str, float]:
    """A and B with L = 1 on the same model, its decoder made to ignore z: variances of the gradient
    of the two heads' biases, and what theory says of A's; of B's it says 0."""
    twin = model.astype(np.float64)
    twin.decoder_logits.weight.data[...] = 0
    names = [name for name, p in twin.named_parameters() for _ in range(p.data.size)]
    heads = np.isin(names, ["posterior.mu.bias", "posterior.logvar.bias"])
    result: dict[str, float] = {}
    for way in ("A", "B"):
        rows = np.array([g[heads] for g in estimates(twin, way, x, 1, size.draws, key)])
        squares = ((rows - rows.mean(0)) ** 2).sum(1)
        result[way] = float(squares.sum() / (len(rows) - 1))
        result[f"{way}_error"] = float(squares.std(ddof=1) / math.sqrt(len(rows)))
    (mu, logvar), _ = twin.encode(x)
    var = np.exp(logvar)
    result["theory"] = float((var + (var * mu**2 + 2 * var**2) / 4).sum() / len(x) ** 2)
    return result


def shared_draws(model: MLPVAE, x: np.ndarray, size: Size, key: Key) -> dict[str, float]:
    """Traces of the encoder's covariance for A, B and D = A - B, L = 1, all on the same draws."""
    end, twins = encoder_size(model), both(model)
    moments = {name: Moments(np.zeros(end), end) for name in "ABD"}
    for i in range(size.draws):
        noise = model.draw_noise(key.fold_in(i), len(x), samples=1)
        a, b = (gradient(twins, way, x, noise)[:end] for way in ("A", "B"))
        for name, row in (("A", a), ("B", b), ("D", a - b)):
            moments[name].add(row)
    return {name: m.summary()["encoder"]["variance"] for name, m in moments.items()}


def run(setting: Setting) -> Findings:
    """Bias and variance of four estimators of one gradient, on one partly trained model a seed and
    one batch of test images, for L from 1 to 64."""
    size = QUICK if setting.quick else FULL
    x = binary(setting.data.test)[:BATCH]
    models = []
    for seed in setting.seeds:
        if setting.console is not None:
            setting.console.print(f"estimators: seed {seed}", style="dim")
        key = KEY.fold_in(seed)
        raw, model = (trained(setting.data, FIELDS, seed, steps) for steps in (0, STEPS))
        result = measure(model, x, size, key) | {"seed": seed}
        result["blind"] = blind(model, x, size, key.fold_in("blind"))
        faint = raw.astype(np.float64)
        faint.decoder_logits.weight.data *= 0.1
        result["shared"] = {
            name: shared_draws(m, x, size, key.fold_in("shared"))
            for name, m in (("faint", faint), ("random", raw), ("trained", model))
        }
        models.append(result)
    results = {"images": len(x), "samples": list(size.samples), "models": models}
    results |= {"draws": size.draws, "steps": STEPS}
    return Findings(results, _table(results), _draw(results), _truths(results))


def _truths(results: dict[str, Any]) -> dict[str, bool]:
    models = results["models"]

    def above(upper: str, lower: str) -> bool:
        """Whether upper's encoder variance is the larger at every L that both have, every seed."""
        return all(
            _at(m["ways"][upper], L) > _at(m["ways"][lower], L)
            for m in models
            for L in results["samples"]
            if L > 1 or "score + baseline" not in (upper, lower)
        )

    factors = {}
    for way in ("score", "score + baseline"):
        times = [
            result["encoder"]["variance"] / _at(m["ways"]["B"], result["samples"])
            for m in models
            for result in m["ways"][way]
        ]
        factors[way] = f"{_short(min(times))} to {_short(max(times))}"
    return {
        "every mean is the reference, within 4 standard errors": all(
            _unbiased(result, m) for m in models for way in LOOKS for result in m["ways"][way]
        ),
        "where the decoder ignores z, B's encoder gradient has no variance": all(
            m["blind"]["B"] <= 1e-20 * m["blind"]["A"] for m in models
        ),
        "where it ignores z, A's is the closed form, within 4 standard errors": all(
            abs(m["blind"]["A"] - m["blind"]["theory"]) <= 4 * m["blind"]["A_error"] for m in models
        ),
        "where it nearly ignores z, sd(B) <= sd(A - B) / 2, and so B's variance is below A's": all(
            4 * m["shared"]["faint"]["B"] <= m["shared"]["faint"]["D"]
            and m["shared"]["faint"]["B"] < m["shared"]["faint"]["A"]
            for m in models
        ),
        f"the score function's variance is above B's at every L, {factors['score']} times": above(
            "score", "B"
        ),
        f"the baseline lowers it at every L, to {factors['score + baseline']} times B's": above(
            "score", "score + baseline"
        ),
        "the variance of A, of B and of the score function falls as 1/L": all(
            _falls_as_one_over_l(m["ways"][way]) for m in models for way in ("A", "B", "score")
        ),
    }


def _at(result: list[dict[str, Any]], L: int) -> float:
    return next(f["encoder"]["variance"] for f in result if f["samples"] == L)


def _unbiased(result: dict[str, Any], model: dict[str, Any]) -> bool:
    """By the norm, and by the share along the gradient, which sees a wrong factor much sooner."""
    errors = [math.hypot(result[part]["bias_error"], model["error"][part]) for part in PARTS]
    along = math.hypot(result["along_error"], model["along_error"])
    near = all(result[p]["bias"] <= 4 * e for p, e in zip(PARTS, errors, strict=True))
    return near and abs(result["along"]) <= 4 * along


def _falls_as_one_over_l(result: list[dict[str, Any]]) -> bool:
    """Whether log variance against log L has slope -1, within 4 standard errors."""
    encoder = [f["encoder"] for f in result]
    if min(e["variance"] for e in encoder) <= 0:
        return False
    x = np.log([f["samples"] for f in result])
    y = np.log([e["variance"] for e in encoder])
    error = np.array([e["variance_error"] / e["variance"] for e in encoder])
    lever = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return abs(lever @ y + 1) <= 4 * math.sqrt(lever**2 @ error**2)


def _table(results: dict[str, Any]) -> Table:
    models = results["models"]
    message = f"{results['images']} images, {results['draws']} estimates, seeds: {len(models)}"
    title = f"trace of the covariance of the encoder's gradient, times L; {message}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("L", justify="right")
    for way in LOOKS:
        table.add_column(way, justify="right")
    for way in ("score", "score + baseline"):
        table.add_column(f"{way} / B", justify="right")
    for L in results["samples"]:
        values = {
            way: [_at(m["ways"][way], L) for m in models if L > 1 or way != "score + baseline"]
            for way in LOOKS
        }
        cells = [_range([L * v for v in values[way]]) for way in LOOKS]
        for way in ("score", "score + baseline"):
            cells.append(_range([v / b for v, b in zip(values[way], values["B"], strict=False)]))
        table.add_row(str(L), *cells)
    factors = {
        name: _range([m["shared"][name]["A"] / m["shared"][name]["B"] for m in models])
        for name in ("random", "trained")
    }
    message = f"random weights {factors['random']}, after {results['steps']} steps"
    table.caption = f"A / B on the same draws, L = 1: {message} {factors['trained']}"
    return table


def _range(values: list[float]) -> str:
    """The mean and, of several, the smallest and the largest; of none a dash."""
    if not values:
        return "–"
    mean = _short(float(np.mean(values)))
    return f"{mean} ({_short(min(values))}–{_short(max(values))})" if len(values) > 1 else mean


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _draw(results: dict[str, Any]) -> Figure:
    """Left, variance against L: means of the seeds and their range. Right, the first seed's bias,
    and as a line what chance alone makes of it."""
    models = results["models"]
    figure = Figure((9.2, 4.2), dpi=DPI, facecolor="white", layout="constrained")
    variance_axis, off = figure.subplots(1, 2)
    _title(
        style(variance_axis, "L, draws of z an image", "tr Cov"),
        "variance of the encoder's gradient",
    )
    title = f"how far the mean lies off, seed {models[0]['seed']}"
    _title(style(off, "L, draws of z an image", "‖mean − reference‖ / ‖reference‖"), title)
    first, size = models[0], models[0]["norm"]["encoder"]
    for way, look in LOOKS.items():
        L = np.array([f["samples"] for f in first["ways"][way]])
        seeds = np.array([[f["encoder"]["variance"] for f in m["ways"][way]] for m in models])
        variance_axis.fill_between(
            L, seeds.min(0), seeds.max(0), color=look["color"], alpha=0.25, lw=0
        )
        variance_axis.plot(
            L, seeds.mean(0), "-", ms=5, lw=1.4, mec="white", mew=0.6, label=way, **look
        )
        bias = [f["encoder"]["bias"] / size for f in first["ways"][way]]
        errors = [f["encoder"]["bias_error"] for f in first["ways"][way]]
        off.plot(L, np.hypot(errors, first["error"]["encoder"]) / size, lw=1.2, color=look["color"])
        off.plot(L, bias, look["marker"], color=look["color"], ms=5.5, mec="white", mew=0.6)
    off.plot([], [], "o", color=MUTED, ms=5, label="as found")
    off.plot([], [], "-", color=MUTED, lw=1.2, label="expected of an unbiased one")
    guide = np.array(results["samples"])
    top = np.mean([_at(m["ways"]["B"], results["samples"][0]) for m in models])
    variance_axis.plot(guide, 0.4 * top / guide, ":", color=MUTED, lw=1.2, label="slope of 1/L")
    for axis in (variance_axis, off):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator())
        axis.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(
        *variance_axis.get_legend_handles_labels(), loc="outside lower center", ncols=5, **LEGEND
    )
    off.legend(loc="lower left", **LEGEND)
    return figure


def _title(axis: Any, text: str) -> None:
    axis.set_title(text, loc="left", fontsize=10, fontweight="bold", color=INK)
