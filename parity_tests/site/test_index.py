"""The index of the site: verdicts, tests, reading order, the latest runs, recorded results."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import small_sites
from helpers.small_sites import Anchors, measurements, pages, write_home

from diptych import data, pairs
from diptych.pairs.meanings import MEANINGS, meaning
from diptych.runs.config import RunConfig
from diptych.runs.tables.markdown import END
from diptych.site.books.reading import notebooks
from diptych.site.home import reading, repository
from diptych.site.home.curves import drawing
from diptych.site.home.rows import source
from diptych.site.home.runs import trainings
from diptych.site.home.tests_of_files import count_tests
from diptych.site.home.verdicts import scientific, verdicts
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files
from diptych.training.train import train


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder with a training of both panels, as `diptych study` leaves one."""
    folder = tmp_path_factory.mktemp("out")
    digits = data.load("digits")
    model = vars(pairs.get("mlp_vae").for_data(digits, {"hidden_dim": 8})).copy()
    config = RunConfig("mlp_vae", model, "digits", dtype="float64", epochs=5, log_every=1)
    for backend in ("numpy", "torch"):
        train(replace(config, backend=backend), digits, folder / "mlp_vae" / backend)
    summary = {"trained": {"mlp_vae": {"writes": "seven <nine>"}}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "figures").mkdir()
    (folder / "figures" / "latent_scatter.png").write_bytes(b"")
    return folder


def measured(slug):
    return measurements("lstm") if slug in ("lstm", "nn.functional") else None


def test_each_page_stands_in_a_table_and_in_one_walk(tmp_path):
    index = write_home(tmp_path, measured=measured)["index.html"]
    for page in pages():
        links = Anchors(index).addresses.count(f"pages/{page.file.slug}.html")
        assert links >= 3, page.file.stem  # in the navigation, in a table, in a walk


def test_the_plans_name_files_that_are_there_and_no_file_twice():
    planned = [stem for plan in reading.PLANS for stem in plan.stems.split()]
    assert len(planned) == len(set(planned))
    assert set(planned) <= {file.stem for file in twin_files()}
    numbers = {reading.number(book) for book in notebooks()}
    assert {plan.notebook for plan in reading.PLANS} <= numbers


def test_a_file_that_no_plan_names_stands_in_the_last_walk(monkeypatch):
    monkeypatch.setattr(reading, "PLANS", reading.PLANS[:1])
    files = pages(("mlp_vae", "lstm"))
    first, rest = reading.walks(files, [])
    assert [page.file.stem for page in first.pages] == ["mlp_vae"]
    assert [page.file.stem for page in rest.pages] == ["lstm"]
    assert (
        first.minutes
        == reading.minutes(first.pages[0])
        == math.ceil(max(reading.lines(first.pages[0])) / reading.LINES_A_MINUTE)
    )


def test_lines_are_those_of_both_files():
    (page,) = pages(("lstm",))
    sizes = [len(path.read_text().splitlines()) for path in (page.file.left, page.file.right)]
    assert list(reading.lines(page)) == sizes


def test_a_page_of_a_model_answers_for_every_tensor_of_its_pair():
    result = verdicts(measurements("lstm[variational]"), "lstm")
    assert result["float64"].ok and result["float64"].tensors == 74
    assert result["float64"].text == "3.0e−16" and result["float32"].text == "2.0e−7"
    assert 0 < result["float64"].level < 1


def test_a_page_of_a_building_block_answers_for_its_own_rows_alone():
    diverging = measurements("lstm", verdict="diverges")
    assert not verdicts(diverging, "lstm")["float64"].ok
    assert verdicts(diverging, "nn/functional")["float64"].ok
    assert verdicts(diverging, "nn/functional")["float64"].tensors == 2
    far = measurements("lstm", error64=1e-9)
    assert not verdicts(far, "nn/functional")["float64"].ok


@pytest.mark.parametrize("error", ["inf", "nan"])
def test_an_infinite_error_is_no_agreement(error):
    result = verdicts(measurements("lstm", error64=error, verdict="diverges"), "lstm")
    assert not result["float64"].ok and result["float64"].text == error


