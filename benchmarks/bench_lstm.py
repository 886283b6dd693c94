"""The LSTM under pytest-benchmark: whole steps, recurrent body and output layer apart.

For ratios use `diptych bench lstm`, which times the implementations in turn; this suite does not.
"""

import pytest
import torch

from diptych import bench, pairs
from diptych.bench.recurrent import PLAIN

IMPLEMENTATIONS = ["numpy", "torch cpu", PLAIN]
IMPLEMENTATIONS += ["torch cuda", f"{PLAIN} cuda"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("operation", bench.operations("lstm"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("lstm").sizes)
def test_lstm(benchmark, size, dtype, operation, implementation):
    load = bench.workload("lstm", size, dtype, operation)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[implementation], rounds=10, warmup_rounds=2)
