"""The pictures of receptive fields, Jacobians, convolutions and optimisers against other means."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from diptych import weights
from diptych.site.pictures import convolutions, jacobians, optimisers, pixels
from diptych.site.pictures.heatmap import heatmap
from diptych.site.pictures.pixels import CONTEXTS, HEIGHT, WIDTH, config_of, depths_of
from model_specs.autoregressive.flow import made_degrees
from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.vlae import VLAE
from torch_impl.autoregressive.flow import AutoregressiveFlow as TorchFlow


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_flipped_pixel_changes_the_logits_of_the_pixels_that_read_it(context: str) -> None:
    depths, place = depths_of(context), (5, 9)
    for depth in (1, 4):
        model = VLAE(config_of(context, depth), Key(7))
        x = np.round(random.uniform(Key(8), (1, 1, HEIGHT, WIDTH)))
        maps = random.normal(Key(9), (1, 1, HEIGHT, WIDTH))
        flipped = x.copy()
        flipped[0, 0, *place] = 1 - flipped[0, 0, *place]
        changed = (model.pixels(x, maps)[0] != model.pixels(flipped, maps)[0])[0, 0]
        expected = np.zeros((HEIGHT, WIDTH), bool)
        for (i, j), least in depths.items():
            row, column = place[0] - i, place[1] - j
            if least <= depth and 0 <= row < HEIGHT and 0 <= column < WIDTH:
                expected[row, column] = True
        np.testing.assert_array_equal(changed, expected)


def test_a_field_that_the_network_does_not_have_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = pixels.field_of
    monkeypatch.setattr(pixels, "field_of", lambda config: original(config) - {(-1, 0)})
    with pytest.raises(ValueError, match=r"raster, 1 layers: the network's Jacobian .* differ in"):
        pixels.depths_of.__wrapped__("raster")


def test_the_sentence_and_the_drawing_count_the_same_pixels() -> None:
    picture = pixels.receptive_fields(["raster"])
    (count,) = re.findall(r"reads (\d+) of the 144 before it", picture.html)
    shown = re.findall(r'<path d="([^"]*)" class="read depth-\d"', picture.html)
    assert sum(d.count("M") for d in shown) == int(count) == 69


@pytest.mark.parametrize("variant", jacobians.VARIANTS)
def test_jacobians_of_the_flow_are_those_of_autograd_on_the_right(variant: str) -> None:
    left, z = jacobians.make_flow(variant)
    right = TorchFlow(left.config, Key(0))
    weights.transfer(left, right)
    point = torch.tensor(z)

    def autograd(function: object, x: torch.Tensor) -> np.ndarray:
        return torch.autograd.functional.jacobian(function, x).numpy()

    whole = jacobians.jacobian(left, z)
    np.testing.assert_allclose(whole, autograd(lambda x: right(x[None]).eps[0], point), atol=1e-14)
    made = autograd(lambda x: right.steps[0].made(x[None])[0, : jacobians.DIM], point)
    first = next(iter(left.steps))
    np.testing.assert_allclose(jacobians.jacobian(first.made, z), made, atol=1e-14)
    eps = left(z[None])[0].eps[0]
    inverse = jacobians.differences(left.inverse, eps)
    np.testing.assert_allclose(inverse, np.linalg.inv(whole), atol=1e-8)


def test_a_step_is_triangular_in_its_order_and_the_flow_is_dense() -> None:
    for variant in jacobians.VARIANTS:
        flow, z = jacobians.make_flow(variant)
        first = next(iter(flow.steps))
        order = list(flow.config.orders[0])
        step = jacobians.jacobian(first, z)[np.ix_(order, order)]
        assert np.all(np.triu(step, 1) == 0)
        assert np.all(step[np.tril_indices(len(step))] != 0)
        assert (jacobians.jacobian(flow, z) != 0).sum() > 0.9 * step.size


def test_ways_through_the_masks_follow_from_the_degrees() -> None:
    flow, _ = jacobians.make_flow("mean only")
    config = flow.config
    degrees = made_degrees(config.orders[0], config.hidden_dim, config.hidden_layers)
    inputs, hidden, _, outputs = (np.array(d) for d in degrees)
    ways = np.array(
        [
            [
                sum(((hidden >= i) & (hidden <= h)).sum() for h in hidden[hidden <= o])
                for i in inputs
            ]
            for o in outputs
        ]
    )
    rows = re.findall(r'data-rows="([^"]*)" data-entry="ways', jacobians.made_masks().html)
    shown = np.array([[float(n) for n in row.split(",")] for row in rows[0].split(";")])
    np.testing.assert_allclose(shown, ways, rtol=5e-3)  # three digits


def test_a_heat_map_leaves_exact_zeros_blank_and_shades_the_rest() -> None:
    html = heatmap(np.array([[0.0, 1e-9], [-4.0, 1.0]]), "title", "a{i}{j}", "Label.")
    assert re.findall(r'class="entry" fill-opacity="([^"]*)"', html) == ["0.12", "0.5", "1"]
    assert 'data-rows="0,1e-09;-4,1"' in html


def test_a_convolution_reads_what_the_formula_says_and_as_often_as_torch_does() -> None:
    for kernel, stride, padding in [(4, 2, 1), (3, 2, 1), (5, 3, 2), (1, 2, 2)]:
        jacobian = convolutions.reads((kernel, stride, padding))
        size = convolutions.SIZE
        for output, (first, last) in enumerate(convolutions.intervals(jacobian)):
            taps = [stride * output - padding + i for i in range(kernel)]
            taps = [tap for tap in taps if 0 <= tap < size]
            assert list(range(first, last + 1)) == taps
        x = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        kernel_of_ones = torch.ones(1, 1, kernel, kernel, dtype=torch.float64)
        torch.nn.functional.conv2d(x, kernel_of_ones, None, stride, padding).sum().backward()
        assert x.grad is not None
        np.testing.assert_array_equal(jacobian.sum((0, 1)), x.grad[0, 0].numpy())


def test_a_jacobian_that_is_no_product_of_rows_and_columns_is_an_error() -> None:
    jacobian = convolutions.reads((3, 1, 1))
    jacobian[2, 2, 2, 2] = 0
    with pytest.raises(ValueError, match="jacobian: got one that differs"):
        convolutions.intervals(jacobian)


def test_optimisers_of_both_panels_take_the_same_path() -> None:
    for left, right, keywords in optimisers.OPTIMISERS.values():
        for lr in optimisers.RATES:
            a = optimisers.left_path(left, lr, **keywords)
            b = optimisers.right_path(right, lr, **keywords)
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.abs(a).max())


def test_sgd_shrinks_each_coordinate_by_a_constant_factor() -> None:
    left, _, _ = optimisers.OPTIMISERS["SGD"]
    points = optimisers.left_path(left, 0.03)
    factors = (1 - 0.03 * optimisers.CURVATURE) ** np.arange(optimisers.STEPS + 1)[:, None]
    np.testing.assert_allclose(points, factors * optimisers.START, rtol=1e-12)


def test_optimisers_that_take_different_paths_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, right, _ = optimisers.OPTIMISERS["Adam"]
    wrong = {"Adam": (lambda *a, **k: left(*a, eps=1e-6, **k), right, {})}
    monkeypatch.setattr(optimisers, "OPTIMISERS", wrong)
    with pytest.raises(ValueError, match="Adam: the paths of the panels differ by"):
        optimisers.optimiser_paths()