def test_a_pair_that_diverges_is_named_with_the_command_that_reproduces_it(tmp_path):
    diverging = measurements("lstm", error64=4e-5, verdict="diverges")
    index = write_home(tmp_path, ("lstm",), lambda slug: diverging)["index.html"]
    assert "Pairs that diverge" in index and "diverges: 4.0e−5" in index
    assert "diptych check &#39;lstm&#39; --dtype float64 -v" in index
    assert "Pairs that diverge" not in write_home(tmp_path, ("lstm",), measured)["index.html"]


def test_a_worst_error_names_its_variant_and_leads_to_it(tmp_path):
    both = measurements("lstm")
    other = measurements("lstm[two windows]", error64=8e-16)
    for part in ("rows", "verdicts"):
        both[part] |= other[part]
    assert verdicts(both, "lstm")["float64"].variant == "lstm[two windows]"
    assert verdicts(both, "nn/functional")["float64"].variant == "lstm[two windows]"
    index = write_home(tmp_path, ("lstm", "nn/functional"), lambda slug: both)["index.html"]
    for page in ("lstm", "nn.functional"):
        address = f"pages/{page}.html?variant=lstm%5Btwo+windows%5D&dtype=float64"
        assert address in Anchors(index).addresses
    assert "8.0e−16" in index and 'title="the loss of two consecutive windows' in index


def test_every_variant_has_a_meaning_in_words_and_no_other_name_has():
    for name, pair in pairs.PAIRS.items():
        assert MEANINGS[name].keys() == pair.variants.keys()
    assert all(meaning(name) for name in pairs.names())
    assert meaning("lstm[unknown]") == meaning("left, right") == ""


def test_a_definition_without_a_twin_is_named(tmp_path, monkeypatch):
    (page,) = pages(("lstm",))
    first, *rest = page.definitions
    lone = replace(first, missing_twin="lstm.py: forget has no twin")
    torn = replace(page, definitions=(lone, *rest))
    monkeypatch.setattr(small_sites, "pages", lambda stems: [torn])
    assert "lstm.py: forget has no twin" in write_home(tmp_path, ("lstm",))["index.html"]


def test_without_a_check_the_index_says_that_nothing_was_measured(tmp_path):
    index = write_home(tmp_path)["index.html"]
    assert "not measured" in index and "Agrees" not in index


def test_both_curves_of_a_training_and_its_figures_are_shown(run_folder):
    index = write_home(run_folder, ("lstm",))["index.html"]
    assert index.count('class="numpy"') == index.count('class="torch"') == 1
    assert '<img loading="lazy" src="figures/latent_scatter.png"' in index
    assert "seven &lt;nine&gt;" in index and "<b>mlp_vae</b> on digits, float64" in index


def test_a_difference_of_the_two_trainings_is_seen_in_the_drawing(run_folder):
    (training,) = trainings(run_folder)
    assert training.steps[-1] == 5 * 11 and training.first_difference < 1e-10
    losses = dict(training.losses, torch=training.losses["torch"] * (1 + 1e-9))
    other = replace(training, losses=losses)
    assert other.first_difference == pytest.approx(1e-9, rel=1e-3)
    for each in (training, other):
        points = re.search(r'class="difference" points="([^"]*)"', drawing(each))[1]
        heights = np.array([float(point.split(",")[1]) for point in points.split()])
        bound = float(re.search(r'y1="([\d.]+)"[^>]*class="bound"', drawing(each))[1])
        assert (heights < bound).all() == (each is other)  # y grows downwards


def test_folders_that_hold_no_whole_training_are_passed_over(tmp_path, run_folder):
    for name, contents in (("torn", "{"), ("alone", "{}")):
        (tmp_path / name / "numpy").mkdir(parents=True)
        (tmp_path / name / "numpy" / "run.json").write_text(contents)
    assert trainings(tmp_path) == []
    assert "holds no trainings" in write_home(tmp_path, ("lstm",))["index.html"]


