"""Benchmarks of the convolutional VAE: its layers compute the same on both panels."""

import tracemalloc

import numpy as np
import pytest

from diptych import bench
from diptych.arrays import to_numpy
from diptych.bench import convolutional, steps
from diptych.bench.convolutional import LAYERS
from diptych.parity.measures.rows import normwise
from numpy_ref.nn.correlation import BLOCK

SIZE = "c 64, 3 x 32 x 32, batch 64"


@pytest.fixture
def small_images(monkeypatch):
    """Time the layers on fewer and smaller images."""
    layers = {
        name: layer._replace(images=(2, layer.images[1], 6, 6)) for name, layer in LAYERS.items()
    }
    monkeypatch.setattr(convolutional, "LAYERS", layers)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operation", LAYERS)
def test_a_layer_gives_the_same_input_gradient_in_every_call(small_images, operation, dtype):
    case = bench.Case("conv_vae", SIZE, 64, dtype)
    runs = (bench.build(case, operation, backend) for backend in ("numpy", "torch"))
    left, right = ([to_numpy(run()) for _ in range(2)] for run in runs)
    assert left[0].dtype == dtype and left[0].any()
    np.testing.assert_array_equal(left[0], left[1])
    np.testing.assert_array_equal(right[0], right[1])
    assert normwise(left[0], right[0]) <= (1e-13 if dtype == "float64" else 1e-5)


def test_the_names_describe_the_layers():
    for name, layer in LAYERS.items():
        left = layer.left(*layer.arguments)
        assert name.startswith(type(left).__name__)
        assert " x ".join(map(str, layer.images)) in name
        if hasattr(left, "kernel_size"):
            assert f"{left.in_channels} -> {left.out_channels}" in name
            assert " x ".join(map(str, left.kernel_size)) in name
            assert (f"stride {left.stride[0]}" in name) == (left.stride[0] > 1)
    assert bench.operations("conv_vae") == (*steps.OPERATIONS, *LAYERS)


def peak_mib(run):
    """Peak memory of the arrays that are allocated during `run`, in MiB."""
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("Conv")])
def test_a_convolution_never_stores_the_columns_of_the_whole_batch(name):
    """Forward and backward store images, gradients, output, weights and a few blocks.

    The columns would be kH kW / s^2 times the images.
    """
    layer = LAYERS[name]
    left = layer.left(*layer.arguments)
    left.weight.data[...] = 1
    x = np.ones(layer.images)
    y = left(x)[0]
    stored = (y.nbytes + x.nbytes) / 2**20
    blocks = 4 * max(BLOCK, left.weight.data.nbytes) / 2**20
    parameters = 3 * left.weight.data.nbytes / 2**20
    (kH, kW), (sH, sW) = left.kernel_size, left.stride
    larger = max(x.nbytes, y.nbytes) / 2**20
    peak = peak_mib(lambda: left(x)[1](y))
    assert peak <= stored + blocks + parameters < stored + larger * kH * kW / (sH * sW)
