"""The snippets of docs/parity.md and docs/findings.md run as they are printed there."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"<!-- (\S+) -->\n```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def blocks(page, label):
    """(code, printed output) of each marked block of a page."""
    return [
        (code, out) for name, code, out in BLOCK.findall((DOCS / page).read_text()) if name == label
    ]


@pytest.mark.parametrize(("page", "label"), [("parity.md", "report"), ("findings.md", "findings")])
def test_each_snippet_prints_what_the_page_shows(page, label):
    namespace = {"__name__": "snippets"}
    snippets = blocks(page, label)
    assert snippets
    for code, expected in snippets:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, namespace)
        assert output.getvalue() == expected


def test_the_pairs_of_the_page_agree_and_a_fault_is_located(tmp_path):
    code = "\n".join(code for code, _ in blocks("parity.md", "test_gated.py"))
    faulty = code.replace("dy * t * s * (1 - s)", "dy * t * s")
    assert faulty != code
    (tmp_path / "test_gated.py").write_text(code)
    (tmp_path / "test_faulty.py").write_text(faulty)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 3 passed" in result.stdout, result.stdout
    assert "FAILED test_faulty.py::test_gated" in result.stdout
    assert "first divergence: input gradient gate(g): relative error" in result.stdout


@pytest.mark.parametrize("page", ["parity.md", "findings.md"])
def test_no_cell_of_a_table_is_wider_than_80_characters(page):
    rows = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    assert all(len(cell.strip()) <= 80 for row in rows for cell in row.split("|"))
