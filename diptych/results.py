"""Measured results: JSON files of one schema, and the README's tables made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diptych.run import environment
from diptych.weights import write_atomically

FIELDS = (
    "name",
    "command",
    "seed",
    "data",
    "device",
    "machine",
    "versions",
    "commit",
    "time_s",
    "metrics",
)
FOLDER = Path(__file__).parent.parent / "benchmarks" / "results"
README = Path(__file__).parent.parent / "README.md"


def write(path: Path, **fields: Any) -> None:
    """Write one result; machine, versions and commit are filled in from here and now.

    Raises: ValueError for a field that the schema lacks, or that is missing.
    """
    record = environment() | fields
    settings = record.pop("settings", None)
    missing = [name for name in FIELDS if name not in record]
    unknown = [name for name in record if name not in FIELDS]
    if missing or unknown:
        raise ValueError(f"{path}: result lacks {missing} and has unknown {unknown}")
    ordered = {name: record[name] for name in FIELDS}
    if settings is not None:
        ordered["metrics"] = {**ordered["metrics"], "settings": settings}
    write_atomically(path, (json.dumps(ordered, indent=1) + "\n").encode())


def read(path: Path) -> dict[str, Any]:
    """Read one result back. Raises: ValueError that names the file and what is missing."""
    try:
        record = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a result ({error})") from None
    if list(record) != list(FIELDS):
        raise ValueError(f"{path}: has fields {list(record)}, takes {list(FIELDS)}")
    return record
