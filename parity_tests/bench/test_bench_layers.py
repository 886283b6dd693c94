"""The benchmark of the convolutional VAE: its layers do the same work on both panels."""

import numpy as np
import pytest
import torch

from diptych import bench
from diptych.arrays import to_numpy
from diptych.bench import convolutional, whole
from diptych.bench.convolutional import LAYERS
from diptych.parity.report import normwise
from numpy_ref.nn.correlation import BLOCK

SIZE = "c 64, 3 x 32 x 32, batch 64"


@pytest.fixture
def small(monkeypatch):
    """The layers on fewer and smaller images."""
    shrunk = {
        name: layer._replace(images=(2, layer.images[1], 6, 6)) for name, layer in LAYERS.items()
    }
    monkeypatch.setattr(convolutional, "LAYERS", shrunk)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("work", LAYERS)
def test_a_layer_gives_the_same_input_gradient_each_time(small, work, dtype):
    runs = bench.workload("conv_vae", SIZE, dtype, work).runs
    assert list(runs) == ["numpy", "torch cpu"]
    ours, theirs = ([to_numpy(run()) for _ in range(2)] for run in runs.values())
    assert ours[0].dtype == dtype and ours[0].any()
    np.testing.assert_array_equal(ours[0], ours[1])
    np.testing.assert_array_equal(theirs[0], theirs[1])
    assert normwise(ours[0], theirs[0]) <= (1e-13 if dtype == "float64" else 1e-5)


def test_the_names_tell_the_layers():
    for name, layer in LAYERS.items():
        left = layer.left(*layer.arguments)
        assert name.startswith(type(left).__name__)
        assert " x ".join(map(str, layer.images)) in name
        if hasattr(left, "kernel_size"):
            assert f"{left.in_channels} -> {left.out_channels}" in name
            assert " x ".join(map(str, left.kernel_size)) in name
            assert (f"stride {left.stride[0]}" in name) == (left.stride[0] > 1)
    assert bench.operations("conv_vae") == (*whole.OPERATIONS, *LAYERS)


def test_the_peak_is_what_is_alive_at_once():
    """Two arrays of 4 MiB at a time, of the three that are made."""

    def run():
        for _ in range(2):
            a = np.zeros(2**19)
        return a + 1

    assert bench.peak_mib(run) == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("name", [name for name in LAYERS if name.startswith("Conv")])
def test_a_convolution_never_holds_what_all_its_taps_read(name):
    """Forward and backward: the images, their gradient, the output, the weights, and a few blocks;
    the columns of the whole batch would be kH kW / s^2 images more."""
    layer = LAYERS[name]
    left = layer.left(*layer.arguments)
    left.weight.data[...] = 1
    x = np.ones(layer.images)
    y = left(x)[0]
    kept = (y.nbytes + x.nbytes) / 2**20
    blocks = 4 * max(BLOCK, left.weight.data.nbytes) / 2**20
    parameters = 3 * left.weight.data.nbytes / 2**20
    (kH, kW), (sH, sW) = left.kernel_size, left.stride
    larger = max(x.nbytes, y.nbytes) / 2**20
    peak = bench.peak_mib(lambda: left(x)[1](y))
    assert peak <= kept + blocks + parameters < kept + larger * kH * kW / (sH * sW)
