"""The MLP VAE under pytest-benchmark: forward, forward and backward, whole step (`make bench`).

For ratios use `diptych bench mlp_vae`, which times the implementations in turn; this suite does
not.
"""

import pytest
import torch

from diptych import bench, pairs

IMPLEMENTATIONS = ["numpy", "torch cpu", "torch cpu compiled"]
IMPLEMENTATIONS += ["torch cuda", "torch cuda compiled"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("operation", bench.operations("mlp_vae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("mlp_vae").sizes)
def test_mlp_vae(benchmark, size, dtype, operation, implementation):
    load = bench.workload("mlp_vae", size, dtype, operation, compiled="compiled" in implementation)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[implementation], rounds=100, warmup_rounds=5)
