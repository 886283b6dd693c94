"""Published results beside those of our own runs: the first table of docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.remarks import one_draw_legend, one_draw_mark
from diptych.runs.tables.markdown import Record, Row, table

CHEN = "Chen et al. 2016"
ZAREMBA = "Zaremba et al. 2014"


@dataclass(frozen=True)
class Published:
    """One published number, and the recorded result that stands beside it."""

    title: str
    source: str
    value: float
    record: str
    """The name of the record, which is that of its file in benchmarks/results."""
    metric: str
    unit: str
    reason: str = ""
    """Why ours differs, as far as it is known, or the settings in which it differs.

    A name in braces is replaced by that number of the record, see `numbers`, and {RECORD[METRIC]}
    by a metric of another record.
    """


NATS, PERPLEXITY = "nats", "perplexity"
_SHORT = (
    "validation still fell by {fall:.2f} nats in the last of {epochs} epochs; no final fit; K is "
    "{samples}, theirs 4096; {images} test images"
)
_EASIER = (
    ", on which the VLAE of 60 epochs has {vlae_static_mnist_long_1000[test_nll]:.2f} nats, and "
    "{vlae_static_mnist_long[test_nll]:.2f} on all"
)
_RISING = (
    "ours still rose on validation, by {rise:.2f} nats in the last of {epochs} epochs; the "
    "paper states neither batch nor epochs nor schedule"
)
INTRODUCTION = (
    "Published results, and ours for the closest model on the same data. VLAE: a PixelCNN decoder "
    "and a prior that is an autoregressive flow (AF). AF and IAF VAE: a factorised decoder, whose "
    "pixels are independent given z, with the flow in the prior or in the posterior. No z: the "
    "PixelCNN alone, which the paper calls the unconditional decoder; ours reads learned maps of "
    "positions in place of the maps of z. The paper's PixelCNN, and ours in most rows, reads 69 "
    "pixels and misses a wedge at the upper right; no blind spot: ours of two stacks, which reads "
    "84 pixels and misses none. "
    "Final fit: the model trained again on training and validation images together, for the number "
    "of epochs that was best on validation; the paper's final models are fitted to both, too. "
    "The paper's figures for dynamic MNIST are those of its ablation; its best VLAE has 78.53. "
    "± is the standard error over the images of one trained model; it does not contain what "
    "another seed would change. The KL and the perplexity are given without it. A number in "
    "brackets is that of a note below the table, on what we know of the difference. Commands and "
    "times stand in the tables that follow."
)
CHOICES = (
    "Chen et al. do not state the batch, the number of epochs, the schedule or the form of the "
    "free bits: batches of 64, the epochs and the schedule of each row, and a total KL with free "
    "nats are our choice. Between every other masked layer the paper has four 1 × 1 blocks, which "
    "may mean four in all, as ours has, or four each time. Whether the pixels of its "
    "decoder without z know their position is not known to us. Its flows have weight "
    "normalisation, ours have not."
)
RESULTS = (
    Published(
        "static MNIST, VLAE", CHEN, 79.03, "vlae_static_mnist", "test_nll", NATS,
        _SHORT + _EASIER,
    ),
    Published(
        "static MNIST, VLAE, longer", CHEN, 79.03, "vlae_static_mnist_long", "test_nll", NATS,
        "{epochs} epochs of a cosine schedule, of which the last was the best on validation; no "
        "final fit; "
        "K is {samples}, theirs 4096; {images} "
        "test images",
    ),
    Published(
        "static MNIST, AF VAE", CHEN, 79.30, "vlae_factorised_af", "test_nll", NATS, _SHORT,
    ),
    Published(
        "static MNIST, IAF VAE", CHEN, 79.88, "vlae_factorised_iaf", "test_nll", NATS,
        _SHORT + "; our IAF steps only shift, and read z alone, where the encoder could give them "
        "more of the image: whether that is the cause was not tested",
    ),
    Published(
        "static MNIST, AF VAE less IAF VAE", f"79.30 − 79.88 of {CHEN}", 79.30 - 79.88,
        "vlae_factorised_af_less_iaf", "paired_difference", NATS,
        "the order is theirs, the distance is not: both rows above are worse than theirs, IAF by "
        "more; with IAF one draw has most of the importance weight for twice as many images (†)",
    ),
    Published(
        "static MNIST, KL of a factorised VAE", CHEN, 25.9, "vlae_static_mnist_factorised",
        "test_kl", NATS,
        "ours has a Gaussian prior, theirs is not stated; ours is "
        "{vlae_factorised_af[test_kl]:.2f} with AF and {vlae_factorised_iaf[test_kl]:.2f} with IAF",
    ),
    Published(
        "static MNIST, KL of the VLAE", CHEN, 13.3, "vlae_static_mnist", "test_kl", NATS, _RISING,
    ),
    Published(
        "static MNIST, KL of the VLAE, longer", CHEN, 13.3, "vlae_static_mnist_long", "test_kl",
        NATS,
    ),
    Published(
        "dynamic MNIST, no z", CHEN, 87.55, "vlae_dynamic_mnist_positions", "test_nll", NATS,
        "cause not found; validation still fell by {fall:.2f} nats in the last of {epochs} epochs; "
        "no final fit; {images} test images; without the blind spot, in the next row, ours is "
        "below theirs",
    ),
    Published(
        "dynamic MNIST, no z, no blind spot", CHEN, 87.55, "vlae_dynamic_mnist_no_z_stacks",
        "test_nll", NATS,
    ),
    Published(
        "dynamic MNIST, no z, no maps of positions", CHEN, 87.55,
        "vlae_dynamic_mnist_unconditional", "test_nll", NATS,
        "a pixel knows the 69 pixels in its reach, and where it is only near the border, from the "
        "padding; it is not overfitting: "
        "{vlae_dynamic_mnist_unconditional_train[train_examples]} training images need "
        "{vlae_dynamic_mnist_unconditional_train[train_nll]:.2f} nats, those of validation "
        "{lowest:.2f}",
    ),
    Published(
        "dynamic MNIST, Gaussian prior", CHEN, 79.48, "vlae_dynamic_mnist_gaussian", "test_nll",
        NATS, _SHORT,
    ),
    Published(
        "dynamic MNIST, Gaussian prior, no blind spot", CHEN, 79.48,
        "vlae_dynamic_mnist_gaussian_stacks", "test_nll", NATS, _SHORT,
    ),
    Published(
        "dynamic MNIST, flow prior", CHEN, 78.94, "vlae_dynamic_mnist", "test_nll", NATS, _SHORT,
    ),
    Published(
        "dynamic MNIST, flow prior, no blind spot", CHEN, 78.94, "vlae_dynamic_mnist_stacks",
        "test_nll", NATS, _SHORT,
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
        "Caltech-101 silhouettes, no z", CHEN, 89.26, "vlae_caltech_positions", "test_nll", NATS,
        "no final fit, which the next row has; without the maps of positions "
        "{vlae_caltech_unconditional[test_nll]:.2f}",
    ),
    Published(
        "Caltech-101 silhouettes, no z, final fit", CHEN, 89.26, "vlae_caltech_positions_final",
        "test_nll", NATS,
        "{epochs} epochs of a cosine schedule; without the maps of positions "
        "{vlae_caltech_unconditional_final[test_nll]:.2f}",
    ),
    Published(
        "Caltech-101 silhouettes, VLAE", CHEN, 77.36, "vlae_caltech", "test_nll", NATS,
        "no final fit, which the next row has; validation was best after epoch {best} of "
        "{epochs}, and {excess:.2f} nats higher after the last",
    ),
    Published(
        "Caltech-101 silhouettes, VLAE, final fit", CHEN, 77.36, "vlae_caltech_final", "test_nll",
        NATS,
        "{epochs} epochs, the best of the row above, with a cosine schedule of that length, on "
        "55 % more images; K is {samples}: with 4096, as in the paper, the NLL of "
        "{vlae_caltech_final_k4096_less_256[images]} of the test images changes by "
        "{vlae_caltech_final_k4096_less_256[paired_difference]:.2f} ± "
        "{vlae_caltech_final_k4096_less_256[paired_difference_standard_error]:.2f} nats",
    ),
    Published(
        "PTB, LSTM 2 × 200", ZAREMBA, 114.5, "lstm_zaremba_small", "test_perplexity", PERPLEXITY,
        "one run; its perplexity on validation is {perplexity:.1f}, theirs 120.7; the rate is "
        "constant for 5 epochs, as in the authors' code, where their text has 4",
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
        "one run; its perplexity on validation is {perplexity:.1f}, theirs 86.2; the rate is "
        "constant for 7 epochs, as in the authors' code, where their text has 6; the minutes of "
        "its training include waiting for other jobs on the same cores",
    ),
)  # fmt: skip


def published_results(records: list[Record]) -> str:
    """The table of each published number, of ours and of their difference, and the reasons."""
    metrics = {r["name"]: r["metrics"] for r in records}
    rows: list[Row] = []
    reasons: list[str] = []
    for entry in RESULTS:
        m = metrics.get(entry.record, {})
        ours, difference = "not run yet", "–"
        if (value := m.get(entry.metric)) is not None:
            number = len(reasons) + 1 if entry.reason else None
            error = m.get(f"{entry.metric}_standard_error")
            ours = f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")
            if entry.metric == "test_nll":
                ours += one_draw_mark(m, "test_", share=True)
            difference = f"{value - entry.value:+.2f}" + (f" ({number})" if number else "")
            reason = _filled(entry, metrics | numbers(m))
            reasons += [f"{number}. {entry.title}: {reason}."] if number else []
        published = f"{entry.value:.{2 if entry.unit == NATS else 1}f}"
        rows.append((entry.title, f"{published}, {entry.source}", ours, difference, entry.unit))
    heads = ("quantity", "source", "ours", "ours − source", "unit")
    text = f"{INTRODUCTION}{one_draw_legend(' '.join(row[2] for row in rows))}"
    return "\n\n".join([text, CHOICES, table(heads, rows), "\n".join(reasons)]).rstrip()


def _filled(entry: Published, values: Mapping[str, Any]) -> str:
    """The reason of an entry. Raises: ValueError that names the number which is not recorded."""
    try:
        return entry.reason.format_map(values)
    except KeyError as error:
        raise ValueError(f"{entry.title}: its note needs {error}, which is not recorded") from error


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a record that a reason may name.

    epochs, images and samples (K) are those of the record. Of validation: `lowest` is the lowest
    -ELBO, nats, `best` its epoch and `excess` how far the last is above it; from the last epoch
    but one to the last, `fall` is the fall of -ELBO and `rise` the rise of the KL, nats;
    `perplexity` is that of the last epoch.
    """
    named = {"epochs": "epochs", "images": "test_examples", "samples": "test_samples"}
    values = {name: metrics[key] for name, key in named.items() if key in metrics}
    history = metrics.get("history", [])
    if len(history) > 1 and "kl" in history[0]:
        totals, (before, last) = [line["total"] for line in history], history[-2:]
        lowest = min(totals)
        values |= {"fall": before["total"] - last["total"], "rise": last["kl"] - before["kl"]}
        values |= {
            "lowest": lowest,
            "best": totals.index(lowest) + 1,
            "excess": totals[-1] - lowest,
        }
    if history and "perplexity" in history[-1]:
        values["perplexity"] = history[-1]["perplexity"]
    return values
