"""The VLAE initialised by its first batch: every layer is normalised, on odd batches too."""

import numpy as np
import pytest
from helpers.check_initialisation import (
    assert_all_normalised,
    assert_same_lengths_and_biases,
    bits,
    state_of,
)
from helpers.layers_with_same_weights import (
    as_model_inputs,
    loss_terms,
    record_layer_outputs,
    small_config,
)

from diptych import weights
from model_specs.common.key import Key
from model_specs.vlae import VLAENoise
from numpy_ref import vlae
from torch_impl import vlae as right_vlae

CONFIGS = {
    "af_prior": {},
    "untied": {"tied": False, "masked_layers": 4},
    "gaussian, factorised": {"latent": "gaussian", "context": "none"},
    "unconditional": {"latent": "none"},
    "maps of positions": {"latent": "none", "position_maps": 2},
    "iaf_posterior, local": {"latent": "iaf_posterior", "context": "local", "window_width": 4},
    "8 x 8, soft": {"height": 8, "width": 8, "free_bits_of": "soft"},
}


def make_vlaes(config, x):
    """(left, right, noise) with the same weights."""
    left, right = vlae.VLAE(config, Key(3)), right_vlae.VLAE(config, Key(4))
    weights.transfer(left, right)
    return left, right, left.draw_noise(Key(5), len(x))


def initialize(model, x, noise):
    model.initialize(*as_model_inputs(model, x, noise))


@pytest.mark.parametrize("name", CONFIGS)
def test_initialize_normalises_every_layer(name, rng):
    config = small_config(**CONFIGS[name])
    x = bits(rng, 6, *config.example_shape)
    left, right, noise = make_vlaes(config, x)
    before = state_of(left)
    if "free_bits.gamma" in before:  # where a step up would show
        before["free_bits.gamma"] = np.array(0.5)
        for model in (left, right):
            weights.load_state(model, before, "")
    for model in (left, right):
        model.train()
        initialize(model, x, noise)
        assert model.training and model.pixels.training
        initialize(model.eval(), x, noise)
        assert not model.training
        assert_all_normalised(
            model, record_layer_outputs(model, lambda m=model: loss_terms(m, x, noise))
        )
    assert_same_lengths_and_biases(left, right)
    for model in (left, right):
        for leaf, array in state_of(model).items():  # the flow, gamma and all directions stay
            if leaf.rpartition(".")[2] not in ("weight_g", "bias") or leaf.startswith("latent"):
                np.testing.assert_array_equal(array, before[leaf])
    assert all(p.grad is None and p.requires_grad for p in right.parameters())
    assert not any(p.grad.any() for p in left.parameters())


DEGENERATE = {
    "black": lambda H, W: np.zeros((4, 1, H, W)),
    "white": lambda H, W: np.ones((7, 1, H, W)),
    "one image": lambda H, W: bits(np.random.default_rng(3), 1, 1, H, W),
    "one image five times": lambda H, W: DEGENERATE["one image"](H, W).repeat(5, 0),
}


@pytest.mark.parametrize("size", [(1, 2), (5, 7), (9, 8)], ids=str)
@pytest.mark.parametrize("images", DEGENERATE)
@pytest.mark.parametrize("latent", ["af_prior", "none"])
def test_degenerate_batches(latent, images, size):
    """No length of a layer is above 1000, and none is NaN."""
    x = DEGENERATE[images](*size)
    left, right, noise = make_vlaes(small_config(latent=latent, height=size[0], width=size[1]), x)
    for model in (left, right):
        initialize(model, x, noise)
        state = state_of(model)
        assert all(np.isfinite(array).all() for array in state.values())
        lengths = {n: a for n, a in state.items() if n.endswith("weight_g")}
        assert max(a.max() for a in lengths.values()) < 1e3
        if images == "black":
            encoders = [a for n, a in lengths.items() if n.startswith("encoder")]
            assert all((a == 1).all() for a in encoders)
    assert_same_lengths_and_biases(left, right, 1e-12)


@pytest.mark.parametrize("fault", ["grey image", "shape of x", "shape of eps", "NaN in eps"])
def test_a_batch_that_does_not_fit_changes_nothing(fault, rng):
    x = bits(rng, 3, 1, 5, 7)
    left, right, noise = make_vlaes(small_config(), x)
    bad, eps = {
        "grey image": (0.5 * x, noise.eps),
        "shape of x": (x[:, :, 1:], noise.eps),
        "shape of eps": (x, noise.eps[:, 1:]),
        "NaN in eps": (x, np.nan * noise.eps),
    }[fault]
    for model in (left, right):
        before = state_of(model)
        with pytest.raises(ValueError, match="^eps: got" if "eps" in fault else "^x: got"):
            initialize(model.train(), bad, VLAENoise(eps))
        assert model.training
        loss_terms(model, x, noise)
        for name, array in state_of(model).items():
            np.testing.assert_array_equal(array, before[name])
