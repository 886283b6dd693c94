"""The growth of a model's time with its sizes: batch, width, image side, steps, samples, ranks.

`run` times sweeps and fits the exponent k of time = c x^k to the upper half of each; `run_ranks`
times a step by one process and by several at the same total batch.

    python -m diptych.bench.scaling --json FILE [--quick] [--figure FILE.png] [--threads N]
"""

from diptych.bench.scaling.fits import Fit, fit
from diptych.bench.scaling.ranks import RankRow, run_ranks
from diptych.bench.scaling.running import Row, run
from diptych.bench.scaling.sweeps import SWEEPS, Sweep

__all__ = ["SWEEPS", "Fit", "RankRow", "Row", "Sweep", "fit", "run", "run_ranks"]
