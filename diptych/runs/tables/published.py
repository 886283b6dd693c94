"""The figures of the papers beside those of our own runs: the table "Beside the sources"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.runs.tables.markdown import Record, Row, table

CHEN = "Chen et al. 2016"
ZAREMBA = "Zaremba et al. 2014"
OWN = "a plain PyTorch network of ours"


@dataclass(frozen=True)
class Published:
    """One published figure, and the recorded result that stands beside it."""

    title: str
    source: str
    figure: float
    record: str
    """The name of the record, which is that of its file in benchmarks/results."""
    metric: str
    unit: str
    reason: str = ""
    """Why ours differs, as far as it is known, or the settings in which it differs.

    A name in braces is replaced by that number of the record, see `numbers`.
    """


NATS, PERPLEXITY = "nats", "perplexity"
_SHORT = (
    "validation still fell by {fall:.2f} nats in the last of {epochs} epochs; no final fit on "
    "training and validation images, which theirs has; K is {samples}, theirs 4096; {images} test "
    "images"
)
_RISING = (
    "ours still rose on validation, by {rise:.2f} nats in the last of {epochs} epochs; the "
    "paper states neither batch nor epochs nor schedule"
)
INTRODUCTION = (
    "Published figures, and ours for the closest model on the same data. VLAE: a PixelCNN decoder "
    "and a prior that is an autoregressive flow (AF). AF and IAF VAE: a factorised decoder, whose "
    "pixels are independent given z, with the flow in the prior or in the posterior. No "
    "z: the PixelCNN alone. ± is the standard error over the images of one trained model; it does "
    "not contain what another seed would change. A number in brackets leads to what we know of the "
    "difference. Commands and times stand in the tables that follow."
)
FIGURES = (
    Published(
        "static MNIST, MLP VAE 784-400-20", OWN, 92.2, "mlp_vae_static_mnist", "test_nll", NATS,
        "not a published figure: one run of 100 epochs at a constant rate on 1000 test images, so "
        "that its standard error is about 0.8; ours has {epochs} epochs and {images} images",
    ),
    Published(
        "static MNIST, VLAE", CHEN, 79.03, "vlae_static_mnist", "test_nll", NATS, _SHORT,
    ),
    Published(
        "static MNIST, VLAE, longer", CHEN, 79.03, "vlae_static_mnist_long", "test_nll", NATS,
        "{epochs} epochs of a cosine schedule, the last the best on validation; no final fit on "
        "training and validation images, which theirs has; K is {samples}, theirs 4096; {images} "
        "test images",
    ),
    Published(
        "static MNIST, AF VAE", CHEN, 79.30, "vlae_factorised_af", "test_nll", NATS, _SHORT,
    ),
    Published(
        "static MNIST, IAF VAE", CHEN, 79.88, "vlae_factorised_iaf", "test_nll", NATS,
        _SHORT + "; our IAF steps only shift, and read nothing of the image but z: whether that is "
        "the cause was not tested",
    ),
    Published(
        "static MNIST, AF VAE less IAF VAE", f"79.30 − 79.88 of {CHEN}", 79.30 - 79.88,
        "vlae_factorised_af_less_iaf", "paired_difference", NATS,
        "the order is theirs, the distance is not: most of the excess is in our IAF VAE",
    ),
    Published(
        "static MNIST, KL of a factorised VAE", CHEN, 25.9, "vlae_static_mnist_factorised",
        "test_kl", NATS,
        "ours has a Gaussian prior; theirs is not stated, and with a flow prior our KL is lower",
    ),
    Published(
        "static MNIST, KL of the VLAE", CHEN, 13.3, "vlae_static_mnist", "test_kl", NATS, _RISING,
    ),
    Published(
        "static MNIST, KL of the VLAE, longer", CHEN, 13.3, "vlae_static_mnist_long", "test_kl",
        NATS,
    ),
    Published(
        "dynamic MNIST, no z", CHEN, 87.55, "vlae_dynamic_mnist_unconditional", "test_nll", NATS,
        "cause unknown; it is not overfitting: training images need 97.97 nats, those of "
        "validation 97.95; more epochs at this rate would hardly help, as validation fell by "
        "{fall:.2f} nats in the last of {epochs}",
    ),
    Published(
        "dynamic MNIST, Gaussian prior", CHEN, 79.48, "vlae_dynamic_mnist_gaussian", "test_nll",
        NATS, _SHORT,
    ),
    Published(
        "dynamic MNIST, flow prior", CHEN, 78.94, "vlae_dynamic_mnist", "test_nll", NATS, _SHORT,
    ),
    Published(
        "dynamic MNIST, KL with a Gaussian prior", CHEN, 10.60, "vlae_dynamic_mnist_gaussian",
        "test_kl", NATS, _RISING,
    ),
    Published(
        "dynamic MNIST, KL with a flow prior", CHEN, 11.73, "vlae_dynamic_mnist", "test_kl", NATS,
        _RISING,
    ),
    Published(
        "Caltech-101 silhouettes, no z", CHEN, 89.26, "vlae_caltech_unconditional", "test_nll",
        NATS,
        "cause unknown, as on dynamic MNIST; it is not overfitting: the training images need more, "
        "98.9 nats, than those of validation, 96.4",
    ),
    Published(
        "Caltech-101 silhouettes, VLAE", CHEN, 77.36, "vlae_caltech", "test_nll", NATS,
        "no final fit, which the next row has; more epochs do not help: from epoch 75 to 100 "
        "validation rises by 0.11 nats while training falls by 0.9",
    ),
    Published(
        "Caltech-101 silhouettes, VLAE, final fit", CHEN, 77.36, "vlae_caltech_final", "test_nll",
        NATS,
        "{epochs} epochs, the number that was best on validation; K is {samples}: with 4096, as in "
        "the paper, the NLL of 100 of the test images is lower by 0.21 ± 0.08 nats",
    ),
    Published(
        "Caltech-101 silhouettes, no z, final fit", CHEN, 89.26, "vlae_caltech_unconditional_final",
        "test_nll", NATS,
        "cause unknown; {epochs} epochs, the number that was best on validation",
    ),
    Published(
        "PTB, LSTM 2 × 200", ZAREMBA, 114.5, "lstm_zaremba_small", "test_perplexity", PERPLEXITY,
        "one run each; ours is at 120.3 on validation, theirs at 120.7",
    ),
    Published(
        "PTB, 2 of them averaged", ZAREMBA, 96.1, "lstm_zaremba_small_average2", "test_perplexity",
        PERPLEXITY,
    ),
    Published(
        "PTB, 5 of them averaged", ZAREMBA, 84.1, "lstm_zaremba_small_average5", "test_perplexity",
        PERPLEXITY,
    ),
    Published(
        "PTB, LSTM 2 × 650, dropout", ZAREMBA, 82.7, "lstm_zaremba_medium", "test_perplexity",
        PERPLEXITY,
    ),
)  # fmt: skip


def beside_the_sources(records: list[Record]) -> str:
    """The table of each published figure, of ours and of their difference, and the reasons."""
    metrics = {r["name"]: r["metrics"] for r in records}
    rows: list[Row] = []
    reasons: list[str] = []
    for entry in FIGURES:
        m = metrics.get(entry.record, {})
        ours, difference = "not run yet", "–"
        if (value := m.get(entry.metric)) is not None:
            number = len(reasons) + 1 if entry.reason else None
            error = m.get(f"{entry.metric}_standard_error")
            ours = f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")
            difference = f"{value - entry.figure:+.2f}" + (f" ({number})" if number else "")
            reason = entry.reason.format_map(numbers(m))
            reasons += [f"{number}. {entry.title}: {reason}."] if number else []
        published = f"{entry.figure:.{2 if entry.unit == NATS else 1}f}"
        rows.append((entry.title, f"{published}, {entry.source}", ours, difference, entry.unit))
    heads = ("figure", "source", "ours", "ours − source", "unit")
    return "\n\n".join([INTRODUCTION, table(heads, rows), "\n".join(reasons)]).rstrip()


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a record that a reason may name.

    epochs, images and samples (K) are those of the record. From the last epoch but one to the
    last, `fall` is the fall of -ELBO and `rise` the rise of the KL of validation, nats.
    """
    named = {"epochs": "epochs", "images": "test_examples", "samples": "test_samples"}
    values = {name: metrics[key] for name, key in named.items() if key in metrics}
    before, last = [{}, {}, *metrics.get("history", [])][-2:]
    if "kl" in before:
        values["fall"] = before["total"] - last["total"]
        values["rise"] = last["kl"] - before["kl"]
    return values
