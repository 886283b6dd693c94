"""The pytest plugin: verdicts in pytest's output and in JUnit XML, summaries, and `parity.pair`."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from torch import nn

from diptych import parity, weights
from numpy_ref.nn import Linear

PAIRS = """
import numpy as np
import pytest
import torch
from torch import nn

from diptych import parity, weights
from numpy_ref.nn import Linear, Module, Sequential

X = np.random.default_rng(0).normal(size=(7, 5))


class Double(Module):
    def __init__(self, factor):
        self._factor = factor

    def forward(self, x):
        return 2 * x, lambda dy: self._factor * dy


class TorchDouble(nn.Module):
    def forward(self, x):
        return 2 * x


def linear(dtype):
    left, right = Linear(5, 3, dtype=dtype), nn.Linear(5, 3).to(getattr(torch, dtype))
    weights.transfer(right, left)
    return left, right


@pytest.fixture
def factor():
    return 3


@parity.pair("line", inputs=[X, lambda: X[:1], parity.case((X,), name="last")],
             dtypes=("float64", "float32"))
def build_line(dtype):
    return linear(dtype)


@parity.pair("tripled", inputs=[X])
def build_tripled(dtype, factor):
    left = Sequential(Double(factor), Double(2), Double(2))
    return left, nn.Sequential(TorchDouble(), TorchDouble(), TorchDouble())


def test_in_the_test_itself(parity):
    parity(Double(3), TorchDouble(), X)


def test_that_fails_for_another_reason(parity):
    parity(Double(2), TorchDouble(), X, name="good")
    assert "a" * 200 == "b"
"""
VERDICT = "tripled-float64-0: 0(x): input gradient off by 5.0e-01 (bound 1e-13) at "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs")
    (path / "test_pairs.py").write_text(PAIRS)
    return path


def run_pytest(folder, *arguments, **variables):
    """Run pytest in the folder, 80 columns wide and not in a CI."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, "test_pairs.py"],
        cwd=folder,
        env={**environment, "COLUMNS": "80", **variables},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.fixture(scope="module")
def output(folder):
    """The output of one run that writes everything."""
    arguments = ["--junit-xml=junit.xml", "--parity-summary=out/s.md", "--parity-reports=reports"]
    return run_pytest(folder, "-p", "no:xdist", *arguments)


def test_every_case_of_a_pair_is_one_test_whatever_the_name_of_its_function(folder):
    names = run_pytest(folder, "--collect-only", "-q").splitlines()
    cases = [f"line-{dtype}-{i}" for dtype in ("float64", "float32") for i in range(3)]
    assert names[:6] == [f"test_pairs.py::build_line[{case}]" for case in cases]
    assert names[6] == "test_pairs.py::build_tripled[tripled-float64-0]"
    assert "9 tests collected" in names[-1]


def test_the_verdict_is_whole_in_the_error_and_in_the_summary_of_pytest(output):
    assert "3 failed, 6 passed" in output
    lines = output.splitlines()
    assert any(line.startswith(f"E   AssertionError: {VERDICT}") for line in lines)
    name = "FAILED test_pairs.py::build_tripled[tripled-float64-0]"
    (line,) = (line for line in lines if line.startswith(name))
    assert line.startswith(f"{name} - AssertionError: {VERDICT}")
    assert line.endswith(" [float64 on cpu]") and " for " in line
    # what is not a verdict is still cut
    (line,) = (line for line in lines if line.startswith("FAILED test_pairs.py::test_that"))
    assert len(line) <= 80


def test_vv_shows_every_row_and_a_ci_gets_the_whole_verdict_too(folder, output):
    full = run_pytest(folder, "-p", "no:xdist", "-k", "tripled", "-vv", CI="true")
    row = re.compile(r"0 +output +\[7, 5\] +0.0e\+00 +1e-13 +ok")
    assert row.search(full) and "FAIL root cause" in output and not row.search(output)
    (line,) = (line for line in full.splitlines() if line.startswith("FAILED"))
    assert f" - AssertionError: {VERDICT}" in line and line.count("AssertionError") == 1


