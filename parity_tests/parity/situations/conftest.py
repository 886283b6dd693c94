"""Counts the verdicts of all situations, and prints them at the end of a test run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from helpers.situations import Situation


@pytest.fixture(autouse=True)
def count(request: pytest.FixtureRequest, record_property: Any) -> None:
    """Keep the kind of a wrong verdict with the test's report, which xdist sends home."""
    item = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if isinstance(item, Situation):
        record_property("situation", (item.verdict, item.fault))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many situations have which verdict, and how many verdicts are wrong."""
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)
    ]
    results = [v for r in reports for name, v in r.user_properties if name == "situation"]
    if not results:
        return
    verdicts, faults = Counter(v for v, _ in results), Counter(f for _, f in results if f)
    kinds = ("false pass", "false alarm", "traceback")
    others = sum(faults.values()) - sum(faults[kind] for kind in kinds)
    terminalreporter.write_line(
        f"situations: {len(results)} ("
        + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        + "); "
        + ", ".join(f"{kind}: {faults[kind]}" for kind in kinds)
        + f", right verdict in wrong words: {others}"
    )
