"""The initial weights of every model on both panels, number by number from plain random numbers.

Each parameter has a stream of its own: key / its name.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import plain_random

from diptych import pairs, weights
from model_specs.common.key import Key

KEY = Key(8).fold_in("initial weights")
ATOL = 1e-15


def normal(std):
    return lambda key, shape: std * plain_random.normal(key, shape)


def uniform(bound):
    return lambda key, shape: bound * (2 * plain_random.uniform(key, shape) - 1)


def constant(value):
    return lambda key, shape: np.full(shape, float(value))


def fan_in(state, name):
    """U(-b, b) with b = 1 / sqrt(the size of one output's weight), for the bias too."""
    weight = state[name.replace(".bias", ".weight")]
    return uniform(weight[0].size ** -0.5)


def rule(model, config, state, name):
    """(distribution, key) of one parameter."""
    layer, _, leaf = name.rpartition(".")
    if name.startswith("latent.flow."):
        path = name.removeprefix("latent.flow.")
        return fan_in(state, name), KEY.fold_in("latent").fold_in(path)
    if model == "vlae":
        values = {"weight_v": normal(0.05), "weight_g": constant(1), "bias": constant(0)}
        return values[leaf], KEY.fold_in(name)
    if model == "lstm":
        return uniform(config.init_scale), KEY.fold_in(name)
    if f"{layer}.running_mean" in state:
        return constant(leaf == "weight"), KEY.fold_in(name)
    if model == "rnn" or config.init == "normal":
        std = config.weight_std if model == "rnn" else 0.1
        return normal(std) if state[name].ndim > 1 else constant(0), KEY.fold_in(name)
    return fan_in(state, name), KEY.fold_in(name)


def shifts(model, config, state):
    """What a model adds to its draws: a gain on the diagonal of W_hh, and a forget bias."""
    for name, array in state.items():
        shift = np.zeros(array.shape)
        if model == "rnn" and "weight_hh" in name:
            shift += config.recurrent_gain * np.eye(config.hidden_dim)
        if model == "lstm" and "bias_ih" in name:
            H = config.hidden_dim
            shift[H : 2 * H] = config.forget_bias  # the second of the gates i, f, g, o
        yield name, shift


NAMES = (
    *("mlp_vae", "mlp_vae[sigma]", "mlp_vae[beta]", "mlp_vae[deterministic]"),
    *("conv_vae", "conv_vae[none,grey]"),
    *("vlae", "vlae[unconditional]", "vlae[stacks]", "vlae[factorised,soft]"),
    *("vlae[iaf_posterior,affine]", "rnn", "rnn[squared_error]", "lstm", "lstm[tied]"),
)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", NAMES)
def test_every_initial_weight_is_the_number_of_its_own_stream(name, side):
    pair, config = pairs.find(name)
    model = getattr(pair, side)(config, KEY)
    state, base = weights.to_arrays(model.state_dict()), name.partition("[")[0]
    trained, checked = {n for n, _ in model.named_parameters()}, 0
    for entry, shift in shifts(base, config, state):
        array = state[entry]
        if entry not in trained:  # buffers, and the second name of a tied weight
            continue
        draw, key = rule(base, config, state, entry)
        expected = draw(key, array.shape) + shift
        np.testing.assert_allclose(array, expected, rtol=0, atol=ATOL, err_msg=entry)
        checked += 1
    assert checked == len(trained)
