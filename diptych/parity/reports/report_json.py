"""Reports as JSON, for a machine. docs/report.md lists the keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from diptych.parity.measures.rows import Row
from diptych.parity.reports.outcome import Outcome
from diptych.parity.reports.verdict import verdict
from diptych.parity.versions import versions


def summary(outcome: Outcome) -> dict[str, Any]:
    """The name of the comparison, whether it agrees, and the worst tensor."""
    worst = outcome.worst if outcome.rows else None
    return {
        "name": outcome.name,
        "dtype": outcome.dtype,
        "device": outcome.device,
        "ok": outcome.ok,
        "tensors": len(outcome.rows),
        "worst": {
            "tensor": worst.name if worst else None,
            "error": to_json_value(worst.error) if worst else None,
        },
        "masks_equal": outcome.masks_equal,
    }


def to_json(outcome: Outcome) -> str:
    """The summary, the verdict, the circumstances and all rows as strict JSON."""
    first = outcome.first_divergence
    content = {
        **summary(outcome),
        "verdict": verdict(outcome),
        "problem": outcome.problem,
        "first_divergence": _row(first) if first else None,
        "root_causes": [_row(row) for row in outcome.root_causes],
        "not_compared": outcome.not_compared,
        "options": outcome.options,
        "key": outcome.key,
        "runs": outcome.runs,
        "reproducer": outcome.reproducer,
        "versions": versions(),
        "sources": {
            path: {"left": left, "right": right} for path, (left, right) in outcome.sources.items()
        },
        "rows": [_row(row) for row in outcome.rows],
    }
    return json.dumps(to_json_value(content), indent=1, allow_nan=False, ensure_ascii=False)


def to_json_value(value: Any) -> Any:
    """A value that strict JSON can hold: NaN and inf become strings, as do unknown types."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): to_json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_value(item) for item in value]
    return str(value)


def _row(row: Row) -> dict[str, Any]:
    return {**asdict(row), "ok": row.ok}