def test_the_message_of_junit_is_the_verdict_alone(folder, output):
    root = ET.parse(folder / "junit.xml").getroot()
    messages = {
        case.get("name"): failure
        for case in root.iter("testcase")
        for failure in case.iter("failure")
    }
    assert len(messages) == 3
    failure = messages["build_tripled[tripled-float64-0]"]
    assert failure.get("message").startswith(f"AssertionError: {VERDICT}")
    assert "\n" not in failure.get("message") and "FAIL root cause" in failure.text
    other = messages["test_that_fails_for_another_reason"].get("message")
    assert other.startswith("AssertionError: assert 'aaa")


def test_the_summary_file_has_one_row_for_each_comparison_of_the_session(folder, output):
    text = (folder / "out" / "s.md").read_text()
    assert text.startswith("### Parity: 2 of 9 comparisons diverge\n")
    assert len([line for line in text.splitlines() if line.startswith("| ok ")]) == 7
    assert "| FAIL | tripled-float64-0 | float64 on cpu | " in text and "| last | " in text


def test_the_summary_is_appended_and_complete_if_workers_run_the_tests(folder):
    path = folder / "workers.md"
    path.write_text("before\n")
    output = run_pytest(folder, "-n", "2", f"--parity-summary={path}")
    assert f" - AssertionError: {VERDICT}" in output
    text = path.read_text()
    assert text.startswith("before\n### Parity: 2 of 9 comparisons diverge\n")
    assert text.count("### Parity") == 1


def test_every_comparison_may_be_written_as_json_and_html(folder, output):
    files = sorted(path.name for path in (folder / "reports").iterdir())
    assert len(files) == 2 * 9 + 2 and len({name.partition(".py")[0] for name in files}) == 1
    (name,) = (name for name in files if "tripled" in name and name.endswith(".json"))
    assert json.loads((folder / "reports" / name).read_text())["verdict"].startswith(VERDICT)
    assert (folder / "reports" / name.replace(".json", ".html")).read_text().startswith("<!doc")


def test_a_decorated_function_still_returns_the_pair():
    left, right = Linear(5, 3), nn.Linear(5, 3).double()
    weights.transfer(right, left)

    @parity.pair("line", inputs=[np.ones((2, 5))])
    def line(dtype):
        assert dtype == "float64"
        return left, right

    assert line("float64") == (left, right)
    assert line.__test__  # pytest collects it, whatever its name


def test_a_pair_without_inputs_or_with_a_wrong_function_is_refused():
    for arguments in (
        {"inputs": []},
        {"inputs": [1], "dtypes": ()},
        {"inputs": [1], "dtypes": "f"},
    ):
        with pytest.raises(ValueError, match=r"(inputs|dtypes): got .*, takes a list"):
            parity.pair("p", **arguments)

    @parity.pair("p", inputs=[np.ones(2)])
    def wrong(dtype):
        return None

    with pytest.raises(ValueError, match=r"p-float64-0: got None .* takes \(left, right\)"):
        wrong("float64", (0, np.ones(2)))


def test_floating_point_inputs_are_cast_to_the_dtype_and_others_are_not():
    arrays = []

    class Left(Linear):
        def forward(self, x, index):
            arrays.append((x.dtype, index.dtype))
            return super().forward(x)

    class Right(nn.Linear):
        def forward(self, x, index):
            return super().forward(x)

    case = parity.case((np.ones((2, 5)), np.arange(3)))

    @parity.pair("p", inputs=[case], dtypes=("float32",))
    def pair(dtype):
        left, right = Left(5, 3, dtype=dtype), Right(5, 3)
        weights.transfer(right, left)
        return left, right

    pair("float32", (0, case))
    assert (np.dtype("float32"), np.dtype("int64")) in arrays


def test_the_plugin_imports_neither_torch_nor_scipy():
    """pytest imports it in every project that has diptych installed."""
    code = (
        "import sys, diptych.parity.plugin, diptych.parity.cases;"
        "from diptych import parity; parity.pair, parity.case;"
        "assert not {'torch', 'scipy', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failing_pair_is_saved_as_a_case_that_compare_reruns(folder, output):
    (case,) = (folder / "reports").glob("*tripled*.safetensors")
    report = json.loads(case.with_suffix(".json").read_text())
    assert report["reproducer"] == f"diptych compare {case.relative_to(folder)}"
    again = parity.load_case(case).compare()
    assert not again.ok and again.root_cause.name == report["first_divergence"]["name"]
