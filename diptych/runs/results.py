"""Measured results: JSON files of one schema.

`python -m diptych.runs.results` (or `make results`) rewrites the tables of README.md and of
docs/results.md from the files in benchmarks/results; see diptych.runs.tables. With `--gpu DIR` it
first takes the report that benchmarks/gpu_report.sh wrote into DIR.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from diptych.files import read_json, write_atomically, write_json
from diptych.runs.environment import environment

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


def write(path: Path, **fields: Any) -> None:
    """Write one result; the machine, the versions and the commit are filled in.

    Raises: ValueError for an unknown or a missing field.
    """
    write_json(path, complete(path, **fields))


def complete(path: Path | str, **fields: Any) -> dict[str, Any]:
    """The fields of one result in their order, with the machine, the versions and the commit.

    The folder that a data set was read from is removed from `data`, because it means nothing on
    another machine.
    Raises: ValueError that names `path` for an unknown or a missing field.
    """
    record = environment() | fields
    settings = record.pop("settings", None)
    missing = [name for name in FIELDS if name not in record]
    unknown = [name for name in record if name not in FIELDS]
    if missing or unknown:
        raise ValueError(f"{path}: result lacks {missing} and has unknown {unknown}")
    record["data"] = record["data"].partition(", read from ")[0]
    ordered = {name: record[name] for name in FIELDS}
    if settings is not None:
        ordered["metrics"] = {**ordered["metrics"], "settings": settings}
    return ordered


def read(path: Path) -> dict[str, Any]:
    """Read one result. Raises: ValueError that names the file and the fault."""
    record = read_json(path)
    if not isinstance(record, dict) or list(record) != list(FIELDS):
        present = list(record) if isinstance(record, dict) else "none"
        raise ValueError(f"{path}: not a result: it has the fields {present}, takes {list(FIELDS)}")
    return record


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Read every result in `folder`, in the order of the file names."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def take_gpu_report(folder: Path, target: Path) -> list[Path]:
    """Copy the two results of a GPU report into `target`, under the name of the GPU.

    Raises: ValueError for a folder without a report, or with that of a rehearsal on the CPU.
    """
    report = read(folder / "report.json")
    if report["metrics"].get("rehearsal") is not False:
        raise ValueError(f"gpu: got {folder}, which has no report of a GPU")
    speed = read(folder / "speed.json")
    gpu = re.sub(r"[^a-z0-9]+", "_", report["device"].lower()).strip("_")
    copies = {target / f"gpu_{gpu}.json": report, target / f"speed_{gpu}.json": speed}
    for file, record in copies.items():
        write_json(file, record)
    return list(copies)


def main() -> None:
    """Rewrite the tables of the pages in the current clone of the repository."""
    from diptych.runs import tables  # noqa: PLC0415  # a run that records its result draws no table

    parser = argparse.ArgumentParser(description="Rewrite the tables of the measured results.")
    parser.add_argument("--gpu", type=Path, metavar="DIR", help="Take the GPU report in DIR first.")
    options = parser.parse_args()
    root = Path(__file__).parents[2]
    folder = root / "benchmarks" / "results"
    if options.gpu is not None:
        try:
            take_gpu_report(options.gpu, folder)
        except ValueError as error:
            parser.error(str(error))
    records = read_all(folder)
    for page, text in ((root / name, make(records)) for name, make in tables.PAGES.items()):
        write_atomically(page, tables.with_tables(page.read_text(), text).encode())


if __name__ == "__main__":
    main()
