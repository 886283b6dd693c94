"""A training step by one process, and by several that each take a part of the same batch.

The processes are started by torchrun and sum their gradients over gloo, as `diptych train` does
under torchrun; a batch has the same number of examples whatever the number of ranks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diptych.bench.scaling.processes import environment

MODELS = {"mlp_vae": 512, "conv_vae": 64}
"""The models whose batch can be divided, with the examples of a batch in all."""
LAYOUTS = ((1, 1), (1, 2), (2, 1))
"""(ranks, threads of each): one thread, the same process with two, and two ranks with one each."""


@dataclass(frozen=True)
class RankRow:
    """Seconds of a step of one layout; the speed-up is over one rank with one thread."""

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
    """Time every model and layout in processes of its own."""
    rows: list[RankRow] = []
    for model, batch in MODELS.items():
        first = 0.0
        for ranks, threads in LAYOUTS:
            if progress:
                progress(f"{model}, {ranks} ranks of {threads} threads")
            seconds = _seconds(model, batch, dtype, ranks, threads, 5 if quick else 30)
            first = first or seconds
            rows.append(
                RankRow(model, batch, dtype, ranks, threads, 1e3 * seconds, first / seconds)
            )
    return rows


def _seconds(model: str, batch: int, dtype: str, ranks: int, threads: int, steps: int) -> float:
    """Median seconds of a step. Raises: RuntimeError with the last lines of a process that failed."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments: list[Any] = [model, batch, dtype, steps]
    command = [*launcher, "--nproc-per-node", str(ranks), "-m", "diptych.bench.scaling.rank_worker"]
    result = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(threads),
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{model}: {ranks} ranks failed: {result.stderr[-500:]}")
    return float(json.loads(result.stdout.splitlines()[-1]))
