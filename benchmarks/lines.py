"""pytest plugin that records which lines of the project each test runs, and how long it takes.

    LINES=lines.json python -m pytest -p benchmarks.lines parity_tests/nn

`benchmarks/mutants.py` uses it to choose the tests that can notice a changed line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model_specs", "numpy_ref", "torch_impl", "diptych")
PREFIXES = tuple(f"{ROOT / package}{os.sep}" for package in PACKAGES)

Lines = set[tuple[str, int]]
current: list[Lines] = [set()]
"""Sets that collect lines: that of the test, then those of the fixtures that are being made."""
shared: dict[str, Lines] = {}
"""The lines of fixtures that several tests of a file share."""
tests: dict[str, tuple[float, Lines]] = {}


def _trace(frame: FrameType, event: str, argument: Any) -> Any:
    return _trace_lines if frame.f_code.co_filename.startswith(PREFIXES) else None


def _trace_lines(frame: FrameType, event: str, argument: Any) -> Any:
    if event == "line":
        current[-1].add((frame.f_code.co_filename, frame.f_lineno))
    return _trace_lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    current[:] = [set()]
    tests[item.nodeid] = (0.0, current[0])
    sys.settrace(_trace)
    threading.settrace(_trace)
    try:
        return (yield)
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[Any]:
    if fixturedef.scope == "function":
        return (yield)
    current.append(shared.setdefault(request.node.nodeid.split("::")[0], set()))
    try:
        return (yield)
    finally:
        current.pop()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    seconds, lines = tests[report.nodeid]
    tests[report.nodeid] = (seconds + report.duration, lines)


def pytest_sessionfinish() -> None:
    result = {}
    for test, (seconds, lines) in tests.items():
        by_file: dict[str, list[int]] = {}
        for path, line in sorted(lines | shared.get(test.split("::")[0], set())):
            by_file.setdefault(os.path.relpath(path, ROOT), []).append(line)
        result[test] = {"seconds": round(seconds, 3), "lines": by_file}
    Path(os.environ["LINES"]).write_text(json.dumps(result))
