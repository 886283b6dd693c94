"""One rank of a timed training: python -m diptych.bench.scaling.rank_worker MODEL BATCH DTYPE STEPS

It runs under torchrun. Rank 0 prints the median seconds of a step as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from diptych import pairs
from diptych.bench.scaling.sweeps import CONV, MLP
from diptych.panels import make_panel
from diptych.panels.ranks import joined
from diptych.tasks.base import TrainingBatch
from diptych.training.step import training_step
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype

CONFIGS = {"mlp_vae": MLP, "conv_vae": CONV}
WARM_UP = 3
KEY, LR = Key(0).fold_in("ranks"), 1e-3


def main(model: str, size: int, dtype: str, steps: int) -> None:
    config, seconds = CONFIGS[model], []
    batch = pairs.get(model).batch(config, KEY, as_dtype(dtype), size)
    reduction = pairs.traits(config).reduction
    with joined("cpu") as ranks:
        panel = make_panel(model, config, "torch", key=KEY, dtype=dtype, ranks=ranks)
        rows, share = ranks.shard(size, reduction)
        noise = panel.model.draw_noise(KEY, rows.stop - rows.start, first=rows.start)
        inputs = panel.convert(batch[rows])
        part = TrainingBatch(inputs, noise, size, size, share)
        for step in range(-WARM_UP, steps):
            ranks.any(False)  # all ranks begin a step together
            start = time.perf_counter()
            training_step(panel, part, LR)
            if step >= 0:
                seconds.append(time.perf_counter() - start)
        if ranks.first:
            print(json.dumps(statistics.median(seconds)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
