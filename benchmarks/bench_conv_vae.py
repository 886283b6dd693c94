"""The convolutional VAE under pytest-benchmark: whole, and its layers apart (`make bench`).

For ratios use `diptych bench conv_vae`, which times the implementations in turn; this suite does
not.
"""

import pytest
import torch

from diptych import bench, pairs
from diptych.bench import whole

IMPLEMENTATIONS = ["numpy", "torch cpu", "torch cpu compiled"]
IMPLEMENTATIONS += ["torch cuda", "torch cuda compiled"] if torch.cuda.is_available() else []


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("operation", bench.operations("conv_vae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("conv_vae").sizes)
def test_conv_vae(benchmark, size, dtype, operation, implementation):
    if "compiled" in implementation and operation not in whole.OPERATIONS:
        pytest.skip("a layer alone is not compiled")
    load = bench.workload("conv_vae", size, dtype, operation, compiled="compiled" in implementation)
    benchmark.group = load.name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(load.runs[implementation], rounds=10, warmup_rounds=2)
