"""The verdict of a report, and its text at the width of a terminal."""

import math
from dataclasses import replace

import pytest
from helpers.small_reports import (
    agreeing_row,
    failing_row,
    fault_in_the_middle,
    missing_row,
    report_of,
)

from diptych.parity.reports.verdict import fault, format_values


def test_the_verdict_names_the_tensor_its_error_its_element_and_what_inherits_from_it():
    assert fault_in_the_middle(28).verdict == (
        "pair: block2.act(x): input gradient off by 3.4e-01 (bound 1e-13) at [4, 1]: -0.673 for "
        "0.0; 28 more rows are propagated from it"
    )
    assert fault_in_the_middle(1).verdict.endswith("; 1 more row is propagated from it")
    assert fault_in_the_middle(0).verdict.endswith("-0.673 for 0.0")


def test_other_root_causes_are_counted_apart():
    rows = fault_in_the_middle(2).rows
    cause = failing_row("block0", origin="root cause")
    verdict = report_of(*rows, cause).verdict
    assert verdict.endswith("; 1 more row fails by itself, and 2 are propagated")
    verdict = report_of(failing_row("uniform", "noise"), failing_row("bits", "noise")).verdict
    assert verdict.endswith("; 1 more row fails by itself")


def test_the_verdict_names_the_root_cause_even_if_a_propagated_row_comes_first():
    early = failing_row("block0", origin="propagated")
    report = report_of(early, *fault_in_the_middle(2).rows)
    assert report.first_divergence is early and report.root_cause is report.blamed
    assert report.verdict.startswith("pair: block2.act(x): input gradient off by")


def test_without_a_root_cause_the_verdict_names_the_first_row_and_says_so():
    rows = [failing_row(name, origin="propagated") for name in "xyz"]
    assert report_of(*rows).root_cause is None
    verdict = report_of(*rows).verdict
    assert verdict.startswith("pair: x: output off by 3.4e-01")
    assert verdict.endswith(
        "; it is propagated, as are 2 more rows, and no compared call is at fault"
    )


INFINITE = {"error": math.inf}
SENTENCES = [
    (missing_row(), "gate: output is missing on the left"),
    (
        missing_row(note="shape (7, 3) on the left, (3, 7) on the right"),
        "gate: output has shape (7, 3) on the left, (3, 7) on the right",
    ),
    (
        failing_row("x", **INFINITE, values=(math.nan, 0.25), note="NaN or inf on the left"),
        "x: output has NaN or inf on the left at [4, 1]: nan for 0.25",
    ),
    (
        failing_row("mask", "noise", **INFINITE, note="3 of 21 differ", exact=True, values=(1, 0)),
        "mask: noise differs in 3 of 21 elements at [4, 1]: 1 for 0",
    ),
    (
        failing_row("w", "parameter gradient", note="unused: no gradient reached it on the right"),
        "w: parameter gradient is unused: no gradient reached it on the right",
    ),
    (
        failing_row(
            "w", "parameter gradient", **INFINITE, note="overwritten on the left: a second"
        ),
        "w: parameter gradient is overwritten on the left: a second",
    ),
    (
        failing_row("x", **INFINITE, values=(2.0, 0.0)),
        "x: output differs from a reference of zeros at [4, 1]: 2.0 for 0.0",
    ),
    (
        failing_row("x", note="the right panel is off", bound=2.4e-6),
        "x: output off by 3.4e-01 (bound 2.4e-06) at [4, 1]: -0.673 for 0.0 "
        "(the right panel is off)",
    ),
    (
        failing_row("x", bound=1e-9, loosened=True),
        "x: output off by 3.4e-01 (bound 1e-09, loosened by hand) at [4, 1]: -0.673 for 0.0",
    ),
    (
        failing_row("loss", shape=(), index=(), bound=0.0),
        "loss: output off by 3.4e-01 (bound 0): -0.673 for 0.0",
    ),
    (
        failing_row("x", **INFINITE, index=None, note="of an unknown kind"),
        "x: output: of an unknown kind",
    ),
]


