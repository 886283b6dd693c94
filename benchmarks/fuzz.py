"""Give every reader many changed inputs, and record the counts: `make fuzz`.

    python benchmarks/fuzz.py --inputs 20000

writes benchmarks/results/fuzz.json, of which docs/trust.md shows a table. The readers, their small
valid files and the changes are in parity_tests/helpers/fuzz.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    begin, campaigns = time.monotonic(), []
    with ThreadPoolExecutor(options.workers) as pool:
        for (result,) in pool.map(lambda name: fuzz([name], options.inputs), options.readers):
            print(_line(result), flush=True)
            campaigns.append(result)
    results.write(
        options.out,
        name="fuzz",
        command=f"python benchmarks/fuzz.py --inputs {options.inputs}",
        seed=0,
        data="small valid files of every reader, changed at random",
        device="cpu",
        time_s=time.monotonic() - begin,
        metrics={"fuzz": {result.reader: _numbers(result) for result in campaigns}},
    )
    sys.exit(any(result.findings for result in campaigns))


def _line(result: Campaign) -> str:
    lines = [f"{result.reader}: {dict(result.counts)}, slowest {result.slowest_s:.2f} s"]
    lines += [f"  input {f['index']}: {f['kind']}: {f['message']}" for f in result.findings[:5]]
    return "\n".join(lines)


def _numbers(result: Campaign) -> dict[str, object]:
    return {
        "counts": dict(result.counts),
        "slowest_s": result.slowest_s,
        "memory_growth": result.memory_growth,
        "findings": result.findings[:10],
    }


if __name__ == "__main__":
    main()
