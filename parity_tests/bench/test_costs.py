"""FLOPs that the cost formulas give are those that torch counts; parameters are the model's own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from helpers.small_vlaes import small_config
from torch.utils.flop_counter import FlopCounterMode

from diptych import pairs
from diptych.arrays import to_tensors
from diptych.bench import costs
from diptych.bench.costs.layers import conv2d, conv_transpose2d, linear
from diptych.bench.costs.part import Products
from diptych.pairs.pair import Pair
from model_specs.autoregressive.kinds import MIXTURE
from model_specs.autoregressive.windows import Window
from model_specs.common.effects import effective
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig
from numpy_ref.nn.module import as_dtype

KEY = Key(17)
BATCH = 3
SIZES = [(model, size) for model in pairs.PAIRS for size in pairs.get(model).sizes]


def computed(pair: Pair, config: Any, size: int) -> tuple[float, ...]:
    """Dense FLOPs of a forward pass, and of a forward and a backward pass, by the formulas.

    float64, because in float32 the LSTM is a kernel of oneDNN that the counter does not know."""
    operations = ("forward", "gradients")
    return tuple(costs.cost(pair, config, size, "float64", o).dense_flops for o in operations)


def counted(pair: Pair, config: Any, model: Any, size: int) -> tuple[int, int]:
    """The same two numbers by torch's counter, which knows matrix products and convolutions."""
    arrays = pair.batch(config, KEY, as_dtype("float64"), size)
    batch = to_tensors(arrays, torch.device("cpu"), track=False)
    noise = model.draw_noise(KEY, size)
    counter = FlopCounterMode(display=False)
    with counter:
        loss = model.loss(batch, noise).total
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("name", pairs.names())
def test_dense_flops_and_parameters_are_those_that_torch_counts(name: str) -> None:
    """Matrix products and convolutions are all that the counter knows, and all that has FLOPs."""
    pair, config = pairs.find(name)
    model = pair.right(config, KEY, dtype="float64", **pairs.right_options(name))
    assert counted(pair, config, model, BATCH) == computed(pair, config, BATCH)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert costs.work(pair, config, BATCH).parameters == total


@pytest.mark.parametrize("strides", [1, 2, 4])
@pytest.mark.parametrize("latent_maps", [0, 2])
def test_flops_and_parameters_of_latents_and_strides(latent_maps: int, strides: int) -> None:
    pair = pairs.get("vlae")
    config = small_config(height=9, width=17, latent_maps=latent_maps, strides=strides)
    model = pair.right(config, KEY, dtype="float64")
    assert counted(pair, config, model, BATCH) == computed(pair, config, BATCH)
    work = costs.work(pair, config, BATCH)
    assert work.parameters == sum(parameter.numel() for parameter in model.parameters())
    layers = [part for part in work.parts if part.name == "MADE over maps"]
    assert bool(layers) == bool(latent_maps)
    for part in layers:  # inside the image, 4 of 9 taps are read, and part of the one in the middle
        assert part.needed.forward < 5 / 9 * part.dense.forward


@pytest.mark.parametrize("window", [(0, 1), (1, 2), (2, 1), (4, 2), (5, 3)])
@pytest.mark.parametrize(
    "change",
    [
        {"channels": 3, "likelihood": MIXTURE, "components": 2, "latent_maps": 2},
        {"channels": 3, "likelihood": MIXTURE, "context_channels": "grey", "latent": "none"},
        {},
    ],
)
def test_flops_and_parameters_of_the_gated_decoder(
    change: dict[str, Any], window: tuple[int, int]
) -> None:
    pair, (width, rows) = pairs.get("vlae"), window
    gated = {"context": "gated", "window_width": width, "window_rows": rows, "decoder_blocks": 3}
    config = small_config(**effective(VLAEConfig, gated, change))
    model = pair.right(config, KEY, dtype="float64")
    assert counted(pair, config, model, BATCH) == computed(pair, config, BATCH)
    work = costs.work(pair, config, BATCH)
    assert work.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert work.data == BATCH * (math.prod(config.example_shape) + config.code_dim)
    shifted = [part for part in work.parts if " convolution of " in part.name]
    assert all(part.needed.forward <= part.dense.forward for part in shifted)
    assert sum(part.needed.forward for part in shifted) < sum(p.dense.forward for p in shifted)


@pytest.mark.parametrize("context", ["local", "raster", "stacks", "none"])
def test_flops_of_the_other_decoders_of_colour(context: str) -> None:
    pair = pairs.get("vlae")
    colour = {"channels": 3, "likelihood": MIXTURE, "components": 2, "context": context}
    config = small_config(**effective(VLAEConfig, {"context_channels": "grey"}, colour))
    model = pair.right(config, KEY, dtype="float64")
    assert counted(pair, config, model, BATCH) == computed(pair, config, BATCH)
    work = costs.work(pair, config, BATCH)
    assert work.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("model", "size"), SIZES)
