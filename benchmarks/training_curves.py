"""Draw the validation curves of the recorded runs, and the perplexity of averaged LSTMs.

    python benchmarks/training_curves.py

reads benchmarks/results and writes docs/training_curves.png and docs/averaged_lstms.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diptych import figures
from diptych.runs import results
from diptych.runs.tables import select
from diptych.runs.tables.markdown import Record
from diptych.runs.tables.published import ZAREMBA
from diptych.runs.tables.trained import by_data, run_names

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
AVERAGED = {1: 114.5, 2: 96.1, 5: 84.1, 10: 80.0}
"""Test perplexity against the number of non-regularised models: Zaremba et al. (2014), table 1."""
LIKELIHOOD, PERPLEXITY = "−ELBO of validation images, nats", "perplexity of validation text"


def main() -> None:
    records = results.read_all(HERE / "results")
    groups: dict[str, dict[str, list[float]]] = {}
    units: dict[str, str] = {}
    images = [r for r in select(records, "test_nll") if model_of(r) == "vlae"]
    texts = [r for r in select(records, "test_perplexity") if r["metrics"]["runs"] == 1]
    for runs, term, unit in ((images, "total", LIKELIHOOD), (texts, "perplexity", PERPLEXITY)):
        for title, group in by_data(runs).items():
            groups[title], units[title] = scores(group, term), unit
    figures.save(figures.validation_curves(groups, units), DOCS / "training_curves.png")
    ours = {
        r["metrics"]["runs"]: r["metrics"]["test_perplexity"]
        for r in records
        if r["name"].startswith("lstm_zaremba_small")
    }
    figure = figures.averaged_perplexity(ours, AVERAGED, ZAREMBA)
    figures.save(figure, DOCS / "averaged_lstms.png")


def scores(records: list[Record], term: str) -> dict[str, list[float]]:
    """The score of the validation set after each epoch, of each run; a run may be evaluated twice.

    Runs of one name that differ in their seed alone have it in their name.
    """
    validated = [r for r in records if r["metrics"]["history"]]
    result: dict[str, list[float]] = {}
    for name, record in zip(run_names(validated), validated, strict=True):
        short = name.removeprefix("vlae, ")
        history = [line[term] for line in record["metrics"]["history"]]
        if result.get(short, history) != history:
            short += f", seed {record['seed']}"
        result[short] = history
    return result


def model_of(record: Record) -> Any:
    return record["metrics"].get("settings", {}).get("model")


if __name__ == "__main__":
    main()
