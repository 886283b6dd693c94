"""Experiment: bias and variance of four gradient estimators of the ELBO, against L samples of z.

The estimators are A (sampled KL), B (analytic KL), the score function, and the score function with
a baseline. All have the same mean, the gradient of -ELBO, and differ in their variance. With the
same samples

    A - B = beta d (log q(z|x) - log p(z)) - beta d KL =: D,   Var A = Var B + Var D + 2 Cov(B, D)

and E[D] = 0, so B has the smaller variance if and only if Cov(B, D) > -Var(D) / 2. This is not
always so. It holds

* if the decoder ignores z. Then B's encoder gradient has no variance, and A's is that of D. At
  beta = 1 an image contributes sigma^2 in d/dmu and (sigma^2 mu^2 + 2 sigma^4) / 4 in d/dlogvar;
* if the decoder nearly ignores z (here: random weights, with the last layer scaled by 1/10). By the
  Cauchy-Schwarz inequality it holds if sd(B) <= sd(D) / 2.

For other models it is measured. The variance of the score function contains the square of the cost,
which a baseline reduces. If q equals the posterior, the cost is constant in z: the score function
with a baseline then has no variance, and A has that of the score of q (Roeder, Wu & Duvenaud 2017,
arXiv 1703.09194).

Source: A and B are Kingma & Welling (2013), eqs. 6 and 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.lab.estimators_report import draw, encoder_variance, format_number, table
from diptych.lab.findings import Findings, Setting
from diptych.lab.gradients import (
    ESTIMATORS,
    PARTS,
    Moments,
    both_estimators,
    encoder_size,
    estimates,
    gradient,
)
from diptych.lab.models import image_size
from diptych.lab.numpy_models import binarise, train_numpy_vae
from model_specs.common.key import Key
from numpy_ref.mlp_vae import MLPVAE

KEY = Key(0).fold_in("lab").fold_in("estimators")
FIELDS = {"hidden_dim": 64, "latent_dim": 8}
STEPS, BATCH = 100, 16
"""Training steps, after which the model is only partly trained; images in the batch."""


@dataclass(frozen=True)
class Size:
    """The size of the experiment."""

    samples: tuple[int, ...]
    draws: int
    """estimates by each estimator, at each L"""
    reference: int
    """estimates by B at the largest L, whose mean is the reference gradient"""


FULL = Size(samples=(1, 2, 4, 8, 16, 32, 64), draws=400, reference=1200)
QUICK = Size(samples=(1, 4, 16), draws=60, reference=100)


def measure(model: MLPVAE, x: np.ndarray, size: Size, key: Key) -> dict[str, Any]:
    """Measure bias and variance of each estimator at each L, relative to a long run of B."""
    encoder = encoder_size(model)
    first = next(estimates(model, "B", x, size.samples[-1], 1, key))  # avoids cancellation
    long_run = Moments(first, encoder)
    for grad in estimates(model, "B", x, size.samples[-1], size.reference, key.fold_in("long")):
        long_run.add(grad)
    reference = first + long_run.total / size.reference
    estimators: dict[str, Any] = {}
    for estimator in ESTIMATORS:
        rows = []
        for L in size.samples:
            if estimator == "score + baseline" and L == 1:
                continue
            moments = Moments(reference, encoder)
            for grad in estimates(model, estimator, x, L, size.draws, key):
                moments.add(grad)
            rows.append({"samples": L} | moments.summary())
        estimators[estimator] = rows
    summary = long_run.summary()
    return {
        "norm": {part: float(np.linalg.norm(reference[:n])) for part, n in long_run.ends.items()},
        "error": {part: summary[part]["bias_error"] for part in PARTS},
        "along_error": summary["along_error"],
        "estimators": estimators,
    }


def variances_without_decoder(
    model: MLPVAE, x: np.ndarray, size: Size, key: Key
) -> dict[str, float]:
    """Measure the variances of A and B, with L = 1, for a decoder that ignores z.

    They are those of the gradients of the biases of mu and logvar. "theory" is the closed form of
    A's; B's is 0.
    """
    twin = model.astype(np.float64)
    twin.decoder_logits.weight.data[...] = 0
    names = [name for name, p in twin.named_parameters() for _ in range(p.data.size)]
    heads = np.isin(names, ["posterior.mu.bias", "posterior.logvar.bias"])
    variances: dict[str, float] = {}
    for estimator in ("A", "B"):
        rows = np.array([g[heads] for g in estimates(twin, estimator, x, 1, size.draws, key)])
        squares = ((rows - rows.mean(0)) ** 2).sum(1)
        variances[estimator] = float(squares.sum() / (len(rows) - 1))
        variances[f"{estimator}_error"] = float(squares.std(ddof=1) / math.sqrt(len(rows)))
    (mu, logvar), _ = twin.encode(x)
    var = np.exp(logvar)
    variances["theory"] = float((var + (var * mu**2 + 2 * var**2) / 4).sum() / len(x) ** 2)
    return variances


def shared_draws(model: MLPVAE, x: np.ndarray, size: Size, key: Key) -> dict[str, float]:
    """Measure the encoder's variances of A, B and D = A - B, L = 1, on the same samples."""
    end, models = encoder_size(model), both_estimators(model)
    moments = {name: Moments(np.zeros(end), end) for name in "ABD"}
    for i in range(size.draws):
        noise = model.draw_noise(key.fold_in(i), len(x), samples=1)
        a, b = (gradient(models, estimator, x, noise)[:end] for estimator in ("A", "B"))
        for name, row in (("A", a), ("B", b), ("D", a - b)):
            moments[name].add(row)
    return {name: m.summary()["encoder"]["variance"] for name, m in moments.items()}


