"""benchmarks/faults.py: every planted fault must be noticed by its tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "faults.py"
FAULT = """
[[fault]]
name = "{name}"
tests = ["{test}"]
[[fault.edit]]
file = "numpy_ref/area.py"
old = "{old}"
new = "{new}"
"""


@pytest.fixture
def plant(tmp_path):
    """(faults as TOML) -> (exit status, output) of the runner on a checkout of one function."""
    (tmp_path / "numpy_ref").mkdir()
    (tmp_path / "parity_tests").mkdir()
    (tmp_path / "faults").mkdir()
    (tmp_path / "numpy_ref" / "__init__.py").write_text("")
    (tmp_path / "numpy_ref" / "area.py").write_text(
        "def area(width, height):\n    return width * height\n"
    )
    (tmp_path / "parity_tests" / "test_area.py").write_text(
        "from numpy_ref.area import area\n\n\ndef test_area():\n    assert area(2, 2) == 4\n"
    )

    def run(*faults):
        (tmp_path / "faults" / "all.toml").write_text("".join(faults))
        command = [sys.executable, str(SCRIPT), "--root", str(tmp_path)]
        command += ["--folder", str(tmp_path / "faults")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr

    return run


def fault(name, old="width * height", new="width", test="parity_tests/test_area.py"):
    return FAULT.format(name=name, old=old, new=new, test=test)


def test_the_gate_is_open_if_every_fault_is_noticed(plant):
    status, output = plant(fault("no height"), fault("no width", new="height"))
    assert status == 0, output
    assert "2 faults, 2 red" in output and "test_area.py::test_area" in output


def test_a_fault_that_no_test_notices_closes_the_gate(plant):
    """2 + 2 = 2 * 2: the test of the area cannot tell a sum from a product."""
    status, output = plant(fault("no height"), fault("a sum", new="width + height"))
    assert status == 1
    assert "a sum: green, parity_tests/test_area.py notice nothing" in output


def test_a_fault_that_cannot_be_planted_closes_the_gate(plant):
    status, output = plant(
        fault("twice", old="width", new="depth"),
        fault("absent", old="depth"),
        fault("no test", test="parity_tests/test_volume.py"),
        fault("no such test", test="parity_tests/test_area.py::test_volume"),
        fault("no change", new="width * height"),
    )
    assert status == 1 and "5 faults, 0 red" in output, output
    assert "twice: numpy_ref/area.py: old 'width' occurs 2 times, takes 1" in output
    assert "absent: numpy_ref/area.py: old 'depth' occurs 0 times, takes 1" in output
    assert "no test: parity_tests/test_volume.py does not exist" in output
    assert "no such test: pytest could not run" in output
    assert "no change: numpy_ref/area.py: old 'width * height' equals `new`" in output


def test_tests_that_fail_without_a_fault_close_the_gate(plant, tmp_path):
    """Otherwise a broken test would make every fault red."""
    (tmp_path / "parity_tests" / "test_area.py").write_text("def test_area():\n    assert False\n")
    status, output = plant(fault("no height"))
    assert status == 1 and "tests fail without any fault" in output


def test_every_planted_fault_fits_the_present_sources(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import faults  # noqa: PLC0415  # not a package that is installed

    shipped = faults.read_faults(ROOT / "benchmarks" / "faults")
    assert len(shipped) >= 100
    for entry in shipped:
        entry.texts(ROOT)  # raises FaultError unless each edit fits at one place
        for test in entry.tests:
            file, *names = test.split("::")
            assert (ROOT / file).exists(), f"{entry.name}: {file}"
            for name in names:
                text = (ROOT / file).read_text()
                assert f" {name.split('[')[0]}(" in text, f"{entry.name}: {test}"
