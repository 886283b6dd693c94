"""The benchmark of the VLAE: parts and samplers do the same work on both panels."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import numpy_ref.nn.optim
from diptych import bench, pairs
from diptych.arrays import to_numpy
from diptych.bench import autoregressive, whole
from diptych.bench.autoregressive import INVERSE, NAIVE, PARTS, SAMPLING
from diptych.bench.passes import numpy_backward, torch_backward
from diptych.parity.report import normwise
from diptych.runs import results
from model_specs.vlae import VLAEConfig

SIZE = "4 x 6, batch 3"
SMALL = {"height": 4, "width": 6, "maps": 2, "hidden_dim": 5, "latent_dim": 3, "flow_steps": 2}
SMALL |= {"flow_hidden_dim": 7, "flow_hidden_layers": 2, "decoder_maps": 4, "masked_layers": 3}


@pytest.fixture
def small(monkeypatch):
    """small() registers one small size, with the affine flow where `mean_only` is False."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def make(mean_only=True):
        config = VLAEConfig(**SMALL, flow_mean_only=mean_only)
        pair = dataclasses.replace(pairs.get("vlae"), sizes={SIZE: (config, 3)})
        monkeypatch.setitem(pairs.PAIRS, "vlae", pair)

    return make


def ways(work, dtype="float64"):
    return bench.workload("vlae", SIZE, dtype, work, compiled=False).runs


@pytest.mark.parametrize("mean_only", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("work", [*PARTS, INVERSE])
def test_a_part_gives_the_same_on_both_panels_each_time(small, work, dtype, mean_only):
    small(mean_only)
    runs = ways(work, dtype)
    assert list(runs) == ["numpy", "torch cpu"]
    ours, theirs = ([to_numpy(run()) for _ in range(2)] for run in runs.values())
    assert ours[0].dtype == dtype and ours[0].any()
    np.testing.assert_array_equal(ours[0], ours[1])
    np.testing.assert_array_equal(theirs[0], theirs[1])
    assert normwise(ours[0], theirs[0]) <= (1e-13 if dtype == "float64" else 1e-5)


def test_a_second_call_does_not_add_to_the_gradients_of_the_first(small):
    small()
    config, _ = pairs.get("vlae").sizes[SIZE]
    part = PARTS["flow"]
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    models = left, right = part.left(config), part.right(config)
    runs = (
        numpy_backward(left, lambda: left.log_prob(x), np.ones(2)),
        torch_backward(right, lambda: right.log_prob(torch.tensor(x)), torch.ones(2).double()),
    )
    for model, run in zip(models, runs, strict=True):
        run()
        once = [to_numpy(parameter.grad).copy() for parameter in model.parameters()]
        run()
        assert any(gradient.any() for gradient in once)
        for gradient, parameter in zip(once, model.parameters(), strict=True):
            np.testing.assert_array_equal(gradient, to_numpy(parameter.grad))


def test_naive_passes_draw_every_pixel_of_the_sample(small):
    small()
    drawn = [np.zeros((autoregressive.IMAGES, 24)) for _ in range(2)]
    for images, run in zip(drawn, ways(NAIVE).values(), strict=True):
        for _ in range(24):
            pixel, bits = run()
            assert not images[:, pixel].any(), "each pixel has one turn, or was 0"
            images[:, pixel] = to_numpy(bits)
    sampled = [to_numpy(run()).reshape(-1, 24) for run in ways(SAMPLING).values()]
    assert 0.2 < sampled[0].mean() < 0.8
    for images in (*drawn, sampled[1]):
        np.testing.assert_array_equal(images, sampled[0])


@pytest.mark.parametrize("way", ["numpy", "torch cpu"])
def test_a_naive_pass_that_draws_another_pixel_is_told(small, monkeypatch, way):
    small()
    sampling = autoregressive._sampling
    monkeypatch.setattr(autoregressive, "_sampling", lambda *a: lambda: 1 - sampling(*a)())
    with pytest.raises(AssertionError, match="pixel 0: a full pass draws other values"):
        ways(NAIVE)[way]()


def test_the_step_is_adamax_on_both_panels(small, monkeypatch):
    small()
    stepped = []
    for panel, kind in (("left", numpy_ref.nn.optim.Adamax), ("right", torch.optim.Adamax)):
        step = kind.step
        monkeypatch.setattr(kind, "step", lambda *a, s=step, p=panel: stepped.append(p) or s(*a))
    for run in ways("step").values():
        run()
    assert stepped == ["left", "right"]


def test_every_call_takes_the_size_that_is_timed(small):
    small()
    for work, shape in {
        "flow": (3, 3),
        "masked convolution": (3, 4, 4, 6),
        INVERSE: (3, 3),
    }.items():
        assert all(tuple(run().shape) == shape for run in ways(work).values())
    assert bench.operations("vlae") == (*whole.OPERATIONS, *PARTS, INVERSE, SAMPLING, NAIVE)
    sizes = pairs.PAIRS["vlae"].sizes.values()
    assert all(
        np.gcd(config.height * config.width, autoregressive.STRIDE) == 1 for config, _ in sizes
    )


def test_the_command_tells_how_much_longer_a_naive_sample_takes(small, run, tmp_path, monkeypatch):
    small()
    monkeypatch.setattr(bench, "CALLS", 1)
    record = tmp_path / "speed.json"
    status, _, _ = run("bench", "vlae", "--rounds", 1, "--no-compiled", "--record", record)
    assert status == 0
    metrics = json.loads(record.read_text())["metrics"]
    for dtype in ("float64", "float32"):
        passes, sampling = (metrics[f"{SIZE} {dtype} {work}"] for work in (NAIVE, SAMPLING))
        for way in ("numpy", "torch cpu"):
            expected = 24 * passes[way]["ms"] / sampling[way]["ms"]
            assert sampling[way]["times_naive"] == pytest.approx(expected)
            assert "times_naive" not in passes[way]
    cell = f"{sampling['numpy']['times_naive']:.0f} x naive"
    assert cell in results._timed_table(json.loads(record.read_text()))
