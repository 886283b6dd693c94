"""Write the example reports of this folder anew:    python docs/reports/make.py

The pair is in residual.py. pytest runs it 80 columns wide, as in a pipe; nothing that names a
machine or a time is kept, so that the files change only if a report does.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CHANGING = {
    r' timestamp="[^"]*"': "",
    r' hostname="[^"]*"': "",
    r'\btime="[\d.]*"': 'time="0"',
    r"\bin \d+\.\d+s": "in 1.00s",
    r"[^\s\"<>]*/site-packages/": "site-packages/",
    re.escape(f"{FOLDER.parents[1]}/"): "",
    r"\b(openblas|mkl) ([\d.]+) \w+": r"\1 \2",  # the kernels of a processor
}
"""Patterns that differ between two runs -> what stands in their place."""


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "residual.py").write_text((FOLDER / "residual.py").read_text())
        options = ("--junit-xml=junit.xml", "--parity-summary=summary.md", "--parity-reports=all")
        write("pytest.txt", run_pytest(folder, *options))
        for name in ("junit.xml", "summary.md"):
            write(name, (folder / name).read_text())
        for suffix in (".json", ".html"):
            (path,) = (folder / "all").glob(f"*faulty*{suffix}")
            write(f"report{suffix}", path.read_text())
        write("report.txt", report_text(folder))


def run_pytest(folder: Path, *options: str) -> str:
    """The output of pytest, without its plugins but diptych's and without colours."""
    if not any(e.name == "diptych" for e in importlib.metadata.entry_points(group="pytest11")):
        sys.exit("make.py: diptych is not installed, takes `pip install -e .`")
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "BUILD_NUMBER")}
    environment |= {"COLUMNS": "80", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "diptych.parity.plugin", *options, "residual.py"]
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 1:
        sys.exit(f"make.py: pytest ended with {result.returncode}, takes 1\n{result.stderr}")
    return result.stdout


def report_text(folder: Path) -> str:
    """The two texts of the faulty pair's report, and its Markdown."""
    code = (
        "import residual; from diptych import parity;"
        "report = parity.compare(*residual.faulty_residual('float64'), residual.X);"
        "print('# str(report)\\n'); print(report);"
        "print('# report.full()\\n'); print(report.full());"
        "print('# report.to_markdown()\\n'); print(report.to_markdown(), end='')"
    )
    environment = os.environ | {"COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def write(name: str, text: str) -> None:
    """Write a file of this folder without what changes from run to run."""
    for pattern, replacement in CHANGING.items():
        text = re.sub(pattern, replacement, text)
    lines = [line.rstrip() for line in text.splitlines()]
    (FOLDER / name).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
