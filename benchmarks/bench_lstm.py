"""The LSTM under pytest-benchmark: whole steps, recurrent body and output layer apart.

For ratios use `diptych bench lstm`: it times the ways in turn, and this one after another.
"""

import pytest
import torch

from diptych import bench, pairs
from diptych.bench.recurrent import PLAIN

WAYS = ["numpy", "torch cpu", PLAIN]
WAYS += ["torch cuda", f"{PLAIN} cuda"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("work", bench.works("lstm"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("lstm").sizes)
def test_lstm(benchmark, size, dtype, work, way):
    load = bench.workload("lstm", size, dtype, work)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[way], rounds=10, warmup_rounds=2)
