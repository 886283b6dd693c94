"""Code that was not written for this project is compared with torch, and its faults are located."""

import ast
import json

import measure
import pytest


@pytest.fixture(params=measure.FAULTS)
def pair(request):
    if request.param in measure.REQUIREMENTS:
        pytest.importorskip(measure.REQUIREMENTS[request.param])
    return request.param


def test_a_strangers_pair_agrees(pair):
    report = measure.report(pair)
    assert report.ok, str(report)
    assert any("gradient" in row.kind for row in report.rows)


def test_each_fault_is_detected_and_named_at_its_place(pair):
    results = list(measure.outcomes(pair))
    passes = [r for r in results if not r.detected]
    assert not passes
    misses = {r.faulty_code: r for r in results if not r.located}
    assert misses.keys() == measure.NOT_LOCATED.get(pair, {}).keys(), misses


def test_the_faults_are_many_and_nearly_all_are_located():
    faults = [(name, *fault) for name, table in measure.FAULTS.items() for fault in table]
    misses = sum(map(len, measure.NOT_LOCATED.values()))
    assert len(set(faults)) == len(faults) >= 100
    assert misses <= 0.05 * len(faults)


def test_an_adapter_has_few_lines(pair):
    """The lines beyond both implementations, as the formatter breaks them."""
    assert 0 < len(measure.adapter(pair)) <= measure.ADAPTER_LINES


@pytest.mark.parametrize("name", measure.FAULTS)
def test_both_implementations_are_independent_of_the_project(name):
    """Only `parity` is imported, for taps and for the comparison, and `weights` to copy them."""
    imports = [
        n for n in ast.walk(ast.parse(measure.source(name))) if isinstance(n, ast.ImportFrom)
    ]
    ours = [n for n in imports if n.module.split(".")[0] in ("diptych", "numpy_ref", "torch_impl")]
    assert [n.module for n in ours] == ["diptych"]
    assert {"parity"} <= {a.name for a in ours[0].names} <= {"parity", "weights"}


def test_the_recorded_faults_are_those_of_today(pair):
    """Run measure.py again after a change of a pair or of its faults."""
    recorded = json.loads(measure.RESULTS.read_text())["metrics"]["pairs"][pair]
    assert recorded["adapter lines"] == len(measure.adapter(pair))
    planted = [(f["code"], f["faulty_code"], f["place"]) for f in recorded["planted"]]
    assert planted == measure.FAULTS[pair]
