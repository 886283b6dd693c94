"""One rank of a timed training: python -m diptych.bench.scaling.rank_worker DTYPE STEPS

It runs under torchrun. Rank 0 prints the batch size and the median seconds of a step of each model
as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any, NamedTuple

from diptych import pairs
from diptych.bench import clock
from diptych.bench.scaling.sweeps import CONV, MLP
from diptych.panels import make_panel
from diptych.panels.ranks import Ranks, joined
from diptych.tasks.base import TrainingBatch
from diptych.training.step import training_step
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype


class Case(NamedTuple):
    """A model whose batch can be divided, and the examples of a batch in all."""

    config: Any
    batch_size: int


CASES = {"mlp_vae": Case(MLP, 512), "conv_vae": Case(CONV, 64)}
WARM_UP = 3
KEY, LR = Key(0).fold_in("ranks"), 1e-3


def step_seconds(model: str, case: Case, dtype: str, steps: int, ranks: Ranks) -> float:
    """Median seconds of a training step on this rank's part of a batch."""
    config, size = case
    batch = pairs.get(model).batch(config, KEY, as_dtype(dtype), size)
    panel = make_panel(model, config, "torch", key=KEY, dtype=dtype, ranks=ranks)
    rows, share = ranks.shard(size, pairs.traits(config).reduction)
    noise = panel.model.draw_noise(KEY, rows.stop - rows.start, first=rows.start)
    part = TrainingBatch(panel.convert(batch[rows]), noise, size, size, share)
    seconds = []
    for _ in range(WARM_UP + steps):
        ranks.any(False)  # all ranks begin a step together
        seconds.append(clock.seconds(lambda: training_step(panel, part, LR)))
    return statistics.median(seconds[WARM_UP:])


def main(dtype: str, steps: int) -> None:
    with joined("cpu") as ranks:
        result = {
            model: (case.batch_size, step_seconds(model, case, dtype, steps, ranks))
            for model, case in CASES.items()
        }
        if ranks.first:
            print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
