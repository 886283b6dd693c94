"""Give every reader many changed inputs, and record the counts: `make fuzz`.

    python benchmarks/fuzz.py --inputs 20000

writes benchmarks/results/fuzz.json after each reader, and goes on from it: a reader that has had as
many inputs is left out. docs/trust.md shows a table of it. The readers, their small valid files and
the changes are in parity_tests/helpers/fuzz.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from diptych.runs import results

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "parity_tests"))

from helpers.fuzz.campaign import Campaign, fuzz  # noqa: E402
from helpers.fuzz.worker import READERS  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Give every reader many changed inputs.")
    parser.add_argument("--inputs", type=int, default=20_000, help="Inputs for each reader.")
    parser.add_argument("--workers", type=int, default=2, help="Readers that run at a time.")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fuzz.json")
    parser.add_argument("readers", nargs="*", default=sorted(READERS), help="Names; all if none.")
    options = parser.parse_args()
    earlier = results.read(options.out) if options.out.exists() else {"time_s": 0, "metrics": {}}
    measured: dict[str, Any] = earlier["metrics"].get("fuzz", {})
    waiting = [name for name in options.readers if _inputs(measured, name) < options.inputs]
    begin, found = time.monotonic(), False
    with ThreadPoolExecutor(options.workers) as pool:
        futures = [pool.submit(fuzz, [name], options.inputs) for name in waiting]
        for future in as_completed(futures):
            (result,) = future.result()
            print(_line(result), flush=True)
            found = found or bool(result.findings)
            measured[result.reader] = _numbers(result)
            results.write(
                options.out,
                name="fuzz",
                command=f"python benchmarks/fuzz.py --inputs {options.inputs}",
                seed=0,
                data="small valid files of every reader, changed at random",
                device="cpu",
                time_s=earlier["time_s"] + time.monotonic() - begin,
                metrics={"fuzz": dict(sorted(measured.items()))},
            )
    sys.exit(found)


def _inputs(measured: dict[str, Any], name: str) -> int:
    """The number of inputs that a reader has had."""
    return sum(measured[name]["counts"].values()) if name in measured else 0


def _line(result: Campaign) -> str:
    lines = [f"{result.reader}: {dict(result.counts)}, slowest {result.slowest_s:.2f} s"]
    lines += [f"  input {f['index']}: {f['kind']}: {f['message']}" for f in result.findings[:5]]
    return "\n".join(lines)


def _numbers(result: Campaign) -> dict[str, Any]:
    return {
        "counts": dict(result.counts),
        "slowest_s": result.slowest_s,
        "memory_growth": result.memory_growth,
        "findings": result.findings[:10],
    }


if __name__ == "__main__":
    main()