def test_dense_flops_of_the_benchmarks_are_those_that_torch_counts(model: str, size: str) -> None:
    pair = pairs.get(model)
    config, _ = pair.sizes[size]
    right = pair.right(config, KEY, dtype="float64")
    assert counted(pair, config, right, 2) == computed(pair, config, 2)


def test_flops_of_a_linear_layer_are_two_for_each_weight_and_row() -> None:
    part = linear("layer", 5, 3, 7)
    assert part.needed == part.dense == Products(210, 210, 210)
    assert linear("first", 5, 3, 7, input_grad=False).dense == Products(210, 0, 210)
    assert linear("masked", 5, 3, 7, unmasked=11).needed == Products(110, 110, 110)
    assert part.parameters == 3 * 7 + 7


def test_products_of_a_convolution_are_those_of_an_impulse_at_every_pixel() -> None:
    """The taps inside an image are the sum of a convolution of ones, without padding and mask."""
    ones = torch.ones(1, 1, 5, 4, dtype=torch.float64)
    mask = Window.raster(3).mask("B")
    kernel = torch.tensor(mask, dtype=torch.float64)[None, None]
    inside = torch.nn.functional.conv2d(ones, kernel, padding=1).sum()
    part = conv2d("layer", 2, (1, 6), (3, 3), (5, 4), padding=(1, 1), mask=[mask])
    assert part.needed.forward == 2 * 2 * 6 * inside
    assert part.dense.forward == 2 * 2 * 6 * 9 * 5 * 4


def test_products_of_a_transposed_convolution_are_those_that_reach_the_window() -> None:
    """The image of ones adds each product once to the output, of which a window is read."""
    ones, kernel = torch.ones(1, 1, 4, 3), torch.ones(1, 1, 4, 4)
    y = torch.nn.functional.conv_transpose2d(ones, kernel, stride=2, padding=1)[0, 0]
    window = (range(1, 6), range(2, 5))
    options = {"stride": 2, "padding": 1}
    whole = conv_transpose2d("layer", 1, (1, 1), 4, (4, 3), (8, 6), **options)
    part = conv_transpose2d("layer", 1, (1, 1), 4, (4, 3), (8, 6), **options, window=window)
    assert whole.needed.forward == 2 * y.sum()
    assert part.needed.forward == 2 * y[1:6, 2:5].sum()
    assert part.dense == whole.dense


def test_an_operation_of_a_model_has_more_of_everything_than_the_one_within_it() -> None:
    for model, size in SIZES:
        pair = pairs.get(model)
        config, batch = pair.sizes[size]
        forward, gradients, step = (
            costs.cost(pair, config, batch, "float64", operation) for operation in costs.OPERATIONS
        )
        assert forward.flops < gradients.flops == step.flops
        assert forward.bytes < gradients.bytes < step.bytes < step.traffic
        assert 0.3 * step.dense_flops < step.flops <= step.dense_flops
        half = costs.cost(pair, config, batch, "float32", "step")
        assert half.flops == step.flops
        assert half.bytes < 0.6 * step.bytes


def test_adam_moves_seven_values_for_each_parameter() -> None:
    """It reads p, g, m and v, and writes p, m and v; the gradients are written before it."""
    pair = pairs.get("mlp_vae")
    config, batch = pair.sizes["784-400-20, batch 128"]
    P = costs.work(pair, config, batch).parameters
    forward, gradients, step = (
        costs.cost(pair, config, batch, "float32", operation).bytes
        for operation in costs.OPERATIONS
    )
    assert forward == 4 * (128 * 784 + 128 * 20 + P)
    assert gradients - forward == 4 * P
    assert step - gradients == 4 * 7 * P


def test_masked_weights_are_no_needed_products() -> None:
    """About half of the weights of a MADE are masked, and 4 of 9 taps of a layer of type B."""
    pair = pairs.get("vlae")
    config, batch = pair.sizes["28 x 28, Chen et al., batch 16"]
    parts = costs.work(pair, config, batch).parts
    made = [part for part in parts if part.name == "MADE"]
    share = sum(p.needed.forward for p in made) / sum(p.dense.forward for p in made)
    assert 0.4 < share < 0.6
    masked = [part for part in parts if part.name == "masked convolution B"]
    assert masked
    for part in masked:
        assert 0.5 < part.needed.forward / part.dense.forward < 5 / 9


def test_another_pair_or_operation_is_refused() -> None:
    pair = pairs.get("mlp_vae")
    config, _ = pair.sizes["16-32-2, batch 64"]
    with pytest.raises(ValueError, match="operation: got 'sampling', takes"):
        costs.cost(pair, config, 1, "float32", "sampling")
    other = dataclasses.replace(pair, variants={"": 3})
    with pytest.raises(ValueError, match="pair: got one of int, takes one of MLPVAEConfig"):
        costs.cost(other, 3, 1, "float32", "step")
