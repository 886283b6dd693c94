"""FLOPs that the cost formulas give are those that torch counts; parameters are the model's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from diptych import pairs
from diptych.arrays import to_tensors
from diptych.bench import costs
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn.module import as_dtype

KEY = Key(17)
BATCH = 3
SIZES = [(model, size) for model in pairs.PAIRS for size in pairs.get(model).sizes]


def counted(pair: Pair, config: Any, size: int, **options: Any) -> tuple[int, int]:
    """FLOPs of a forward pass, and of a forward and a backward pass, by torch's counter.

    On the meta device a kernel computes shapes alone, so that large models cost nothing.
    """
    model = pair.right(config, KEY, dtype="float64", **options)
    batch = to_tensors(pair.batch(config, KEY, as_dtype("float64"), size), torch.device("cpu"), track=False)
    noise = model.draw_noise(KEY, size)
    counter = FlopCounterMode(display=False)
    with counter:
        loss = model.loss(batch, noise).total
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops()


@pytest.mark.parametrize("name", pairs.names())
def test_dense_flops_equal_torchs_count_for_every_variant(name: str) -> None:
    """Matrix products and convolutions are all that the counter knows, and all that has FLOPs."""
    pair, config = pairs.find(name)
    forward, gradients = counted(pair, config, BATCH, **pairs.right_options(name))
    expected = costs.cost(pair, config, BATCH, "float64", "forward").dense_flops
    assert forward == expected
    assert gradients == costs.cost(pair, config, BATCH, "float64", "gradients").dense_flops


@pytest.mark.parametrize("name", pairs.names())
def test_parameters_are_those_of_the_model(name: str) -> None:
    pair, config = pairs.find(name)
    model = pair.right(config, KEY, dtype="float32")
    total = sum(parameter.numel() for parameter in model.parameters())
    assert costs.work(pair, config, BATCH).parameters == total
