"""Benchmarks of the VLAE: parts and samplers compute the same on both panels."""

import dataclasses

import numpy as np
import pytest
import torch

import numpy_ref.nn.optim
from diptych import bench, pairs
from diptych.arrays import to_numpy
from diptych.bench import autoregressive, drawing, steps
from diptych.bench.autoregressive import PARTS
from diptych.bench.drawing import FEW, INVERSE, MANY, naive, sampling
from diptych.bench.passes import NumpyBackward, TorchBackward
from diptych.parity.measures.rows import normwise
from model_specs.vlae import VLAEConfig

SIZE, COLOUR_SIZE = "4 x 6, batch 3", "4 x 6 x 3, batch 3"
SIZES = {SIZE: MANY, COLOUR_SIZE: FEW}
"""The small sizes, and the number of images that are sampled at once."""
SMALL = {"height": 4, "width": 6, "maps": 2, "hidden_dim": 5, "latent_dim": 3, "flow_steps": 2}
SMALL |= {"flow_hidden_dim": 7, "flow_hidden_layers": 2, "decoder_maps": 4}
COLOUR = {name: SMALL[name] for name in SMALL if name not in ("hidden_dim", "latent_dim")}
COLOUR |= {"channels": 3, "likelihood": "discretized_logistic_mixture", "components": 2}
COLOUR |= {"latent_maps": 2, "strides": 1, "context": "gated", "window_width": 4}
COLOUR |= {"window_rows": 2, "decoder_blocks": 2}
COLOUR_PARTS = ("gated block", "mixture of logistics")
MASKED_PARTS = ("masked convolution", "masked convolution, weight-normalised")
PARTS_OF = {
    SIZE: [part for part in [*PARTS, INVERSE] if part not in COLOUR_PARTS],
    COLOUR_SIZE: [part for part in [*PARTS, INVERSE] if part not in MASKED_PARTS],
}
CASES = [(size, part) for size, parts in PARTS_OF.items() for part in parts]


@pytest.fixture
def small_size(monkeypatch):
    """small_size() registers small sizes, with affine flows if `mean_only` is False."""

    def make(mean_only=True):
        binary = VLAEConfig(**SMALL, masked_layers=3, flow_mean_only=mean_only)
        colour = VLAEConfig(**COLOUR, flow_mean_only=mean_only)
        sizes = {SIZE: (binary, 3), COLOUR_SIZE: (colour, 3)}
        monkeypatch.setitem(
            pairs.PAIRS, "vlae", dataclasses.replace(pairs.get("vlae"), sizes=sizes)
        )

    return make


def first_array(result):
    """The first of several arrays, or the only one."""
    return to_numpy(result[0] if isinstance(result, tuple) else result)


def runs_of(operation, dtype="float64", size=SIZE):
    case = bench.Case("vlae", size, 3, dtype)
    return {name: bench.build(case, operation, name) for name in ("numpy", "torch")}


@pytest.mark.parametrize("mean_only", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("size", "operation"), CASES)
def test_a_part_gives_the_same_on_both_panels_in_every_call(
    small_size, size, operation, dtype, mean_only
):
    small_size(mean_only)
    runs = runs_of(operation, dtype, size)
    assert list(runs) == ["numpy", "torch"]
    left, right = ([first_array(run()) for _ in range(2)] for run in runs.values())
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


@pytest.mark.parametrize(("size", "count"), SIZES.items())
def test_naive_passes_draw_the_pixels_of_the_sample(small_size, size, count):
    small_size()
    channels = 1 if size == SIZE else 3
    in_turn = [np.full((count, channels, 24), np.nan) for _ in range(2)]
    for images, run in zip(in_turn, runs_of(naive(count), size=size).values(), strict=True):
        for _ in range(24):
            pixel, values = run()
            assert np.isnan(images[:, :, pixel]).all(), "a pixel is drawn twice"
            images[:, :, pixel] = to_numpy(values)
    runs = runs_of(sampling(count), size=size).values()
    sampled = [to_numpy(run()).reshape(count, channels, 24) for run in runs]
    assert 0.2 < sampled[0].mean() < 0.8
    for images in (*in_turn, sampled[1]):
        np.testing.assert_array_equal(images, sampled[0])


@pytest.mark.parametrize("implementation", ["numpy", "torch"])
@pytest.mark.parametrize(("size", "count"), SIZES.items())
def test_a_naive_pass_that_draws_other_values_is_an_error(
    small_size, monkeypatch, size, count, implementation
):
    small_size()
    sample = drawing._sampling
    monkeypatch.setattr(drawing, "_sampling", lambda *a: lambda: 1 - sample(*a)())
    with pytest.raises(AssertionError, match="pixel 0: a full pass draws other values"):
        runs_of(naive(count), size=size)[implementation]()


def test_a_part_is_timed_for_the_configs_that_have_it(small_size):
    small_size()
    for size, count in SIZES.items():
        case = bench.Case("vlae", size, 3, "float64")
        timed = [name for name in bench.parts("vlae") if bench.takes(case, name, "numpy")]
        assert timed == [*PARTS_OF[size], sampling(count), naive(count)]
        assert bench.takes(case, "step", "numpy")


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
    sizes = pairs.PAIRS["vlae"].sizes.values()
    assert all(np.gcd(config.height * config.width, drawing.STRIDE) == 1 for config, _ in sizes)
    small_size()
    for size, operation, shape in (
        (SIZE, "flow", (3, 3)),
        (SIZE, "masked convolution", (3, 4, 4, 6)),
        (SIZE, INVERSE, (3, 3)),
        (COLOUR_SIZE, "flow", (3, 12)),
        (COLOUR_SIZE, "gated block", (3, 4, 4, 6)),
        (COLOUR_SIZE, "mixture of logistics", (3, 20, 4, 6)),
    ):
        for run in runs_of(operation, size=size).values():
            assert first_array(run()).shape == shape
    assert bench.operations("vlae") == (*steps.OPERATIONS, *autoregressive.OPERATIONS)
