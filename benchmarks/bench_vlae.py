"""The VLAE under pytest-benchmark: whole, its parts, and sampling (`make bench`).

For ratios use `diptych bench vlae`: it times the ways in turn, and this one after another.
"""

import pytest
import torch

from diptych import bench, pairs
from diptych.bench import whole

WAYS = ["numpy", "torch cpu", "torch cpu compiled"]
WAYS += ["torch cuda", "torch cuda compiled"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("work", bench.works("vlae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("vlae").sizes)
def test_vlae(benchmark, size, dtype, work, way):
    if "compiled" in way and work not in whole.WORK:
        pytest.skip("a part alone is not compiled")
    load = bench.workload("vlae", size, dtype, work, compiled="compiled" in way)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[way], rounds=10, warmup_rounds=2)
