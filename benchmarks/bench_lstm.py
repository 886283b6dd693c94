"""The LSTM under pytest-benchmark: whole steps, recurrent body and output layer apart.

For ratios use `diptych bench lstm`, which times the backends in turn; this suite does not.
"""

import pytest
import torch

from diptych import bench, pairs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("backend", bench.names_for(DEVICE))
@pytest.mark.parametrize("operation", bench.operations("lstm"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("lstm").sizes)
def test_lstm(benchmark, size, dtype, operation, backend):
    case = bench.Case("lstm", size, pairs.get("lstm").sizes[size][1], dtype)
    if not bench.takes(case, operation, backend):
        pytest.skip(f"{backend} has no {operation} of lstm")
    benchmark.group = f"{size} {dtype} {operation}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    run = bench.build(case, operation, backend)
    benchmark.pedantic(run, rounds=10, warmup_rounds=2)
