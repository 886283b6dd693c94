"""The snippets of the pages about parity run as they are printed there."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("parity.md", "ci.md", "report.md", "strangers.md", "findings.md")
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def snippets(page):
    """(file name or "", code, printed output) of each Python block of a page."""
    blocks = BLOCK.findall((DOCS / page).read_text())
    names = [re.match(r"(?:# (\w+\.py)\n)?", code)[1] or "" for code, _ in blocks]
    return [(name, *block) for name, block in zip(names, blocks, strict=True)]


PROGRAMS = [(code, output) for page in PAGES for name, code, output in snippets(page) if not name]


@pytest.mark.parametrize(("code", "expected"), PROGRAMS)
def test_each_snippet_prints_what_the_page_shows(code, expected):
    assert expected
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {"__name__": "snippet"})
    assert output.getvalue() == expected


def test_the_pairs_of_the_page_agree_and_a_fault_is_located(tmp_path):
    files = {name: code for name, code, _ in snippets("ci.md") if name}
    assert set(files) == {"test_gated.py", "test_denoiser.py", "test_registry.py"}
    files["test_faulty.py"] = files["test_gated.py"].replace("dy * t * s * (1 - s)", "dy * t * s")
    assert files["test_faulty.py"] != files["test_gated.py"]
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 6 passed" in result.stdout, result.stdout
    assert "FAILED test_faulty.py::test_gated" in result.stdout
    assert "AssertionError: Gated: gate(g): input gradient off by " in result.stdout


@pytest.mark.parametrize("page", PAGES)
def test_no_cell_of_a_table_is_wider_than_80_characters(page):
    rows = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    assert all(len(cell.strip()) <= 80 for row in rows for cell in row.split("|"))
