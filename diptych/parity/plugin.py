"""A pytest plugin that compares pairs of your own.

    def test_my_layer(parity):
        parity(MyNumpyLayer(), my_torch_layer, batch)

pytest loads it wherever diptych is installed, so torch is imported only on first use. Functions
that `parity.pair` decorates need no plugin: pytest collects them by their attribute `__test__`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from diptych.parity.reports.report import Report

PYTEST_MARGIN = 4
"""Columns that pytest puts before each line of an error."""

_sessions: list[Session] = []
"""The sessions of pytest in this process, the innermost last: `assert_parity` has no argument for
its session, because it may be called without the fixture."""


def assert_parity(
    left: Any, right: Any = None, batch: Any = None, noise: Any = None, **options: Any
) -> Report:
    """Compare a pair with `diptych.parity.compare`, and raise AssertionError if a tensor differs.

    Takes and returns what `compare` does. The first line of the error is the verdict; the failing
    rows follow, or with `pytest -vv` all rows.
    """
    __tracebackhide__ = True
    from diptych.parity.api import compare

    report = compare(left, right, batch, noise, **options)
    session = _sessions[-1] if _sessions else None
    if session is not None:
        stem = session.file_stem(report)
        if stem is not None and not report.ok and not isinstance(left, str):
            report = _saved(report, Path(f"{stem}.safetensors"), left, right, batch, noise, options)
        session.record(report, stem)
    if not report.ok:
        margin = PYTEST_MARGIN if session else 0
        width = shutil.get_terminal_size((80, 24)).columns - margin
        is_full = session is not None and session.verbosity > 1
        raise AssertionError(report.full(width) if is_full else report.brief(width))
    return report


def _saved(report: Report, path: Path, *pair: Any) -> Report:
    """Save a failing case beside its report; returns the report with the command that reruns it."""
    from dataclasses import replace

    from diptych.parity.saved_cases import save_case

    *arguments, options = pair
    try:
        save_case(path, *arguments, **options)
    except ValueError:  # a value that no file can hold
        return report
    return replace(report, reproducer=f"diptych compare {shlex.quote(str(path))}")


@pytest.fixture
def parity() -> Any:
    """The function `assert_parity`."""
    return assert_parity


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "comparison of pairs (diptych)")
    group.addoption(
        "--parity-summary",
        metavar="FILE",
        help='append a Markdown table of all comparisons to FILE, e.g. "$GITHUB_STEP_SUMMARY"',
    )
    group.addoption(
        "--parity-reports",
        metavar="FOLDER",
        help="write the report of each comparison to FOLDER, as JSON and as HTML, and each failing "
        "pair as a case that `diptych compare` reruns",
    )


def pytest_configure(config: pytest.Config) -> None:
    _sessions.append(Session(config))
    config.pluginmanager.register(_sessions[-1], "diptych-parity-session")


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.pluginmanager.get_plugin("diptych-parity-session")
    if session in _sessions:
        _sessions.remove(session)


class Session:
    """The comparisons of one session of pytest, and what is done with their verdicts."""

    def __init__(self, config: pytest.Config) -> None:
        self.verbosity: int = config.option.verbose
        self.folder: str | None = config.option.parity_reports
        self.summary_file: str | None = config.option.parity_summary
        self.is_worker = hasattr(config, "workerinput")  # of xdist; its controller writes
        self.comparisons: list[dict[str, Any]] = []
        self._pending: list[dict[str, Any]] = []

    def file_stem(self, report: Report) -> Path | None:
        """The path of the next report's files without their suffix; None if no folder was given."""
        if not self.folder:
            return None
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        test = os.environ.get("PYTEST_CURRENT_TEST", report.name).rpartition(" (")[0]
        name = re.sub(r"[^\w.-]+", "_", test).strip("_")
        number = f"-{len(self._pending) + 1}" if self._pending else ""
        return folder / f"{name}{number}"

    def record(self, report: Report, stem: Path | None) -> None:
        """Keep the verdict for the report of the running test, and write the files asked for."""
        self._pending.append(report.summary() | {"verdict": report.verdict})
        if stem is not None:
            Path(f"{stem}.json").write_text(report.to_json(), encoding="utf-8")
            Path(f"{stem}.html").write_text(report.to_html(), encoding="utf-8")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """Attach the comparisons to the report of a test, and make the verdict its message.

        JUnit XML has the message as an attribute, and pytest prints it in its summary.
        """
        report = yield
        report.parity = [*self._pending]  # xdist sends the attributes of a report to the controller
        self._pending.clear()
        row = _failing_comparison(report)
        if row:
            report.longrepr.reprcrash.message = f"AssertionError: {row['verdict']}"
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.comparisons += getattr(report, "parity", ())

    def pytest_sessionfinish(self) -> None:
        if self.summary_file and not self.is_worker:
            from diptych.parity.reports.report_markdown import session_summary

            path = Path(self.summary_file)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(session_summary(self.comparisons))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None]:
        """Print verdicts whole in pytest's summary, which cuts messages to the terminal's width.

        The innermost wrapper ends after the tracebacks are printed and before the summary is. Then
        the verdict is made part of the test's name, because pytest never cuts a name. It ends in a
        bracket, because pytest 9 reads a name from its first "[" to its end as parameters.
        """
        yield
        for kind in ("failed", "error"):
            for report in terminalreporter.stats.get(kind, ()):
                row = _failing_comparison(report)
                if row:
                    report.nodeid += f" - {report.longrepr.reprcrash.message}"
                    report.nodeid += f" [{row['dtype']} on {row['device']}]"
                    report.longrepr.reprcrash = None


def _failing_comparison(report: Any) -> dict[str, Any] | None:
    """The comparison that failed a test; None if it passed or failed for another reason."""
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    if crash is None or not report.failed:
        return None
    first_line = crash.message.partition("\n")[0]
    rows = getattr(report, "parity", ())
    return next((row for row in rows if first_line.endswith(row["verdict"])), None)
