"""The MLP VAE under pytest-benchmark: forward, forward and backward, whole step (`make bench`).

For ratios use `diptych bench mlp_vae`: it times the panels in turn, and this one after another.
"""

import pytest
import torch

from diptych import bench, pairs

WAYS = ["numpy", "torch cpu", "torch cpu compiled"]
WAYS += ["torch cuda", "torch cuda compiled"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("work", bench.works("mlp_vae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("mlp_vae").sizes)
def test_mlp_vae(benchmark, size, dtype, work, way):
    load = bench.workload("mlp_vae", size, dtype, work, compiled="compiled" in way)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[way], rounds=100, warmup_rounds=5)