@pytest.mark.parametrize(("row", "sentence"), SENTENCES, ids=lambda value: str(value)[:30])
def test_each_kind_of_fault_reads_as_a_sentence(row, sentence):
    assert fault(row) == sentence
    assert report_of(row).verdict == f"pair: {sentence}"


@pytest.mark.parametrize(
    ("a", "b", "texts"),
    [
        (-0.67312, 0.0, ("-0.673", "0.0")),
        (1.0 + 1e-14, 1.0, ("1.00000000000001", "1.0")),
        (1.0, 1.0 + 2**-52, ("1.0", "1.0000000000000002")),
        (0.1234567, 0.1234599, ("0.1234567", "0.1234599")),
        (1e300, -1e300, ("1e+300", "-1e+300")),
        (5e-324, 0.0, ("4.94e-324", "0.0")),
        (1234567.0, 1234568.0, ("1234567.0", "1234568.0")),
        (math.nan, 1.0, ("nan", "1.0")),
        (0.0945119, math.nan, ("0.0945", "nan")),
        (math.inf, -math.inf, ("inf", "-inf")),
    ],
)
def test_two_values_are_printed_with_digits_that_show_their_difference(a, b, texts):
    assert format_values(a, b) == texts
    assert texts[0] != texts[1]


def test_a_problem_is_the_verdict_whatever_the_rows_say():
    problem = "right is not deterministic: two runs\n differ in dropout by 1.3e+00"
    for rows in ((), (agreeing_row("x"),), (failing_row("x"),)):
        report = report_of(*rows, problem=problem)
        assert not report.ok
        assert report.verdict == (
            "pair: right is not deterministic: two runs differ in dropout by 1.3e+00"
        )
        assert str(report).splitlines()[0] == report.verdict


def test_a_report_without_compared_tensors_is_not_a_success():
    report = report_of()
    assert not report.ok and report.verdict == "pair: nothing was compared"
    weight = agreeing_row("weight", "parameter")
    report = report_of(weight, not_compared=("forward (returns an object)",))
    assert not report.ok
    assert report.verdict == "pair: nothing was compared; forward (returns an object)"
    verdict = report_of(failing_row("weight", "parameter")).verdict
    assert verdict.endswith("; nothing but parameters was compared")


def test_agreement_says_how_many_tensors_and_what_weakens_it():
    rows = [agreeing_row("a"), agreeing_row("b", error=3e-14)]
    assert report_of(*rows).verdict == (
        "pair: all 2 tensors agree; worst b, output, off by 3.0e-14 (bound 1e-13)"
    )
    loose = replace(rows[1], bound=1e-9, loosened=True)
    report = report_of(rows[0], loose, not_compared=("dropout (only on the right)",))
    assert report.ok
    assert report.verdict.endswith("; 1 bound loosened by hand; 1 not compared")
    equal = [replace(row, error=0.0) for row in rows]
    assert report_of(*equal).verdict == "pair: all 2 tensors agree exactly"


def test_the_brief_report_shows_failing_rows_between_two_agreeing_ones():
    text = fault_in_the_middle(30).brief(80)
    names = [line.split()[0] for line in text.splitlines() if line.endswith(("ok", "propagated"))]
    assert names[:2] == ["block2.act", "block2.act.scale"]
    assert names[2:] == [f"block1.layer{i}" for i in range(5)]
    assert "25 failing rows are left out; report.full() and pytest -vv show all" in text
    # one row more than the limit takes no more space than the line that counts it
    assert "left out" not in fault_in_the_middle(6).brief(80)


def test_the_full_report_shows_every_row():
    report = fault_in_the_middle(30)
    lines = report.full(80).splitlines()
    rows = [line for line in lines if line.endswith(("ok", "root cause", "propagated"))]
    assert len(rows) == len(report.rows) and "left out" not in report.full(80)


