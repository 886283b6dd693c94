"""Planted faults: their list, what is recorded of them, and the places where they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.recorded_faults import REAL, record_once

from diptych import pairs
from diptych.site.breaks.excerpt import mark_differences
from diptych.site.breaks.fault import Fault, FaultError, read_faults
from diptych.site.breaks.page import make_card, write_break_page
from diptych.site.breaks.places import Places
from diptych.site.breaks.record import ROOT, Recorded
from diptych.site.look import jinja_environment
from diptych.site.sources.highlight import code_lines
from diptych.site.sources.page import SourcePage
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

FAULTS = read_faults()
ENTRY = """
[[fault]]
name = "n"
title = "t"
why = "w"
sign = "s"
pair = "rnn"
expect = "x"
[[fault.edit]]
file = "numpy_ref/rnn.py"
old = "a"
new = "b"
"""


@pytest.fixture(scope="module")
def pages() -> list[SourcePage]:
    return [read_page(file) for file in twin_files()]


@pytest.fixture(scope="module")
def places(pages: list[SourcePage]) -> Places:
    return Places(pages)


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Recorded]:
    folder = tmp_path_factory.getbasetemp()
    return record_once(folder.parent if hasattr(request.config, "workerinput") else folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_can_be_planted_and_shown(fault: Fault, places: Places) -> None:
    assert fault.texts(ROOT)
    for pair in (fault.pair, *fault.also):
        pairs.find(pair)
    for edit in fault.edits:
        assert edit.old != edit.new
        assert places.of_edit(edit), f"{edit.file}: no page shows its line"
    if fault.witness:
        file, _, test = fault.witness.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text()


def test_the_faults_are_spread_over_models_panels_and_kinds() -> None:
    assert len(FAULTS) >= 20
    assert {fault.model for fault in FAULTS} == set(pairs.PAIRS)
    assert {fault.panels for fault in FAULTS} == {"left", "right", "both"}
    for panel in ("left", "right"):
        assert sum(fault.panels == panel for fault in FAULTS) >= 5
    assert sum(fault.panels == "both" and bool(fault.witness) for fault in FAULTS) >= 2
    unseen_in_float32 = [f for f in FAULTS if f.expect and f.float32 == "agrees"]
    assert len(unseen_in_float32) >= 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('why = "w"\n', "", "n: keys missing, unknown or empty: ['why']"),
        ('why = "w"\n', 'why = "w"\nwhat = 1\n', "['what']"),
        ('expect = "x"\n', "", "expect"),
        ('old = "a"\n', "", "['old']"),
        ('expect = "x"', 'expect = "x"\nfloat32 = "maybe"', "['float32']"),
    ],
)
def test_an_entry_that_is_no_fault_is_named(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(ENTRY)
    assert read_faults(file)[0].name == "n"
    file.write_text(ENTRY.replace(old, new))
    with pytest.raises(FaultError) as error:
        read_faults(file)
    assert message in str(error.value)


def test_two_faults_of_one_name_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(ENTRY + ENTRY)
    with pytest.raises(FaultError, match="several faults"):
        read_faults(file)


def test_a_planted_fault_diverges_where_it_should(recorded: dict[str, Recorded]) -> None:
    gate = recorded["wrong-gate"]
    assert not gate.problem
    assert gate.first and gate.first["name"] == "lstm.layer[0]"
    assert gate.report["first_in_words"].startswith("lstm.layer[0]: output off by")
    results = {(other["name"], other["dtype"]): other["ok"] for other in gate.others}
    assert results == {
        ("lstm", "float32"): False,
        ("lstm[per_step]", "float64"): False,
        ("rnn", "float64"): True,  # it has no gates
    }


def test_a_fault_that_float32_cannot_see_is_seen_in_float64(
    recorded: dict[str, Recorded],
) -> None:
    constant = recorded["rounded-constant"]
    assert not constant.problem and not constant.report["ok"]
    assert constant.others[0]["dtype"] == "float32" and constant.others[0]["ok"]


def test_a_fault_in_both_panels_stays_green_and_its_witness_fails(
    recorded: dict[str, Recorded],
) -> None:
    std = recorded["std-for-logvar"]
    assert not std.problem and std.report["ok"]
    assert std.test["failed"] == std.fault.witness
    assert "assert" in std.test["message"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-effect", "mlp_vae stays green; it should diverge in reparameterize"),
        ("not-in-the-file", "numpy_ref/mlp_vae.py: old 'std = exp(' occurs 0 times, takes 1"),
        ("no-python", "SyntaxError"),
        ("elsewhere", "the first divergence is posterior.reparameterize, not reparameterize"),
        ("not-noticed", "test_mlp_vae_left_equals_right passes and should fail"),
    ],
)
def test_a_fault_with_another_effect_is_a_problem_that_is_named(
    name: str, message: str, recorded: dict[str, Recorded]
) -> None:
    problem = recorded[name].problem
    assert problem.startswith(f"{name}: ") and message in problem


def test_the_checkout_itself_is_not_changed(recorded: dict[str, Recorded]) -> None:
    for name in REAL:
        recorded[name].fault.texts(ROOT)  # raises if the old text is gone


def test_the_first_divergence_is_found_from_the_model_inwards(
    recorded: dict[str, Recorded], places: Places
) -> None:
    gate = make_card(recorded["wrong-gate"], places)
    assert [link.text for link in gate.trail] == [
        "LSTM.features",
        "Recurrent.forward",
        "Recurrent.layer",
    ]
    assert gate.trail[0].address.startswith("lstm.html?broken=wrong-gate#LSTM.features.")
    assert [link.text for link in gate.planted] == ["lstm_cell"]
    constant = make_card(recorded["rounded-constant"], places)
    assert [link.text for link in constant.trail] == ["MLPVAE.loss", "Gaussian.nll"]


def test_an_excerpt_shows_the_line_before_and_after(
    recorded: dict[str, Recorded], places: Places
) -> None:
    (excerpt,) = make_card(recorded["wrong-gate"], places).excerpts
    (row,) = [row for row in excerpt.rows if row.faulty]
    assert 'class="ln del"' in row.left and 'class="ln ins"' in row.left
    assert row.left.index("ln del") < row.left.index("ln ins")
    assert "<mark>" in row.left and 'id="' not in row.left
    assert "ln ins" not in row.right and "chunk" in row.right


def test_the_page_has_a_card_for_each_fault_and_its_problem(
    recorded: dict[str, Recorded], pages: list[SourcePage], tmp_path: Path
) -> None:
    environment = jinja_environment()
    write_break_page(tmp_path, environment, pages, list(recorded.values()))
    html = (tmp_path / "pages/break.html").read_text()
    for name in recorded:
        assert f'<article class="fault" id="{name}"' in html
    assert "lstm.layer[0]: output off by 1.5e+00" in html
    assert "diptych check &#39;lstm&#39; --dtype float64 --device cpu -v" in html
    assert "occurs 0 times" in html

    script = (tmp_path / "assets/breaks.js").read_text()
    marks = json.loads(script.removeprefix("window.BREAKS = ").rstrip().removesuffix(";"))
    assert marks["wrong-gate"]["first"].startswith("lstm.layer[0]: output off by")
    kinds = [(slug, kind) for slug, _, kind, *_ in marks["wrong-gate"]["marks"]]
    assert kinds == [
        ("lstm", "planted"),
        ("lstm", "call"),
        ("recurrent.network", "call"),
        ("recurrent.network", "first"),
    ]


def test_marks_of_a_changed_line_leave_signs_and_spans_whole() -> None:
    texts = ("y = -x if a > b else c", "y = -x if a < b else d")
    marked = mark_differences(*(code_lines(text, "left")[0] for text in texts))
    for text, html in zip(texts, marked, strict=True):
        parsed = ElementTree.fromstring(f"<p>{html}</p>")
        assert "".join(parsed.itertext()) == text
        assert ["".join(mark.itertext()) for mark in parsed.iter("mark")] == [text[12], text[-1]]
