"""The tables of the pages are those of the recorded results."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.recorded_results import FOLDER, RECORDS, find

from diptych.lab.models import format_mean
from diptych.runs import results, tables
from diptych.runs.tables.experiments import collapse, paired
from diptych.runs.tables.markdown import commands
from diptych.runs.tables.published import RESULTS, numbers, published_results
from diptych.site.home.results import FIGURES, sections

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_are_those_of_the_results(page):
    text = (ROOT / page).read_text()
    assert tables.with_tables(text, tables.PAGES[page](RECORDS)) == text, "run `make results`"


@pytest.mark.parametrize("page", tables.PAGES)
def test_no_cell_is_too_wide_to_be_read(page):
    for line in tables.PAGES[page](RECORDS).splitlines():
        for cell in line.strip("|").split(" | ") if line.startswith("|") else ():
            assert len(cell.strip()) <= tables.CELL, cell


def test_no_page_has_a_word_in_angle_brackets_that_markdown_takes_for_a_tag():
    page = tables.results_page(RECORDS)
    assert page.count("<unk>") == page.count("`<unk>`") >= 2


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


def test_the_summary_has_the_lowest_nll_of_a_model_on_all_images_of_static_mnist():
    """Not the lower one on 1000 of them, and not a worse model on all."""
    (row,) = (line for line in tables.summary(RECORDS).splitlines() if "`vlae`" in line)
    part, whole = (find(f"vlae_static_mnist_long{suffix}") for suffix in ("_1000", ""))
    assert part["metrics"]["test_nll"] < whole["metrics"]["test_nll"]
    assert f"| {whole['metrics']['test_nll']:.1f} ± " in row
    worse = find("vlae_static_mnist_long", test_nll=85.0)
    assert row.split("|")[2] in tables.summary([whole, part, worse])
    assert "† nats" in row, "some of its estimates rest on one draw"


def test_every_result_keeps_the_schema():
    for record, path in zip(RECORDS, sorted(FOLDER.glob("*.json")), strict=True):
        assert record["name"] == path.stem and record["commit"] and record["time_s"] > 0


def cells_of(text, title):
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ours_stands_beside_the_source_with_the_difference_and_its_reason():
    others = [find(f"vlae_static_mnist_long{suffix}") for suffix in ("", "_1000")]
    text = published_results([find("vlae_static_mnist", test_nll=79.53), *others])
    _, source, ours, difference, unit = cells_of(text, "static MNIST, VLAE")
    assert (source, ours, unit) == ("79.03, Chen et al. 2016", "79.53 ± 0.62 †", "nats")
    assert difference == "+0.50 (1)"
    assert "\n1. static MNIST, VLAE: validation still fell by 0.07 nats in the last of 22" in text
    assert "K is 256, theirs 4096; 1000 test images, on which the VLAE of 60 epochs has " in text
    assert cells_of(text, "static MNIST, VLAE, longer")[2] == "79.77 ± 0.20 † 0.66 %"
    assert " †: for the given percentage" in text
    assert cells_of(text, "dynamic MNIST, no z")[2:4] == ["not run yet", "–"]


def test_a_reason_without_its_record_is_an_error_that_names_both():
    message = "static MNIST, VLAE: its note needs 'vlae_static_mnist_long_1000'"
    with pytest.raises(ValueError, match=message):
        published_results([find("vlae_static_mnist")])


def test_a_reason_takes_its_numbers_from_the_record():
    history = [{"total": 90.0, "kl": 3.0}, {"total": 87.0, "kl": 4.0}, {"total": 87.5, "kl": 4.25}]
    found = numbers({"epochs": 3, "test_examples": 10, "test_samples": 2, "history": history})
    assert found == {
        **{"epochs": 3, "images": 10, "samples": 2, "fall": -0.5, "rise": 0.25},
        **{"lowest": 87.0, "best": 2, "excess": 0.5},
    }
    assert numbers({"history": history[:1]}) == numbers({}) == {}, "one epoch has none before it"
    assert numbers({"history": [{"perplexity": 9.0}, {"perplexity": 8.0}]}) == {"perplexity": 8.0}


def test_every_record_beside_a_source_has_a_name_and_a_metric_of_its_own():
    keys = [(entry.record, entry.metric) for entry in RESULTS]
    assert len(set(keys)) == len(keys) == len({entry.title for entry in RESULTS})
    recorded = {r["name"]: r["metrics"] for r in RECORDS}
    for name, metric in keys:
        assert metric in recorded[name], name


def test_a_paired_difference_has_both_models_its_command_and_both_errors():
    models = [find(f"vlae_static_mnist{suffix}") for suffix in ("", "_gaussian")]
    runs = [record["metrics"]["settings"] for record in models]
    metrics = {"paired_difference": -0.9, "paired_difference_standard_error": 0.05}
    metrics |= {"unpaired_standard_error": 0.87, "correlation": 0.99, "images": 1000}
    metrics["settings"] = {"models": runs}
    text = paired([{"metrics": metrics, "command": "python benchmarks/paired_runs.py a b"}])
    names = [f"vlae, PixelCNN decoder, {prior} prior" for prior in ("flow", "Gaussian")]
    row = f"| {' | '.join(names)} | **-0.90** ± 0.05 | ± 0.87 | 0.990 | 1000 |"
    assert row in text
    assert "\npython benchmarks/paired_runs.py a b\n" in text


def test_the_commands_of_the_page_can_be_run_in_its_order():
    """A folder is trained into once, and evaluated or compared only after that."""
    made: set[str] = set()
    for line in tables.results_page(RECORDS).splitlines():
        words = line.split() if line.startswith(("diptych ", "python ")) else []
        written = {b for a, b in pairwise(words) if a in ("--out", "--per-image")}
        read = {word for word in words if word.startswith("runs/")} - written
        assert read <= made and not written & made, line
        made |= written
    assert len(made) > 30


def test_a_result_does_not_tell_where_the_data_lie():
    fields = dict.fromkeys(("name", "command", "device"), "") | {"seed": 0, "time_s": 0}
    fields |= {"metrics": {}, "data": "ptb: 2 train words, read from /home/me, and more: ptb.txt"}
    assert results.complete("file", **fields)["data"] == "ptb: 2 train words"


def test_a_run_of_two_rows_is_trained_once():
    """Its folder refuses a second training, so that all commands together could not be run."""
    two = ["train a", "train b", "train b", "evaluate a b"]
    lines = commands([("one", ["train a", "evaluate a"]), ("two", two)]).splitlines()
    assert lines[1:-1] == ["# one", "train a", "evaluate a", "# two", "train b", "evaluate a b"]


def test_rows_of_one_name_share_the_comment_of_their_commands():
    lines = commands([("one", ["train"]), ("one", ["evaluate"]), ("two", ["a"]), ("one", ["b"])])
    assert lines.splitlines()[1:-1] == ["# one", "train", "evaluate", "# two", "a", "# one", "b"]


def test_posterior_collapse_has_each_number_in_its_column():
    run = {"nll": 18.524, "nll_standard_error": 0.22, "least_effective_samples": 1.0, "kl": 6.236}
    run |= {"pixels": 69, "rmse": 0.3286, "free_nats": 6.4, "seconds": 82.4}
    metrics = {"collapse": {"raster": run}, "epochs": 60, "samples": 64}
    text = collapse([{"metrics": metrics, "data": "digits: 9", "command": "c"}])
    assert "| raster | 69 | 6.4 | **6.24** | 0.329 | 18.52 ± 0.22 † | 82 s |" in text


def test_a_run_evaluated_on_the_validation_set_is_on_the_page():
    record = find("vlae_static_mnist")
    metrics = record["metrics"]
    for name in [name for name in metrics if name.startswith("test_")]:
        metrics[name.replace("test_", "valid_", 1)] = metrics.pop(name)
    assert " | 256 × 1000 of valid | " in tables.results_page([record])


def test_two_evaluations_of_one_run_are_told_apart_by_their_files():
    row = paired([find("vlae_caltech_final_k4096_less_256")]).splitlines()[4]
    names = [cell.strip() for cell in row.split("|")[1:3]]
    assert [name.rpartition(", ")[2] for name in names] == ["caltech4096", "caltech256"]


def test_the_best_perplexity_of_the_readme_is_that_of_one_run():
    """Neither the average of several runs, which is lower, nor the last record in the list."""
    averaged = find("lstm_zaremba_small", runs=2, test_perplexity=95.0)
    best, other = (find("lstm_zaremba_small", test_perplexity=p) for p in (110.2, 115.0))
    assert "| `lstm` | 110.2 perplexity, ptb |" in tables.summary([averaged, best, other])


def test_the_best_epoch_in_a_table_is_that_of_validation():
    """The last epoch has the lowest training perplexity, the second the lowest of validation."""
    curve = {"epoch": [1, 2, 3], "train": [90.0, 50.0, 40.0], "valid": [80.0, 60.0, 70.0]}
    metrics = {"best_valid_perplexity": 60.0}
    metrics |= {"curves": {"per_step": curve | {"rate": 0.3, "seconds": 120}}}
    metrics |= {"model": {"num_layers": 2, "hidden_dim": 5}, "run": {"epochs": 3}}
    record = {"name": "toy", "metrics": metrics, "command": "diptych", "data": "toy"}
    page = tables.results_page([record])
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


def test_figures_of_the_site_belong_to_sections_that_the_page_has():
    titles = [section.title for section in sections(RECORDS)]
    for title, names in FIGURES.items():
        assert title in titles
        assert all((ROOT / "docs" / f"{name}.png").is_file() for name in names)


@pytest.mark.parametrize("text", ["", "<!-- results -->"])
def test_a_page_without_marks_is_an_error(text):
    with pytest.raises(ValueError, match="lacks the marks"):
        tables.with_tables(text, "")
