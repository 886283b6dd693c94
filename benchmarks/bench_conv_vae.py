"""The convolutional VAE under pytest-benchmark: whole, and its layers apart (`make bench`).

For ratios use `diptych bench conv_vae`: it times the ways in turn, and this one after another.
"""

import pytest
import torch

from diptych import bench, pairs
from diptych.bench import whole

WAYS = ["numpy", "torch cpu", "torch cpu compiled"]
WAYS += ["torch cuda", "torch cuda compiled"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("work", bench.works("conv_vae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("conv_vae").sizes)
def test_conv_vae(benchmark, size, dtype, work, way):
    if "compiled" in way and work not in whole.WORK:
        pytest.skip("a layer alone is not compiled")
    load = bench.workload("conv_vae", size, dtype, work, compiled="compiled" in way)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[way], rounds=10, warmup_rounds=2)
