"""The figures of the papers beside those of our own runs: the table "Beside the sources"."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.runs.tables.markdown import Record, Row, table

CHEN = "Chen et al. 2016"
ZAREMBA = "Zaremba et al. 2014"
KINGMA = "the same network in plain PyTorch"


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
    """Why ours differs, as far as it is known, or the settings in which it differs."""


NATS, PERPLEXITY = "nats", "perplexity"
_UNLIKE = (
    "no final fit on training and validation images; K is 256, theirs 4096, which makes ours higher"
)
FIGURES = (
    Published(
        "static MNIST, MLP VAE 784-400-20", KINGMA, 92.2, "mlp_vae_static_mnist", "test_nll", NATS
    ),
    Published(
        "static MNIST, VLAE", CHEN, 79.03, "vlae_static_mnist", "test_nll", NATS,
        f"22 epochs; {_UNLIKE}; 1000 of the test images",
    ),
    Published(
        "static MNIST, VLAE, longer", CHEN, 79.03, "vlae_static_mnist_long", "test_nll", NATS,
        _UNLIKE,
    ),
    Published(
        "static MNIST, KL of a factorised decoder", CHEN, 25.9, "vlae_static_mnist_factorised",
        "test_kl", NATS, "22 epochs",
    ),
    Published(
        "static MNIST, KL of the VLAE", CHEN, 13.3, "vlae_static_mnist", "test_kl", NATS,
        "the form of the free bits, batch and schedule are not stated in the paper",
    ),
    Published(
        "static MNIST, factorised, AF less IAF", CHEN, 79.30 - 79.88, "vlae_factorised_af_less_iaf",
        "paired_difference", NATS,
        "the order is theirs, the distance is not: the IAF posterior is ours, whose steps only "
        "shift and read nothing of the image but z; 22 epochs; K is 256, where for 4 % of the "
        "images with AF and 8 % with IAF one draw has most of the weight",
    ),
    Published(
        "dynamic MNIST, no z", CHEN, 87.55, "vlae_dynamic_mnist_unconditional", "test_nll", NATS,
        "neither overfitting nor too few epochs: validation is at 98.0 nats and falls by 0.03 in "
        "the last epoch, so that our PixelCNN alone is a weaker model than theirs; the paper "
        "leaves open how the 1 x 1 blocks lie between the masked layers",
    ),
    Published(
        "dynamic MNIST, Gaussian prior", CHEN, 79.48, "vlae_dynamic_mnist_gaussian", "test_nll",
        NATS, f"22 epochs; {_UNLIKE}; 1000 of the test images",
    ),
    Published(
        "dynamic MNIST, flow prior", CHEN, 78.94, "vlae_dynamic_mnist", "test_nll", NATS,
        f"22 epochs; {_UNLIKE}; 1000 of the test images",
    ),
    Published(
        "dynamic MNIST, Gaussian prior: KL", CHEN, 10.60, "vlae_dynamic_mnist_gaussian", "test_kl",
        NATS,
    ),
    Published(
        "dynamic MNIST, flow prior: KL", CHEN, 11.73, "vlae_dynamic_mnist", "test_kl", NATS
    ),
    Published(
        "Caltech-101 silhouettes, no z", CHEN, 89.26, "vlae_caltech_unconditional", "test_nll",
        NATS,
        "not overfitting: after 100 epochs the training images need 98.9 nats on average over the "
        "last epoch, those of validation 96.4; the paper states neither batch nor epochs",
    ),
    Published(
        "Caltech-101 silhouettes, VLAE", CHEN, 77.36, "vlae_caltech", "test_nll", NATS,
        "no final fit, which would add 2264 images to 4100; K is 256, theirs 4096, and for 3.4 % "
        "of the images one draw has most of the weight; validation was best after 75 of 100 epochs",
    ),
    Published(
        "PTB, LSTM 2 × 200", ZAREMBA, 114.5, "lstm_zaremba_small", "test_perplexity", PERPLEXITY
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
        value = metrics.get(entry.record, {}).get(entry.metric)
        ours, difference = "not run yet", "–"
        if value is not None:
            number = len(reasons) + 1 if entry.reason else None
            error = metrics[entry.record].get(f"{entry.metric}_standard_error")
            ours = f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")
            difference = f"{value - entry.figure:+.2f}" + (f" ({number})" if number else "")
            reasons += [f"{number}. {entry.title}: {entry.reason}."] if number else []
        published = f"{entry.figure:.2f}".rstrip("0").rstrip(".")
        rows.append((entry.title, f"{published}, {entry.source}", ours, difference, entry.unit))
    heads = ("figure", "source", "ours", "ours − source", "unit")
    text = (
        "Published figures of the same models on the same data, and ours. ± is the standard error "
        "over the images; a number in brackets names the reason below the table. Commands and "
        "times stand in the tables that follow."
    )
    return "\n\n".join([text, table(heads, rows), "\n".join(reasons)]).rstrip()