def test_the_note_of_a_row_and_a_bound_set_by_hand_stand_in_its_last_cell():
    note = "2 elements are infinite on both sides"
    row = agreeing_row("scores", note=note, bound=1e-9, loosened=True)
    assert f"  1e-09  ok, {note}, loosened by hand" in report_of(row).full(140)
    row = failing_row("gate", origin="propagated", note="the right panel is off")
    assert "FAIL propagated, the right panel is off" in report_of(row).full(140)


def test_the_report_tells_the_values_the_statistics_the_sources_and_how_to_repeat_it():
    options = {"rename": {"a": "b"}, "bound": 1e-9}
    text = fault_in_the_middle(
        key="Key(3)",
        runs={"left": 2, "right": 2},
        options=options,
        reproducer="diptych compare case.safetensors",
        not_compared=("dropout (only on the right)", "mask (an integer)"),
    ).brief(80)
    for line in (
        "block2.act(x), input gradient",
        "  left        -0.67312  at [4, 1]",
        "  in ulp      median 3, 99 % 4e+14, max 5e+15",
        "  left code   left.py:12",
        "  right code  right.py:34",
        "reproduce with: diptych compare case.safetensors",
    ):
        assert line in text.splitlines()
    assert "options: rename={'a': 'b'}, bound=1e-09" in text and "runs: left 2, right 2" in text
    assert "key Key(3)" in text
    last = text.splitlines()[-1]
    assert last == "not compared: dropout (only on the right); mask (an integer)"


def test_values_of_an_arbitrated_comparison_are_not_called_left_and_right():
    text = fault_in_the_middle(dtype="float32").brief(80)
    assert "  compared    -0.67312" in text and "  reference   0.0" in text


def test_a_successful_report_is_its_verdict_and_its_circumstances():
    report = report_of(agreeing_row("a"), agreeing_row("b"), not_compared=("c (frozen)",))
    lines = str(report).splitlines()
    assert lines == [report.verdict, "", "2 rows, float64 on cpu", "not compared: c (frozen)"]


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_no_name_is_cut_and_no_table_is_wider_than_the_terminal(width):
    long = "encoder.blocks.10.attention.projection[output](query_key_value)"
    row = failing_row(long, "parameter gradient", origin="root cause")
    text = report_of(agreeing_row("[red]"), row, agreeing_row("b")).brief(width)
    assert long in text.replace("\n", "").replace(" ", "") and "[red]" in text
    verdict, *lines = text.splitlines()
    assert all(len(line) <= width for line in lines if not line.startswith(long))
    assert long in verdict


def test_at_80_columns_shapes_and_then_bounds_give_way_before_rows_are_broken():
    assert "[7, 3]" in fault_in_the_middle().brief(80)
    for name, cells in (
        ("block2.attention.bias", "parameter gradient  3.4e-01  1e-13  FAIL root cause"),
        ("block2.attention.projection.bias", "parameter gradient  3.4e-01  FAIL root cause"),
    ):
        row = failing_row(name, "parameter gradient", origin="root cause")
        text = report_of(agreeing_row("x"), row).brief(80)
        assert f"{name}  {cells}" in text and "shape" not in text


def test_the_width_is_that_of_the_terminal(monkeypatch):
    name = "block2.attention.projection.bias"
    report = report_of(failing_row(name, "parameter gradient", origin="root cause"))
    monkeypatch.setenv("COLUMNS", "200")
    assert str(report) == report.brief(200) != report.brief(80)
    monkeypatch.setenv("COLUMNS", "80")
    assert str(report) == report.brief(80)


def test_long_lines_are_broken_at_spaces_and_lose_no_word():
    names = [f"encoder.block{i}.weight" for i in range(20)]
    report = report_of(failing_row("a", origin="root cause"), options={"ignore": names})
    text = report.full(50)
    assert all(len(line) <= 50 for line in text.splitlines()[1:])
    assert all(name in text for name in names)
