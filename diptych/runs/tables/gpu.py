"""Table of the measurements on GPUs, with a column for each GPU that was measured.

`benchmarks/gpu_report.sh DIR` measures, and `python -m diptych.runs.results --gpu DIR` takes what
it measured.
"""

from __future__ import annotations

from collections.abc import Callable

from diptych.runs.tables.markdown import Record, table

WAITING = "not measured yet"


def gpus(records: list[Record]) -> str:
    """The rows of a GPU report. Without a record, each of them is marked as not measured yet."""
    measured = [record for record in records if not record["metrics"]["rehearsal"]]
    heads = [record["device"] for record in measured] or ["GPU"]
    rows = [
        (title, *([_cell(record, step, text) for record in measured] or [WAITING]))
        for title, step, text in ROWS
    ]
    return (
        "One command measures all of this on one GPU, without a network; it is planned for less "
        "than 9 minutes:\n"
        "`benchmarks/gpu_report.sh DIR`, or `make gpu`. Seconds of training leave out the start.\n"
        "\n" + table(("measurement", *heads), rows)
    )


def _cell(record: Record, step: str, text: Callable[[Record], str]) -> str:
    outcome = record["metrics"]["gpu_report"].get(step)
    if outcome is None:
        return WAITING
    return text(outcome) if outcome["status"] == 0 else f"failed: {outcome['status']}"


def _parity(outcome: Record) -> str:
    agree = outcome["pairs"] - len(outcome["diverged"])
    return f"{agree} of {outcome['pairs']} agree, worst error {outcome['worst_error']:.1e}"


def _training(outcome: Record) -> str:
    name, value = outcome["valid"][-1]
    data = outcome["settings"]["data"]
    return f"{outcome['training_s']:.1f} s on {data}, validation {name} {value:.2f}"


ROWS: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
    ("parity of every pair and variant, float64", "check_float64", _parity),
    ("parity of every pair and variant, float32", "check_float32", _parity),
    ("MLP VAE, 50 epochs", "train_mlp_vae", _training),
    ("VLAE, 1 epoch", "train_vlae", _training),
    ("LSTM 2 × 650, 1 epoch", "train_lstm", _training),
)
"""The title of each row, the step of the report that measures it, and the text of its cell."""
