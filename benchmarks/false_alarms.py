"""Count false alarms: compare every registered pair, which agrees, with many random keys.

    python benchmarks/false_alarms.py --keys 40

writes benchmarks/results/false_alarms.json after each key, and goes on from it. A row that fails is
a false alarm: its bound is too tight, or the panels differ.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from diptych import pairs, parity
from diptych.files import write_json
from diptych.parity.versions import versions
from model_specs.common.key import Key

RESULT = Path(__file__).parent / "results" / "false_alarms.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Count false alarms of the registered pairs.")
    parser.add_argument("--keys", type=int, default=40, help="Number of random keys.")
    parser.add_argument("--out", type=Path, default=RESULT, help="The result, a JSON file.")
    parser.add_argument("models", nargs="*", help="Pairs or variants; all by default.")
    options = parser.parse_args()
    result = json.loads(options.out.read_text()) if options.out.exists() else _empty()
    for seed in range(result["keys"], options.keys):
        start = time.process_time()
        for name in pairs.names(options.models or None):
            for dtype in ("float64", "float32"):
                _count(result, name, dtype, seed)
        result["keys"] = seed + 1
        result["seconds"] += time.process_time() - start
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, result, allow_nan=False)
        print(f"key {seed}: {result['rows']} rows, {len(result['false_alarms'])} false alarms")


def _empty() -> dict[str, Any]:
    empty = {"keys": 0, "seconds": 0.0, "comparisons": 0, "rows": 0, "rows_by_kind": {}}
    return empty | {"largest_error_by_bound": {}, "false_alarms": [], "versions": versions()}


def _count(result: dict[str, Any], name: str, dtype: str, seed: int) -> None:
    """Compare a pair, and add its rows to the result."""
    try:
        rows: Any = parity.compare(name, dtype=dtype, key=Key(seed)).rows
    except Exception as error:
        case = {"pair": name, "dtype": dtype, "key": seed}
        result["false_alarms"].append(case | {"raised": str(error)})
        return
    result["comparisons"] += 1
    result["rows"] += len(rows)
    kinds: defaultdict[str, int] = defaultdict(int, result["rows_by_kind"])
    for row in rows:
        kinds[row.kind] += 1
        if row.ok and row.bound:
            largest = result["largest_error_by_bound"]
            group = f"{row.kind}, {dtype}"
            largest[group] = max(largest.get(group, 0.0), row.error / row.bound)
        if not row.ok:
            case = {"pair": name, "dtype": dtype, "key": seed, "row": str(row)}
            result["false_alarms"].append(case)
            print(f"{name} {dtype} key {seed}: {row}", flush=True)
    result["rows_by_kind"] = dict(kinds)


if __name__ == "__main__":
    main()
