"""Benchmarks of the VLAE: parts and samplers compute the same on both panels."""

import dataclasses

import numpy as np
import pytest
import torch

import numpy_ref.nn.optim
from diptych import bench, pairs
from diptych.arrays import to_numpy
from diptych.bench import autoregressive, steps
from diptych.bench.autoregressive import INVERSE, NAIVE, PARTS, SAMPLING
from diptych.bench.passes import NumpyBackward, TorchBackward
from diptych.parity.measures.rows import normwise
from model_specs.vlae import VLAEConfig

SIZE = "4 x 6, batch 3"
SMALL = {"height": 4, "width": 6, "maps": 2, "hidden_dim": 5, "latent_dim": 3, "flow_steps": 2}
SMALL |= {"flow_hidden_dim": 7, "flow_hidden_layers": 2, "decoder_maps": 4, "masked_layers": 3}


@pytest.fixture
def small_size(monkeypatch):
    """small_size() registers one small size, with an affine flow if `mean_only` is False."""

    def make(mean_only=True):
        config = VLAEConfig(**SMALL, flow_mean_only=mean_only)
        pair = dataclasses.replace(pairs.get("vlae"), sizes={SIZE: (config, 3)})
        monkeypatch.setitem(pairs.PAIRS, "vlae", pair)

    return make


def runs_of(operation, dtype="float64"):
    case = bench.Case("vlae", SIZE, 3, dtype)
    return {name: bench.build(case, operation, name) for name in ("numpy", "torch")}


@pytest.mark.parametrize("mean_only", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operation", [*PARTS, INVERSE])
def test_a_part_gives_the_same_on_both_panels_in_every_call(
    small_size, operation, dtype, mean_only
):
    small_size(mean_only)
    runs = runs_of(operation, dtype)
    assert list(runs) == ["numpy", "torch"]
    left, right = ([to_numpy(run()) for _ in range(2)] for run in runs.values())
    assert left[0].dtype == dtype and left[0].any()
    np.testing.assert_array_equal(left[0], left[1])
    np.testing.assert_array_equal(right[0], right[1])
    assert normwise(left[0], right[0]) <= (1e-13 if dtype == "float64" else 1e-5)


def test_a_second_call_does_not_add_to_the_gradients_of_the_first(small_size):
    small_size()
    config, _ = pairs.get("vlae").sizes[SIZE]
    part = PARTS["flow"]
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    models = left, right = part.left(config), part.right(config)
    runs = (
        NumpyBackward(left, lambda: left.log_prob(x), np.ones(2)),
        TorchBackward(right, lambda: right.log_prob(torch.tensor(x)), torch.ones(2).double()),
    )
    for model, run in zip(models, runs, strict=True):
        run()
        once = [to_numpy(parameter.grad).copy() for parameter in model.parameters()]
        run()
        assert any(gradient.any() for gradient in once)
        for gradient, parameter in zip(once, model.parameters(), strict=True):
            np.testing.assert_array_equal(gradient, to_numpy(parameter.grad))


def test_naive_passes_draw_the_pixels_of_the_sample(small_size):
    small_size()
    naive = [np.zeros((autoregressive.IMAGES, 24)) for _ in range(2)]
    for images, run in zip(naive, runs_of(NAIVE).values(), strict=True):
        for _ in range(24):
            pixel, bits = run()
            assert not images[:, pixel].any(), "a pixel is drawn twice"
            images[:, pixel] = to_numpy(bits)
    sampled = [to_numpy(run()).reshape(-1, 24) for run in runs_of(SAMPLING).values()]
    assert 0.2 < sampled[0].mean() < 0.8
    for images in (*naive, sampled[1]):
        np.testing.assert_array_equal(images, sampled[0])


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
def test_a_naive_pass_that_draws_other_values_is_an_error(small_size, monkeypatch, implementation):
    small_size()
    sampling = autoregressive._sampling
    monkeypatch.setattr(autoregressive, "_sampling", lambda *a: lambda: 1 - sampling(*a)())
    with pytest.raises(AssertionError, match="pixel 0: a full pass draws other values"):
        runs_of(NAIVE)[implementation]()


def test_the_step_is_adamax_on_both_panels(small_size, monkeypatch):
    small_size()
    taken = []
    for panel, kind in (("left", numpy_ref.nn.optim.Adamax), ("right", torch.optim.Adamax)):
        step = kind.step
        monkeypatch.setattr(kind, "step", lambda *a, s=step, p=panel: taken.append(p) or s(*a))
    for run in runs_of("step").values():
        run()
    assert taken == ["left", "right"]


def test_operations_have_the_size_of_the_workload(small_size):
    small_size()
    for operation, shape in {
        "flow": (3, 3),
        "masked convolution": (3, 4, 4, 6),
        INVERSE: (3, 3),
    }.items():
        assert all(tuple(run().shape) == shape for run in runs_of(operation).values())
    assert bench.operations("vlae") == (*steps.OPERATIONS, *PARTS, INVERSE, SAMPLING, NAIVE)
    sizes = pairs.PAIRS["vlae"].sizes.values()
    assert all(
        np.gcd(config.height * config.width, autoregressive.STRIDE) == 1 for config, _ in sizes
    )
