"""The examples of docs/strangers.md run, their faults are named, and its table was measured."""

import inspect
import json
import re
from pathlib import Path

import pytest

from diptych.parity import assert_parity

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/strangers.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```\n", PAGE, re.DOTALL))
FAULTS = {
    "test_affine.py": ("dout.sum(axis=0)", "dout.mean(axis=0)", "b: parameter gradient"),
    "test_dense.py": ("dLdY * (1 - ", "dLdY * (2 - ", r"forward\(X\): input gradient"),
    "test_silu.py": ("jax.nn.silu(x", "jax.nn.gelu(x", "forward: output"),
    "test_fused.py": ("k.mT / 2", "k.mT / 3", "forward: output"),
    "test_compiled.py": ("copy.deepcopy(model)", "copy.deepcopy(model)[:2]", "forward"),
}


def run(code):
    """Run each test function of a block."""
    namespace = {"__name__": "block"}
    exec(code, namespace)
    tests = [function for name, function in namespace.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test(*[assert_parity for _ in inspect.signature(test).parameters])


def test_every_example_has_a_planted_fault():
    assert FILES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FILES)
def test_an_example_of_the_page_agrees(name):
    run(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_a_fault_in_an_example_of_the_page_is_named(name):
    code, faulty_code, place = FAULTS[name]
    assert FILES[name].count(code) == 1
    with pytest.raises(AssertionError, match=place):
        run(FILES[name].replace(code, faulty_code))


def test_the_table_of_the_page_is_the_measured_one():
    results = json.loads((ROOT / "benchmarks/results/strangers.json").read_text())["metrics"]
    columns = ["adapter lines", "lines with taps", "faults", "detected", "located"]
    expected = {name: [str(row[c]) for c in columns] for name, row in results["pairs"].items()}
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name: cells.split(" | ") for name, cells in rows} == expected
    total = results["total"]
    assert f"| all | | | {total['faults']} | {total['detected']} | {total['located']} |" in PAGE
