"""The information preference of a VAE whose decoder sees some of the image: what is left for z.

    -log p(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z)) - KL(q(z|x) || p(z|x))

Bits back, an image costs the first two terms, which is more than -log p(x) by the last: so much is
lost by sending a z. What a decoder can tell from the pixels that it sees it therefore tells without
one, and z is left with what lies beyond the window. The larger the window, the less that is; the
factorised decoder sees none.

By how much is nowhere stated, nor that every step down is one: a decoder that sees more may also
learn to make more of z. So what is held is that every window spends less than none, and that over
all of them the KL falls as the pixels grow in number. A window may ignore what it sees: on the
images trained on its ELBO is no worse. And x', which is made of z, is no better known than x. What
of the digit's identity survives in z and in x' is measured: no theory says what a window leaves.

Source: Chen et al., "Variational lossy autoencoder" (2016), arXiv 1611.02731, sections 2.2, 3.1 and
4.1; there 25.9 nats for the factorised decoder and 13.3 for the PixelCNN, on static MNIST.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from diptych.data import Dataset
from diptych.display import Table
from diptych.lab.findings import Findings, Setting
from diptych.lab.lossy_figure import draw
from diptych.lab.models import format_mean, grey_size, less, no_more
from diptych.lab.windows import WINDOWS, Windowed, black_and_white, epochs_in, pixels, some

PAPER = {"none": 25.9, "raster": 13.3}
"""Nats on z, Chen et al., static MNIST: 28 x 28 pixels."""
SHOWN = 20


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    steps: int
    samples: int
    windows: tuple[str, ...]
    fields: Mapping[str, Any]


FULL = Size(steps=1000, samples=64, windows=tuple(WINDOWS), fields={})
QUICK = Size(steps=240, samples=8, windows=("none", "3 × 1", "raster"), fields={"masked_layers": 2})


def run(setting: Setting) -> Findings:
    """Train a VLAE for each window and seed; measure what it spends on z and what z tells.

    Units: kl, recon and nll are nats an image, means over the images of a split; changed is the
    share of pixels in which x' is not x, identity that of images whose digit a classifier tells.
    Raises: ValueError for images in colour.
    """
    size, data = QUICK if setting.quick else FULL, setting.data
    grey_size(data)
    epochs = epochs_in(data, size.steps)
    result: dict[str, Any] = {}
    pictures: dict[str, np.ndarray] = {}
    tell: Tell | None = None
    for name in size.windows:
        models = []
        for seed in setting.seeds:
            if setting.console is not None:
                setting.console.print(f"window {name}, seed {seed}", style="dim")
            model = Windowed(setting, seed, {**WINDOWS[name], **size.fields}, epochs)
            x, lossy = model.images("test"), model.reconstructed()
            pictures.setdefault("originals", x[:SHOWN, 0])
            pictures.setdefault(name, lossy[:SHOWN, 0])
            if tell is None and data.train.y is not None and data.test.y is not None:
                tell = Tell(data, model)
            measured = model.measure(size.samples) | {"changed": float((x != lossy).mean())}
            models.append(measured | (tell.survives(model, lossy) if tell else {}))
        result[name] = {what: [one[what] for one in models] for what in models[0]}
        result[name]["pixels"] = pixels(model.config)
    seen = [entry["pixels"] for entry in result.values() for _ in setting.seeds]
    spent = [kl for entry in result.values() for kl in entry["test_kl"]]
    results = {
        "tau": float(np.nan_to_num(kendalltau(seen, spent).statistic)),
        "epochs": epochs,
        "samples": size.samples,
        "free_nats": model.config.free_nats,
        "images": len(x),
        "binarized": not black_and_white(data),
        "windows": result,
        "identity": tell.scale() if tell else None,
        "paper": PAPER,
    }
    return Findings(results, _table(results), draw(results, pictures), truths(results))


def truths(results: Mapping[str, Any]) -> dict[str, bool]:
    """What the preference says of held-out images, and what holds of any minimum and any x'."""
    windows, identity = results["windows"], results["identity"]
    kl = [entry["test_kl"] for entry in windows.values()]
    bound = [np.add(entry["train_kl"], entry["train_recon"]) for entry in windows.values()]
    held = {
        "with every seed the factorised decoder spends the most on z": all(
            less(other, kl[0]) for other in kl[1:]
        ),
        "the more pixels a window has, the less is spent, by Kendall's tau": results["tau"] < 0,
        "no window has a worse ELBO on training images than none": all(
            no_more(other, bound[0]) for other in bound[1:]
        ),
    }
    if identity is None:
        return held
    chance = identity["chance"] + 4 * identity["standard_error"]
    held["x' tells no more of the digit than x"] = all(
        max(entry["x'"]) <= identity["x"] for entry in windows.values()
    )
    held["of the factorised decoder, z and x' tell the digit better than chance"] = all(
        accuracy > chance for what in ("z", "x'") for accuracy in windows["none"][what]
    )
    return held


class Tell:
    """Classifiers of digits, each a logistic regression on what it is shown of training images.

    mu is a function of x without noise: of a code that has collapsed it may still tell the digit,
    which nothing that is sent does. So z is drawn. x' is judged by the classifier of originals.
    """

    def __init__(self, data: Dataset, model: Windowed) -> None:
        assert data.train.y is not None and data.test.y is not None
        self.train_y = data.train.y[some(data, "train")]
        self.test_y = data.test.y[some(data, "test")]
        self.classifier = self._fitted(_flat(model.images("train")))
        self.x = float(self.classifier.score(_flat(model.images("test")), self.test_y))

    def survives(self, model: Windowed, lossy: np.ndarray) -> dict[str, float]:
        """The share of held-out images whose digit is told, by what the classifier is shown."""
        result = {}
        codes = zip(("mu", "z"), *map(model.codes, ("train", "test")), strict=True)
        for name, train, test in codes:
            result[name] = float(self._fitted(train).score(test, self.test_y))
        return result | {"x'": float(self.classifier.score(_flat(lossy), self.test_y))}

    def scale(self) -> dict[str, float]:
        """The share from x itself, and of the commonest digit; the standard error of that."""
        chance = float(np.unique(self.test_y, return_counts=True)[1].max() / len(self.test_y))
        error = math.sqrt(chance * (1 - chance) / len(self.test_y))
        return {"x": self.x, "chance": chance, "standard_error": error}

    def _fitted(self, shown: np.ndarray) -> Any:
        # a second that other experiments need not spend
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

        with warnings.catch_warnings():  # nearly converged is as good a judge
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
            return classifier.fit(shown, self.train_y)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _table(results: Mapping[str, Any]) -> Table:
    windows, identity = results["windows"], results["identity"]
    table = Table(
        title=f"{results['images']} held-out images, nats an image: mean ± standard deviation over "
        "the seeds"
    )
    table.add_column("window")
    headings = ["pixels", "KL", "KL, bits", "reconstruction", "−ELBO"]
    headings += [f"NLL, K = {results['samples']}", "x′ ≠ x, %"]
    for heading in headings + (["digit from z, %", "from x′, %"] if identity else []):
        table.add_column(heading, justify="right")
    for name, entry in windows.items():
        kl, recon = (np.array(entry[f"test_{what}"]) for what in ("kl", "recon"))
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
