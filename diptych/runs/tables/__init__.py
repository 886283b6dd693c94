"""Tables of the measured results for README.md and the pages under docs/.

The records are read by diptych.runs.results. A cell holds at most 80 characters, so that a row
can be read where the page is shown; the commands that measured a table stand below it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from diptych.names import MODELS
from diptych.remarks import one_draw_mark
from diptych.runs.tables.experiments import (
    collapse,
    colour_windows,
    laboratory,
    memory,
    paired,
    preference,
    regularised,
)
from diptych.runs.tables.gpu import gpus
from diptych.runs.tables.markdown import CELL, Record, table, with_tables
from diptych.runs.tables.published import published_results
from diptych.runs.tables.scaling import growth
from diptych.runs.tables.speed import speed, step_ratios
from diptych.runs.tables.trained import (
    compared,
    data_name,
    likelihood,
    perplexity,
    reconstruction,
    select,
)
from diptych.runs.tables.trust import fuzzed, injected
from diptych.runs.tables.witness import witness

__all__ = [
    "CELL",
    "PAGES",
    "results_page",
    "select",
    "speed_page",
    "summary",
    "table",
    "trust_page",
    "with_tables",
    "witness_page",
]

STATIC, PTB = "static_mnist", "ptb"
NLL = ("test_nll", "train_nll", "valid_nll")
DTYPES = ("float64", "float32")


def results_page(records: list[Record]) -> str:
    """The tables of docs/results.md: trained models and experiments."""
    # Markdown takes the <unk> of a text's description for a tag of HTML
    records = [r | {"data": r["data"].replace("<unk>", "`<unk>`")} for r in records]
    sections = {
        "Comparison with published results": published_results(records),
        "Log-likelihood of images": likelihood(select(records, *NLL)),
        "Differences on the same images": paired(select(records, "paired_difference")),
        "Reconstruction of colour images": reconstruction(select(records, "test_rmse")),
        "Perplexity of text": perplexity(select(records, "test_perplexity")),
        "One training on both panels": compared(select(records, "relative_difference_first")),
        "Memory under five dropout schemes": memory(select(records, "memory")),
        "Regularisation of a large LSTM": regularised(select(records, "best_valid_perplexity")),
        "KL against the receptive field of the decoder": preference(select(records, "preference")),
        "Posterior collapse": collapse(select(records, "collapse")),
        "Windows and contexts on natural images": colour_windows(select(records, "colour_windows")),
        "The laboratory": laboratory(select(records, "truths")),
        "On a GPU": gpus(select(records, "gpu_report")),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def speed_page(records: list[Record]) -> str:
    """The tables of docs/speed.md: both panels timed in turn, and the growth with each size."""
    parts = [speed(record) for record in select(records, "speed")]
    parts += [growth(select(records, "scaling"))]
    return "\n\n".join(part for part in parts if part)


def witness_page(records: list[Record]) -> str:
    """The tables of docs/witness.md: proofs in 50 digits."""
    return witness(select(records, "proofs"))


def trust_page(records: list[Record]) -> str:
    """The tables of docs/trust.md: injected faults and changed inputs."""
    tables = injected(select(records, "bit_flips")), fuzzed(select(records, "fuzz"))
    return "\n\n".join(text for text in tables if text)


def summary(records: list[Record]) -> str:
    """The table of README.md: a model's best recorded result, and the speed of a step.

    Likelihoods are those of static MNIST, so that the VAEs can be compared: the lowest on the most
    images, because the NLL of a part of them differs from that of all. Perplexities are those of
    PTB, of a single run.
    """
    best: dict[str, str] = {}
    images = [r for r in select(records, "test_nll") if data_name(r) == STATIC]
    for m in sorted(
        (r["metrics"] for r in images), key=lambda m: (m["test_examples"], -m["test_nll"])
    ):
        nll = f"{m['test_nll']:.1f} ± {m['test_nll_standard_error']:.1f}"
        nll += f"{one_draw_mark(m, 'test_')} nats"
        best[m["settings"]["model"]] = f"{nll}, test NLL of {STATIC}"
    for r in sorted(select(records, "test_rmse"), key=lambda r: -r["metrics"]["test_rmse"]):
        rmse = f"{r['metrics']['test_rmse']:.3f}"
        best[r["metrics"]["settings"]["model"]] = f"{rmse} RMSE of [0, 1], {data_name(r)}"
    texts = [r for r in select(records, "test_perplexity") if data_name(r) == PTB]
    single = [r for r in texts if r["metrics"]["runs"] == 1]
    for r in sorted(single, key=lambda r: -r["metrics"]["test_perplexity"]):
        perplexity_text = f"{r['metrics']['test_perplexity']:.1f}"
        best[r["metrics"]["settings"]["model"]] = f"{perplexity_text} perplexity, {data_name(r)}"
    for r in select(records, "memory"):
        right = 100 * statistics.mean(r["metrics"]["memory"]["rnn"]["schemes"]["none"]["accuracy"])
        best["rnn"] = f"{right:.0f} % of symbols recalled after 100 steps"
    ratios = step_ratios(select(records, "speed"))
    rows = [
        (f"`{model}`", best.get(model, "–"), *(ratios.get(model, {}).get(d, "–") for d in DTYPES))
        for model in MODELS
        if model in best or model in ratios
    ]
    return table(("model", "best recorded run", *(f"step, {d}" for d in DTYPES)), rows)


PAGES: dict[str, Callable[[list[Record]], str]] = {
    "README.md": summary,
    "docs/results.md": results_page,
    "docs/speed.md": speed_page,
    "docs/witness.md": witness_page,
    "docs/trust.md": trust_page,
}
"""The function that makes the tables of each page."""