def run(setting: Setting) -> Findings:
    """Measure bias and variance of the four estimators for L from 1 to 64.

    There is one partly trained model for each seed, and one batch of test images.
    Raises: ValueError for images in colour.
    """
    image_size(setting.data)
    size = QUICK if setting.quick else FULL
    x = binarise(setting.data.test)[:BATCH]
    models = []
    for seed in setting.seeds:
        if setting.console is not None:
            setting.console.print(f"estimators: seed {seed}", style="dim")
        key = KEY.fold_in(seed)
        initial, model = (
            train_numpy_vae(setting.data, FIELDS, seed, steps) for steps in (0, STEPS)
        )
        result = measure(model, x, size, key) | {"seed": seed}
        result["blind"] = variances_without_decoder(model, x, size, key.fold_in("blind"))
        faint = initial.astype(np.float64)
        faint.decoder_logits.weight.data *= 0.1
        result["shared"] = {
            name: shared_draws(m, x, size, key.fold_in("shared"))
            for name, m in (("faint", faint), ("random", initial), ("trained", model))
        }
        models.append(result)
    results = {"images": len(x), "samples": list(size.samples), "models": models}
    results |= {"draws": size.draws, "steps": STEPS}
    return Findings(results, table(results), draw(results), _truths(results))


def _truths(results: dict[str, Any]) -> dict[str, bool]:
    models = results["models"]

    def above(upper: str, lower: str) -> bool:
        """True if `upper` has the larger encoder variance at every common L, for every seed."""
        return all(
            encoder_variance(m["estimators"][upper], L)
            > encoder_variance(m["estimators"][lower], L)
            for m in models
            for L in results["samples"]
            if L > 1 or "score + baseline" not in (upper, lower)
        )

    factors = {}
    for estimator in ("score", "score + baseline"):
        times = [
            result["encoder"]["variance"]
            / encoder_variance(m["estimators"]["B"], result["samples"])
            for m in models
            for result in m["estimators"][estimator]
        ]
        factors[estimator] = f"{format_number(min(times))} to {format_number(max(times))}"
    return {
        "every mean is the reference, within 4 standard errors": all(
            _unbiased(result, m)
            for m in models
            for estimator in ESTIMATORS
            for result in m["estimators"][estimator]
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
            _falls_as_one_over_l(m["estimators"][estimator])
            for m in models
            for estimator in ("A", "B", "score")
        ),
    }


def _unbiased(result: dict[str, Any], model: dict[str, Any]) -> bool:
    """True if the bias is within 4 standard errors, in its norm and along the gradient.

    The component along the gradient is more sensitive to a wrong factor.
    """
    errors = [math.hypot(result[part]["bias_error"], model["error"][part]) for part in PARTS]
    along = math.hypot(result["along_error"], model["along_error"])
    small_norms = all(result[p]["bias"] <= 4 * e for p, e in zip(PARTS, errors, strict=True))
    return small_norms and abs(result["along"]) <= 4 * along


def _falls_as_one_over_l(result: list[dict[str, Any]]) -> bool:
    """True if log variance against log L has slope -1 within 4 standard errors."""
    encoder = [f["encoder"] for f in result]
    if min(e["variance"] for e in encoder) <= 0:
        return False
    x = np.log([f["samples"] for f in result])
    y = np.log([e["variance"] for e in encoder])
    error = np.array([e["variance_error"] / e["variance"] for e in encoder])
    lever = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return abs(lever @ y + 1) <= 4 * math.sqrt(lever**2 @ error**2)
