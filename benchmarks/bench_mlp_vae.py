"""The MLP VAE under pytest-benchmark: forward, forward and backward, whole step (`make bench`).

For ratios use `diptych bench mlp_vae`, which times the backends in turn; this suite does not.
"""

import pytest
import torch

from diptych import bench, pairs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("backend", bench.names_for(DEVICE))
@pytest.mark.parametrize("operation", bench.operations("mlp_vae"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", pairs.get("mlp_vae").sizes)
def test_mlp_vae(benchmark, size, dtype, operation, backend):
    case = bench.Case("mlp_vae", size, pairs.get("mlp_vae").sizes[size][1], dtype)
    if not bench.takes(case, operation, backend):
        pytest.skip(f"{backend} has no {operation} of mlp_vae")
    benchmark.group = f"{size} {dtype} {operation}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    run = bench.build(case, operation, backend)
    benchmark.pedantic(run, rounds=100, warmup_rounds=5)
