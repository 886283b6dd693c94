"""What the README says is what is so."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from diptych import pairs
from diptych.runs import results

README = results.README.read_text()


def test_the_example_is_run(tmp_path):
    """The pair of one's own, saved as a reader would save it, with a fault and without."""
    code = README.partition("<!-- example:")[2].partition("```python\n")[2].partition("```")[0]
    file = tmp_path / "test_example.py"
    for source, outcome in ((code, "1 passed"), (code.replace("** 2", "** 3"), "1 failed")):
        file.write_text(source)
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome in result.stdout, result.stdout
    assert "first divergence: input gradient activation(x)" in result.stdout


def test_the_tables_are_those_of_the_results():
    assert results.with_tables(README, results.render()) == README, "run `make results`"


def test_a_likelihood_stands_among_likelihoods(tmp_path):
    """Evaluated today an MLP VAE has an error of reconstructions too, and no image size."""
    record = results.read(results.FOLDER / "mlp_vae_static_mnist.json")
    before = results.render(results.FOLDER)
    for path in results.FOLDER.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record["metrics"]["test_rmse"] = 0.15
    (tmp_path / "mlp_vae_static_mnist.json").write_text(json.dumps(record))
    assert results.render(tmp_path) == before


def test_every_result_keeps_the_schema():
    for path in results.FOLDER.glob("*.json"):
        record = results.read(path)
        assert record["name"] == path.stem and record["commit"] and record["time_s"] > 0


def test_the_best_epoch_in_a_table_is_that_of_validation():
    """The last has the lowest training perplexity, and the second the lowest of validation."""
    curve = {"epoch": [1, 2, 3], "train": [90.0, 50.0, 40.0], "valid": [80.0, 60.0, 70.0]}
    metrics = {"curves": {"per_step": curve | {"rate": 0.3, "seconds": 120}}}
    metrics |= {"model": {"num_layers": 2, "hidden_dim": 5}, "run": {"epochs": 3}}
    record = {"metrics": metrics, "command": "diptych", "data": "toy"}
    row = results._regularised_table(record).splitlines()[-1]
    assert row == "| `per_step`, rate 0.3 | **60.0** (epoch 2) | 40.0 / 70.0 | 2.0 min |"


def test_the_side_by_side_is_the_code():
    """Each line of the two snippets stands in its file (annotations aside)."""
    for folder in ("numpy_ref", "torch_impl"):
        source = (results.README.parent / folder / "posteriors.py").read_text()
        bare = re.sub(r"(?<=\w): [\w.]+(?=[,)])|\s*->\s*[\w\[\], .]+(?=:\n)|\s|[()]", "", source)
        cells = README.partition("<table>")[2].partition("</table>")[0].split("```python\n")[1:]
        cell = cells[folder == "torch_impl"].partition("```")[0]
        for line in filter(str.strip, cell.splitlines()):
            assert re.sub(r"\s|[()]", "", line) in bare, line


def test_every_file_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (results.README.parent / target).exists(), target


def test_make_bench_finds_the_benchmarks():
    recipe = (results.README.parent / "Makefile").read_text().partition("\nbench:")[2]
    options = shlex.split(recipe.splitlines()[1].partition("pytest")[2])
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--collect-only", "-q"],
        # this test's own worker must not be taken for one of the benchmarks'
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        cwd=results.README.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0 and "bench_mlp_vae.py" in result.stdout, result.stdout


def test_pairs_keep_the_same_files_on_every_floor():
    for name in pairs.PAIRS:
        for folder in ("model_specs", "numpy_ref", "torch_impl", "parity_tests", "benchmarks"):
            prefix = {"parity_tests": "test_", "benchmarks": "bench_"}.get(folder, "")
            assert (results.README.parent / folder / f"{prefix}{name}.py").exists()


@pytest.mark.parametrize("text", ["", "<!-- results -->"])
def test_a_readme_without_marks_is_an_error(text):
    with pytest.raises(ValueError, match="lacks the marks"):
        results.with_tables(text, "")
