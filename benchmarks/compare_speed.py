"""Time `parity.compare` over all registered pairs in two checkouts, interleaved, and its memory.

    git worktree add ../before SOME_COMMIT
    python benchmarks/compare_speed.py ../before . --rounds 5

prints the medians of both, and writes them to benchmarks/results/compare_speed.json. Only pairs
that both checkouts have are compared. Memory is the growth of the resident set by one comparison
in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

RESULT = Path(__file__).parent / "results" / "compare_speed.json"
DTYPES = ("float64", "float32")
WORKER = """
import json, os, resource, sys, time
import torch
from diptych import pairs, parity
from diptych.parity import api
torch.set_num_threads(1)
parity.compare("mlp_vae[tanh]")  # imports everything
channel = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

def measure(name, dtype):
    wall, cpu = time.perf_counter(), time.process_time()
    parity.compare(name, dtype=dtype)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

def memory(name, dtype):
    reader, writer = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        parity.compare(name, dtype=dtype)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writer, str((after - before) / 1024).encode())
        os._exit(0)
    os.wait()
    return {"memory": float(os.read(reader, 100))}

print(json.dumps(pairs.names()), file=channel, flush=True)
for line in sys.stdin:
    kind, name, dtype = json.loads(line)
    result = {"time": measure, "memory": memory}[kind](name, dtype)
    print(json.dumps(result), file=channel, flush=True)
"""


class Worker:
    """A process that imports a checkout's diptych and runs its comparisons."""

    def __init__(self, checkout: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=checkout,
            text=True,
        )
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout
        self.names = json.loads(self.output.readline())

    def ask(self, kind: str, name: str, dtype: str) -> dict[str, float]:
        self.input.write(json.dumps([kind, name, dtype]) + "\n")
        self.input.flush()
        return json.loads(self.output.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.input.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time parity.compare in two checkouts.")
    parser.add_argument("before", type=Path, help="Folder of the first checkout.")
    parser.add_argument("after", type=Path, help="Folder of the second checkout.")
    parser.add_argument("--rounds", type=int, default=5, help="Number of timings of each.")
    parser.add_argument("--out", type=Path, default=RESULT, help="The result, a JSON file.")
    parser.add_argument("--models", nargs="*", help="Variants; all by default.")
    options = parser.parse_args()
    folders = [options.before.resolve(), options.after.resolve()]
    rows = []
    with (
        Worker(folders[0]) as first,
        Worker(folders[1]) as second,
        Worker(folders[0]) as fresh_first,
        Worker(folders[1]) as fresh_second,
    ):
        names = options.models or [name for name in first.names if name in second.names]
        for name in names:
            for dtype in DTYPES:
                row = {"pair": name, "dtype": dtype}
                row |= _times((first, second), name, dtype, options.rounds)
                row |= _memory((fresh_first, fresh_second), name, dtype)
                rows.append(row)
                print(_line(row), flush=True)
    totals = {
        key: sum(row[key] for row in rows)
        for key in ("cpu_before", "cpu_after", "wall_before", "wall_after")
    }
    print(f"all pairs: {totals['cpu_before']:.2f} s before, {totals['cpu_after']:.2f} s after")
    result = {"rounds": options.rounds, "totals": totals, "pairs": rows}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def _times(workers: tuple[Worker, Worker], name: str, dtype: str, rounds: int) -> dict[str, Any]:
    """Medians in seconds, after a first comparison that is not timed."""
    times: tuple[list[dict[str, float]], ...] = ([], [])
    for i in range(rounds + 1):
        for side in (0, 1) if i % 2 else (1, 0):
            result = workers[side].ask("time", name, dtype)
            if i:
                times[side].append(result)
    return {
        f"{unit}_{label}": statistics.median(result[unit] for result in results)
        for label, results in zip(("before", "after"), times, strict=True)
        for unit in ("cpu", "wall")
    }


def _memory(workers: tuple[Worker, Worker], name: str, dtype: str) -> dict[str, float]:
    """Growth of the resident set in MiB."""
    return {
        f"memory_{label}": worker.ask("memory", name, dtype)["memory"]
        for label, worker in zip(("before", "after"), workers, strict=True)
    }


def _line(row: dict[str, Any]) -> str:
    ratio = row["cpu_after"] / row["cpu_before"]
    return (
        f"{row['pair']:30} {row['dtype']}  cpu {row['cpu_before']:.3f} {row['cpu_after']:.3f} s "
        f"({ratio:.2f})  wall {row['wall_before']:.3f} {row['wall_after']:.3f} s  "
        f"memory {row['memory_before']:.0f} {row['memory_after']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
