"""Experiment: information preference, how the decoder's window changes the use of z.

    -log p(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z)) - KL(q(z|x) || p(z|x))

In bits-back coding an image costs the first two terms, which exceed -log p(x) by the last: using z
costs KL(q(z|x) || p(z|x)). A decoder therefore prefers to predict a pixel from the pixels that it
sees, and z encodes only what the window does not reveal. The larger the window, the smaller the KL;
the factorised decoder sees no pixels.

The theory gives no amount, and does not say that each enlargement lowers the KL. So the claims are:
every window has a smaller KL than none; over all windows the KL falls with the number of pixels; no
window has a worse ELBO on the training images than none, because a decoder can ignore its window;
and x', which is generated from z, reveals no more about the digit than x. How much of the digit's
identity remains in z and in x' is measured without a claim, except for the factorised decoder.

Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731, sections 2.2, 3.1 and
4.1; there 25.9 nats for the factorised decoder and 13.3 for the PixelCNN, on static MNIST.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from diptych.data import Dataset
from diptych.display import Table
from diptych.lab.findings import Findings, Setting
from diptych.lab.lossy_figure import draw
from diptych.lab.models import always_below, at_most, format_mean, image_size
from diptych.lab.readers import fit_classifier
from diptych.lab.windows import WINDOWS, WindowedVLAE, epochs_for, is_binary, subset, visible_pixels

PAPER = {"none": 25.9, "raster": 13.3}
"""KL in nats by Chen et al. on static MNIST, 28 x 28 pixels."""
SHOWN = 20


@dataclass(frozen=True)
class Size:
    """The size of the experiment."""

    steps: int
    samples: int
    windows: tuple[str, ...]
    fields: Mapping[str, Any]


FULL = Size(steps=1000, samples=64, windows=tuple(WINDOWS), fields={})
QUICK = Size(steps=160, samples=8, windows=("none", "3 × 1", "raster"), fields={"masked_layers": 2})


def run(setting: Setting) -> Findings:
    """Train a VLAE for each window and seed; measure the KL, and what z and x' reveal of the digit.

    Units: kl, recon and nll are in nats per image, means over the images of a split; changed is the
    share of pixels where x' differs from x; mu, z and x' are accuracies of digit classifiers.
    Raises: ValueError for images in colour.
    """
    size, data = QUICK if setting.quick else FULL, setting.data
    image_size(data)
    epochs = epochs_for(data, size.steps)
    by_window: dict[str, Any] = {}
    pictures: dict[str, np.ndarray] = {}
    classifiers: DigitClassifiers | None = None
    for name in size.windows:
        models = []
        for seed in setting.seeds:
            if setting.console is not None:
                setting.console.print(f"window {name}, seed {seed}", style="dim")
            model = WindowedVLAE(setting, seed, {**WINDOWS[name], **size.fields}, epochs)
            x, lossy = model.images("test"), model.reconstruct()
            pictures.setdefault("originals", x[:SHOWN, 0])
            pictures.setdefault(name, lossy[:SHOWN, 0])
            if classifiers is None and data.train.y is not None and data.test.y is not None:
                classifiers = DigitClassifiers(data, model)
            measures = model.measure(size.samples) | {"changed": float((x != lossy).mean())}
            models.append(measures | (classifiers.accuracies(model, lossy) if classifiers else {}))
        by_window[name] = {key: [measured[key] for measured in models] for key in models[0]}
        by_window[name]["pixels"] = visible_pixels(model.config)
    counts = [entry["pixels"] for entry in by_window.values() for _ in setting.seeds]
    kls = [kl for entry in by_window.values() for kl in entry["test_kl"]]
    results = {
        "tau": float(np.nan_to_num(kendalltau(counts, kls).statistic)),
        "epochs": epochs,
        "samples": size.samples,
        "free_nats": model.config.free_nats,
        "images": len(x),
        "binarized": not is_binary(data),
        "windows": by_window,
        "identity": classifiers.reference() if classifiers else None,
        "paper": PAPER,
    }
    return Findings(results, _table(results), draw(results, pictures), truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """Check the claims on held-out images, and the claim about the ELBO on training images."""
    windows, identity = results["windows"], results["identity"]
    kl = [entry["test_kl"] for entry in windows.values()]
    negative_elbo = [np.add(entry["train_kl"], entry["train_recon"]) for entry in windows.values()]
    claims = {
        "with every seed the factorised decoder spends the most on z": all(
            always_below(other, kl[0]) for other in kl[1:]
        ),
        "the more pixels a window has, the less is spent, by Kendall's tau": results["tau"] < 0,
        "no window has a worse ELBO on training images than none": all(
            at_most(other, negative_elbo[0]) for other in negative_elbo[1:]
        ),
    }
    if identity is None:
        return claims
    chance = identity["chance"] + 4 * identity["standard_error"]
    claims["x' tells no more of the digit than x"] = all(
        max(entry["x'"]) <= identity["x"] for entry in windows.values()
    )
    claims["of the factorised decoder, z and x' tell the digit better than chance"] = all(
        accuracy > chance for name in ("z", "x'") for accuracy in windows["none"][name]
    )
    return claims


class DigitClassifiers:
    """Logistic regressions that classify the digit from x, mu, z or x'.

    For mu and z a classifier is trained on the codes of training images; x' is classified by the
    classifier of x. z is sampled: mu may still reveal the digit if the posterior has collapsed to
    the prior, although z then carries no information.
    """

    def __init__(self, data: Dataset, model: WindowedVLAE) -> None:
        assert data.train.y is not None and data.test.y is not None
        self.train_y = data.train.y[subset(data, "train")]
        self.test_y = data.test.y[subset(data, "test")]
        self.classifier = self._fit(_flat(model.images("train")))
        self.x_accuracy = float(self.classifier.score(_flat(model.images("test")), self.test_y))

    def accuracies(self, model: WindowedVLAE, lossy: np.ndarray) -> dict[str, float]:
        """Return the test accuracy of the classifiers of mu, z and x'."""
        result = {}
        codes = zip(("mu", "z"), *map(model.codes, ("train", "test")), strict=True)
        for name, train, test in codes:
            result[name] = float(self._fit(train).score(test, self.test_y))
        return result | {"x'": float(self.classifier.score(_flat(lossy), self.test_y))}

    def reference(self) -> dict[str, float]:
        """Return the accuracy from x, that of the most common digit, and the latter's error."""
        chance = float(np.unique(self.test_y, return_counts=True)[1].max() / len(self.test_y))
        error = math.sqrt(chance * (1 - chance) / len(self.test_y))
        return {"x": self.x_accuracy, "chance": chance, "standard_error": error}

    def _fit(self, inputs: np.ndarray) -> Any:
        return fit_classifier(inputs, self.train_y)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _table(results: Mapping[str, Any]) -> Table:
    windows, identity = results["windows"], results["identity"]
    subject = f"{results['images']} held-out images, nats per image"
    table = Table(title=f"{subject}: mean ± standard deviation over the seeds")
    table.add_column("window")
    headings = ["pixels", "KL", "KL, bits", "reconstruction", "−ELBO"]
    headings += [f"NLL, K = {results['samples']}", "x′ ≠ x, %"]
    for heading in headings + (["digit from z, %", "from x′, %"] if identity else []):
        table.add_column(heading, justify="right")
    for name, entry in windows.items():
        kl, recon = (np.array(entry[f"test_{term}"]) for term in ("kl", "recon"))
        nats = (kl, kl / math.log(2), recon, kl + recon, np.array(entry["nll"]))
        row = [format_mean(values.tolist()) for values in nats]
        shares = [entry["changed"], *([entry["z"], entry["x'"]] if identity else [])]
        row += [format_mean((100 * np.array(share)).tolist(), 1) for share in shares]
        table.add_row(name, str(entry["pixels"]), *row)
    caption = "grey values drawn as black and white; " if results["binarized"] else ""
    caption += "Chen et al. (2016), on static MNIST of 28 × 28: {none} nats on z without a window, "
    caption = caption.format(**PAPER) + f"{PAPER['raster']} with the raster's"
    if identity:
        caption += f"; digit from x itself: {100 * identity['x']:.1f} %, "
        caption += f"by chance {100 * identity['chance']:.1f} %"
    table.caption = caption
    return table
