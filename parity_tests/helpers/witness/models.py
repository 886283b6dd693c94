"""Cases for the loss of every registered model, whose `backward` runs each vjp on its way."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
from helpers.finite_differences import total_loss
from helpers.small_vlaes import binary_images, make_models
from helpers.witness.runs import Case

from diptych import pairs, weights
from diptych.pairs.pair import Pair
from model_specs.common.key import Key
from numpy_ref.nn import random

VARIANTS = {
    "mlp_vae": [name for name in pairs.get("mlp_vae").variants if name != "784-400-20"],
    "rnn": ["", "per_step", "variational_recurrent", "squared_error"],
    "lstm": ["", "recurrent", "tied", "words"],
    "conv_vae": ["", "bce,sum", "gaussian_learned", "margin", "mixture,grey"],
    "vlae": ["", "unconditional", "unconditional,positions", "factorised,soft", "stacks"],
}
"""Variants of each pair whose sizes are small enough for numbers of 50 digits."""
SIZES = {"conv_vae": 4, "vlae": 2}
"""Examples in a batch, elsewhere 4: 1 / 4 and 1 / 2 are exact in float64. The losses multiply by
1 / N, which for N = 3 is wrong in the seventeenth digit."""
DRAWS = 4
"""Draws of z for each example, in a model that takes several."""
KEY = Key(20261131)


NAMES = [
    f"loss of {name}, {variant}" if variant else f"loss of {name}"
    for name, variants in VARIANTS.items()
    for variant in variants
] + ["images of conv_vae", "images of conv_vae at z = mu"]


@functools.cache
def make_case(label: str) -> Case:
    """The loss of both panels with the same weights, none of them at its initial 0 or 1; or the
    images, whose vjp takes a gradient of mu, logvar and z too."""
    if label not in NAMES:
        raise KeyError(label)
    name, _, variant = label.removeprefix("loss of ").partition(", ")
    if label.startswith("images"):
        return _images(sample_posterior=label == NAMES[-2])
    pair = pairs.get(name)
    config, size = pair.variants[variant], SIZES.get(name, 4)
    if name == "vlae":
        left, right = make_models(config)
        batch: Any = binary_images(config, size)
    else:
        left, right = _with_same_weights(pair, config)
        batch = pair.batch(config, KEY, np.dtype("float64"), size)
    several = {"samples": DRAWS} if getattr(config, "samples", 1) > 1 else {}
    noise = left.draw_noise(KEY.fold_in("noise"), size, **several)
    return Case(_left_total, _right_total, (batch, noise), (left, right), together=True)


def _images(sample_posterior: bool) -> Case:
    pair = pairs.get("conv_vae")
    config = replace(pair.variants[""], base_channels=1)
    left, right = _with_same_weights(pair, config)
    batch = pair.batch(config, KEY, np.dtype("float64"), SIZES["conv_vae"])
    noise = left.draw_noise(KEY.fold_in("noise"), SIZES["conv_vae"])
    forward = functools.partial(_forward, sample_posterior=sample_posterior)
    return Case(forward, forward, (batch, noise), (left, right), together=True)


def _with_same_weights(pair: Pair, config: Any) -> tuple[Any, Any]:
    left, right = pair.left(config, KEY), pair.right(config, KEY)
    for path, parameter in left.named_parameters():
        parameter.data += 0.1 * random.normal(KEY.fold_in(path), parameter.data.shape)
    weights.transfer(left, right)
    return left, right


def _forward(model: Any, *arguments: Any, **options: Any) -> Any:
    return model.forward(*arguments, **options)


def _left_total(model: Any, batch: Any, noise: Any) -> Any:
    return total_loss(model)(batch, noise)


def _right_total(model: Any, batch: Any, noise: Any) -> Any:
    return model.loss(batch, noise).total