def test_every_address_of_the_index_and_of_the_results_leads_somewhere(run_folder):
    texts = write_home(run_folder, measured=measured)
    others = {f"pages/{page.file.slug}.html" for page in pages()}
    others |= {f"pages/{book.slug}.html" for book in notebooks()}
    others |= {"assets/site.css", "assets/site.js"}
    for name in ("index.html", "pages/results.html"):
        for address in Anchors(texts[name]).addresses:
            path, _, anchor = address.partition("#")
            path = path.partition("?")[0]
            if path.startswith("data:"):
                continue
            target = (run_folder / name).parent / path if path else run_folder / name
            inside = target.resolve().relative_to(run_folder.resolve()).as_posix()
            assert inside in others or target.is_file(), address
            if anchor and inside in texts:
                assert anchor in Anchors(texts[inside]).ids, address


def test_an_installed_package_says_that_it_lacks_tests_and_results(tmp_path, monkeypatch):
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    texts = write_home(tmp_path, ("lstm",))
    assert "an installed package has no tests" in texts["index.html"]
    for name in ("index.html", "pages/results.html"):
        assert "has no recorded results" in texts[name]


def test_the_results_hold_the_tables_of_the_documentation(tmp_path):
    results = write_home(tmp_path, ("lstm",))["pages/results.html"]
    record = repository.ROOT / "benchmarks" / "results" / "mlp_vae_static_mnist.json"
    nll = json.loads(record.read_text())["metrics"]["test_nll"]
    assert f"<strong>{nll:.2f}</strong> ± " in results and "Median milliseconds" in results
    tables, _, _ = (repository.ROOT / "docs/results.md").read_text().partition(END)
    titles = re.findall(r"^## (.*)", tables, re.M)
    assert len(titles) > 5 and all(title in results for title in titles)
    for path in re.findall(r'src="../(assets/\w+\.png)"', results):
        assert (tmp_path / path).is_file()


TESTS = {
    "conftest.py": "from numpy_ref.nn.layers import Linear\ndef layer():\n    return Linear(3, 2)",
    "helpers/nets.py": "from torch_impl import vlae as right\ndef small():\n    return right.VLAE",
    "test_a.py": """
from helpers.nets import small
from numpy_ref.nn import functional
from numpy_ref.lstm import LSTM as Model
PAIRS = ["rnn", "rnn[two windows]"]
def make():
    return Model
def test_function(): functional.relu(1)
def test_by_way_of_a_helper(): assert make()
def test_by_way_of_a_module(): assert small()
def test_names(): assert PAIRS
def test_nothing(): assert "lstm is only part of a sentence"
class TestGroup:
    def test_in_a_class(self): functional.tanh(1)
""",
}


def test_the_tests_of_a_file_are_those_that_name_it_also_by_way_of_a_helper(tmp_path):
    for name, text in TESTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    stems = ["nn/functional", "nn/layers", "lstm", "rnn", "vlae"]
    counts = count_tests(tmp_path, stems)
    assert counts == {"nn/functional": 2, "lstm": 1, "rnn": 1, "vlae": 1}


def test_every_model_is_named_by_tests_of_this_repository():
    folder = repository.folder("parity_tests")
    counts = count_tests(folder, [file.stem for file in twin_files()])
    assert all(counts[model] > 20 for model in pairs.PAIRS)


def test_the_source_of_a_file_ends_with_its_year():
    assert source('"""A net.\n\nSource: Chen et al., "On nets" (2016), arXiv 1."""') == (
        'Chen et al., "On nets" (2016)'
    )
    assert source('"""A net without a source."""') == ""


def test_numbers_have_two_digits_and_a_true_minus_sign():
    assert [scientific(x) for x in (0, 6.54e-16, 9e-6, 12.0, math.inf)] == [
        "0",
        "6.5e−16",
        "9.0e−6",
        "1.2e+1",
        "inf",
    ]


def test_each_model_has_a_title_of_its_own():
    titles = [read_page(file).title for file in twin_files() if not file.chapter]
    assert len(set(titles)) == len(titles)
