"""The tables of the pages are those of the recorded results."""

import json
from pathlib import Path

import pytest

from diptych.lab.models import format_mean
from diptych.runs import results, tables

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "results"
RECORDS = results.read_all(FOLDER)


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_are_those_of_the_results(page):
    text = (ROOT / page).read_text()
    assert tables.with_tables(text, tables.PAGES[page](RECORDS)) == text, "run `make results`"


@pytest.mark.parametrize("page", tables.PAGES)
def test_no_cell_is_too_wide_to_be_read(page):
    for line in tables.PAGES[page](RECORDS).splitlines():
        for cell in line.strip("|").split(" | ") if line.startswith("|") else ():
            assert len(cell.strip()) <= tables.CELL, cell


def test_a_cell_that_is_too_wide_is_an_error():
    assert tables.table(("a",), [("b" * 80,)])
    with pytest.raises(ValueError, match=r"cell: got 81 characters, takes 80"):
        tables.table(("a",), [("b" * 81,)])


def test_a_likelihood_stands_among_likelihoods():
    """Evaluated today an MLP VAE has an error of reconstructions too, and no image size."""
    records = json.loads(json.dumps(RECORDS))
    (record,) = (r for r in records if r["name"] == "mlp_vae_static_mnist")
    record["metrics"]["test_rmse"] = 0.15
    assert tables.results_page(records) == tables.results_page(RECORDS)
    assert tables.summary(records) == tables.summary(RECORDS)


def test_the_summary_has_the_lowest_nll_of_a_model():
    (row,) = (line for line in tables.summary(RECORDS).splitlines() if "`vlae`" in line)
    lowest = min(
        r["metrics"]["test_nll"]
        for r in RECORDS
        if r["metrics"].get("settings", {}).get("model") == "vlae"
    )
    assert f"| {lowest:.1f} ± " in row
    assert "† nats" in row, "some of its estimates rest on one draw"


def test_every_result_keeps_the_schema():
    for record, path in zip(RECORDS, sorted(FOLDER.glob("*.json")), strict=True):
        assert record["name"] == path.stem and record["commit"] and record["time_s"] > 0


def test_the_best_epoch_in_a_table_is_that_of_validation():
    """The last epoch has the lowest training perplexity, the second the lowest of validation."""
    curve = {"epoch": [1, 2, 3], "train": [90.0, 50.0, 40.0], "valid": [80.0, 60.0, 70.0]}
    metrics = {"best_valid_perplexity": 60.0}
    metrics |= {"curves": {"per_step": curve | {"rate": 0.3, "seconds": 120}}}
    metrics |= {"model": {"num_layers": 2, "hidden_dim": 5}, "run": {"epochs": 3}}
    page = tables.results_page([{"metrics": metrics, "command": "diptych", "data": "toy"}])
    assert "| `per_step`, rate 0.3 | **60.0** (epoch 2) | 40.0 / 70.0 | 2.0 min |" in page


def test_the_table_of_colour_and_texture_is_that_of_the_record():
    """docs/laboratory.md shows a part of the table that `diptych lab colour` prints."""
    text = (ROOT / "docs" / "laboratory.md").read_text().replace("−", "-")
    models = results.read(FOLDER / "lab_colour.json")["metrics"]["results"]["models"]
    for name, entry in models.items():
        in_colour = "" if name == "none" or "grey" in name else ", in colour"
        cells = [f"{name}{in_colour}", format_mean(entry["test_kl"], 1)]
        cells += [format_mean(entry[source]["colour"]) for source in ("z", "x'")]
        cells.append(format_mean(entry["z"]["texture"]))
        assert f"| {' | '.join(cells)} |" in text


@pytest.mark.parametrize("text", ["", "<!-- results -->"])
def test_a_page_without_marks_is_an_error(text):
    with pytest.raises(ValueError, match="lacks the marks"):
        tables.with_tables(text, "")
