"""A training step by one process, and by several that each take a part of the same batch.

The processes are started by torchrun and sum their gradients over gloo, as `diptych train` does
under torchrun; a batch has the same number of examples whatever the number of ranks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LAYOUTS = ((1, 1), (1, 2), (2, 1))
"""(ranks, threads of each): one thread, the same process with two, and two ranks with one each."""
STEPS, QUICK_STEPS = 40, 5
ROOT = str(Path(__file__).parents[3])


@dataclass(frozen=True)
class RankRow:
    """Milliseconds of a step of one layout; the speed-up is over one rank with one thread."""

    model: str
    batch: int
    dtype: str
    ranks: int
    threads: int
    ms: float
    speedup: float


def run_ranks(
    dtype: str = "float32", *, quick: bool = False, progress: Callable[[str], None] | None = None
) -> list[RankRow]:
    """Time every model whose batch can be divided, in every layout.

    Raises: RuntimeError with the last lines of a process that failed.
    """
    measured = {}
    for ranks, threads in LAYOUTS:
        if progress:
            progress(f"data-parallel: {ranks} ranks of {threads} threads")
        steps = QUICK_STEPS if quick else STEPS
        measured[ranks, threads] = _measure(dtype, ranks, threads, steps)
    first = measured[LAYOUTS[0]]
    return [
        RankRow(model, batch, dtype, ranks, threads, 1e3 * seconds, first[model][1] / seconds)
        for model in first
        for (ranks, threads), result in measured.items()
        for batch, seconds in [result[model]]
    ]


def _measure(dtype: str, ranks: int, threads: int, steps: int) -> dict[str, tuple[int, float]]:
    """The batch size and the median seconds of a step of each model."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    worker = ["-m", "diptych.bench.scaling.rank_worker", dtype, str(steps)]
    paths = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [*launcher, "--nproc-per-node", str(ranks), *worker],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)},
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{ranks} ranks failed: {result.stderr[-500:]}")
    answer: dict[str, tuple[int, float]] = json.loads(result.stdout.splitlines()[-1])
    return answer
