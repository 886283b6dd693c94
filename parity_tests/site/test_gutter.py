"""The gutter of a page: numbers of a real pair, and of one with a planted fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

import numpy_ref.lstm
from diptych.site.measured.extra_runs import OPTIMISERS, SCORE
from diptych.site.measured.measure import Measurements, measure_pages
from diptych.site.measured.page_measurements import MOST_ROWS, _closest
from diptych.site.sources.page import SourcePage, TwinFile
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

STEMS = ("rnn", "lstm", "recurrent/network", "nn/layers", "nn/optim", "score_function")
STEMS += ("probability/distributions", "nn/functional", "nn/averaging")
LOOP = "lstm[per_step,loop]"


@pytest.fixture(scope="module")
def pages() -> list[SourcePage]:
    return [read_page(file) for file in twin_files() if file.stem in STEMS]


def _measure(pages: list[SourcePage], *names: str) -> Measurements:
    return measure_pages(pages, Console(quiet=True), names=names, workers=1)


@pytest.fixture(scope="module")
def measured(pages) -> Measurements:
    return _measure(pages, "rnn", "rnn[variational_recurrent]", SCORE, OPTIMISERS)


def _rows(measured: Measurements, slug: str, variant: str) -> dict[str, list[list[Any]]]:
    page = measured.page(slug)
    assert page is not None
    return page.json["rows"][variant]


def _fails(row: list[Any]) -> bool:
    pairs = ((row[3], row[4]), (row[5], row[6]))
    return any(error is not None and not float(error) <= bound for error, bound in pairs)


def test_every_row_of_pairs_that_agree_is_within_its_bound(measured):
    """No partial gradient or unfinished array is compared with a whole one."""
    assert measured.ok, measured.problems
    for slug, page in measured.pages.items():
        for variant, places in page.json["rows"].items():
            for place, rows in places.items():
                assert not [row for row in rows if _fails(row)], (slug, variant, place)


def test_statements_and_gradients_have_errors_in_both_dtypes(measured):
    """The cell's new state, the gradients of its vjp and of its weights are compared."""
    rows = _rows(measured, "rnn", "rnn[variational_recurrent]")
    names = {
        (row[0], row[1])
        for place, group in rows.items()
        if place.startswith("rnn_cell")
        for row in group
        if row[3] is not None and row[5] is not None
    }
    assert {("return", "gradient")} <= names and len(names) >= 2
    layers = _rows(measured, "recurrent.network", "rnn[variational_recurrent]")
    kinds = {row[1] for group in layers.values() for row in group if row[3] is not None}
    assert kinds >= {"value", "gradient", "mask"}


def test_rows_of_the_report_stand_at_the_method_that_computes_them(measured):
    """`features` returns what the report calls "features[0]"."""
    names = [row[0] for row in _rows(measured, "rnn", "rnn")["RNN.features"]]
    assert "features[0]" in names


def test_returns_that_a_run_does_not_execute_have_no_row(pages, measured):
    """Without a mask, Dropout.forward returns x as it came; x m is never computed."""
    rows = _rows(_measure(pages, "rnn"), "recurrent.network", "rnn")
    forward = {place: group for place, group in rows.items() if place.startswith("Dropout.forward")}
    (statement,) = (group for place, group in forward.items() if place != "Dropout.forward")
    assert {row[0] for row in statement} == {"x, unchanged", "dy, unchanged"}
    value = next(row for row in statement if row[1] == "value")
    count, evaluations = value[7:]
    assert 0 < evaluations < count, "the evaluations are not counted apart"
    masked = _rows(measured, "recurrent.network", "rnn[variational_recurrent]")
    product = [group for place, group in masked.items() if place.startswith("Dropout.forward.")]
    assert any(row[0] == "return" and len(row) == 8 for group in product for row in group)


def test_a_row_of_a_method_is_shown_with_both_dtypes_or_not_at_all():
    """The rows nearest to their bounds are chosen once, not in each dtype on its own."""
    rows = [[f"y{n}", "value", [2], n * 1e-16, 1e-13, (20 - n) * 1e-7, 2e-6] for n in range(20)]
    closest = _closest(rows)
    assert len(closest) == MOST_ROWS and all(row in rows for row in closest)
    assert [row[0] for row in closest] == [f"y{n}" for n in range(MOST_ROWS)]


def test_optimisers_and_the_score_function_have_runs_of_their_own(measured):
    """No loss of a pair reaches them."""
    for rule in ("SGD", "RMSprop", "Adam", "Adamax"):
        assert _rows(measured, "nn.optim", OPTIMISERS)[f"{rule}._update"]
    assert _rows(measured, "nn.averaging", OPTIMISERS)["PolyakAverage.update"]
    score = _rows(measured, "score_function", SCORE)
    assert any(row[3] is not None for row in score["log_q.3"])


def test_the_json_is_strict(measured):
    """NaN and inf are strings, and every verdict has its reproducer."""
    for page in measured.pages.values():
        json.dumps(page.json, allow_nan=False)
        json.dumps(page.values, allow_nan=False)
        for checks in page.json["verdicts"].values():
            assert all(check[4] for check in checks.values())


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, pages) -> Iterator[Measurements]:
    """The measurements of an LSTM whose cell takes the output gate for the new value g."""
    file = next(page.file for page in pages if page.file.stem == "lstm")
    assert file.left is not None
    text, path = file.left.read_text(), tmp_path_factory.mktemp("panel") / "lstm.py"
    assert text.count("c = f * c_prev + i * g\n") == 1
    path.write_text(text.replace("c = f * c_prev + i * g\n", "c = f * c_prev + i * o\n"))
    names: dict[str, Any] = {"__name__": "numpy_ref.lstm"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    changed = read_page(TwinFile("lstm", path, file.right))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_ref.lstm, "lstm_cell", names["lstm_cell"])
        yield _measure([changed if page.file.stem == "lstm" else page for page in pages], LOOP)


def test_a_planted_fault_is_red_at_its_statement(faulty):
    """The row of c is over its bound; that of the embedding before it is not."""
    assert not faulty.ok
    rows = _rows(faulty, "lstm", LOOP)
    cell = {
        row[0]: row
        for place, group in rows.items()
        if place.startswith("lstm_cell.")
        for row in group
        if row[1] == "value"
    }
    assert cell["c"][3] > 1e-3 > cell["c"][4]
    embedding = [
        row
        for place, group in _rows(faulty, "nn.layers", LOOP).items()
        if place.startswith("Embedding.forward")
        for row in group
        if row[1] == "value" and row[3] is not None
    ]
    assert embedding and not any(_fails(row) for row in embedding)


def test_the_verdict_names_the_tensor_and_the_command(faulty):
    """The page says what the report says."""
    page = faulty.page("lstm")
    assert page is not None and not page.ok
    verdict = page.json["verdicts"][LOOP]["float64"]
    assert "lstm" in verdict[0] and verdict[0] == page.verdict
    assert verdict[4] == f"diptych check '{LOOP}' --dtype float64 --device cpu -v"


def test_a_pair_that_raises_is_a_problem_of_its_page_and_the_build_goes_on(pages, monkeypatch):
    """The reason stands in the verdict."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken gate")

    monkeypatch.setattr(numpy_ref.lstm, "lstm_cell", broken)
    measured = _measure(pages, LOOP, "rnn")
    page = measured.page("lstm")
    assert page is not None and not measured.ok
    assert "broken gate" in page.json["verdicts"][LOOP]["float64"][0]
    assert measured.page("rnn") is not None
