"""The folders of a clone that an installed package lacks: tests, notebooks, recorded results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diptych
from diptych.runs import results

ROOT = Path(diptych.__file__).resolve().parents[1]


def folder(name: str) -> Path | None:
    """The path of a folder of the clone, such as "parity_tests"; None in an installed package."""
    path = ROOT / name
    return path if (ROOT / "pyproject.toml").is_file() and path.is_dir() else None


def records() -> list[dict[str, Any]]:
    """The recorded results of benchmarks/results; an empty list in an installed package."""
    path = folder("benchmarks/results")
    return results.read_all(path) if path else []
