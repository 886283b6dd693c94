"""The config of the VLAE: the paper's numbers, the decoder's blocks, derived properties."""

from itertools import pairwise

import numpy as np
import pytest
from helpers.small_vlaes import make_config, make_models

from diptych.pairs import traits
from diptych.training.presets import PRESETS
from model_specs.autoregressive.pixel_layers import layout
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig, VLAENoise

# Chen et al. (2016): the recipe, and the ablations of their table


def test_the_recipe_is_the_papers():
    """64 latents, a flow of 4 steps of 3 x 640, 4 context maps, 6 tied layers of 12 maps."""
    recipe = VLAEConfig()
    assert recipe.example_shape == (1, 28, 28) and recipe.encoder_maps == [1, 16, 32, 32]
    assert recipe.sizes == [(28, 28), (14, 14), (7, 7), (4, 4)] and recipe.hidden_dim == 450
    assert (recipe.latent, recipe.latent_dim, recipe.context_maps) == ("af_prior", 64, 4)
    flow = recipe.flow
    assert (flow.dim, flow.steps, flow.hidden_layers, flow.hidden_dim) == (64, 4, 3, 640)
    assert flow.mean_only and all(a == b[::-1] for a, b in pairwise(flow.orders))
    assert (recipe.context, recipe.masked_layers, recipe.decoder_maps) == ("raster", 6, 12)
    assert recipe.tied and recipe.free_nats == pytest.approx(7.84, rel=1e-14)
    assert recipe.free_bits_of == "total"


@pytest.mark.parametrize("size", ["mnist", "digits"])
@pytest.mark.parametrize(
    ("suffix", "latent", "context"),
    [
        ("", "af_prior", "raster"),
        ("-gaussian", "gaussian", "raster"),
        ("-iaf", "iaf_posterior", "raster"),
        ("-factorised", "gaussian", "none"),
        ("-factorised-af", "af_prior", "none"),
        ("-factorised-iaf", "iaf_posterior", "none"),
        ("-unconditional", "none", "raster"),
    ],
)
def test_presets_are_the_ablations(size, suffix, latent, context):
    preset = PRESETS[f"vlae-{size}{suffix}"]
    assert preset.model == "vlae"
    config = VLAEConfig(**preset.fields)
    assert config == VLAEConfig(latent=latent, context=context)
    run = {name: preset.run[name] for name in ("optimizer", "lr", "polyak")}
    assert run == {"optimizer": "adamax", "lr": 0.002, "polyak": 0.998}


# The decoder's blocks


@pytest.mark.parametrize(
    ("layers", "blocks"), [(1, ""), (2, "M"), (3, "MppM"), (4, "MppMM"), (6, "MppMMppMM")]
)
def test_two_pointwise_blocks_follow_every_other_layer(layers, blocks):
    """Six layers have four of them, each its own; tied masked blocks are one."""
    for tied in (True, False):
        config = make_config(masked_layers=layers, tied=tied)
        result = layout(config, lambda: ["M"], lambda: ["p"])
        assert "".join(block[0] for block in result) == blocks
        masked = {id(block) for block in result if block == ["M"]}
        assert len(masked) == (min(1, layers - 1) if tied else layers - 1)
        pointwise = [id(block) for block in result if block == ["p"]]
        assert len(set(pointwise)) == len(pointwise)


# Derived properties


@pytest.mark.parametrize(
    ("changes", "divisible"),
    [
        ({}, False),
        ({"free_bits_of": "soft"}, False),
        ({"free_bits_of": "latent"}, False),
        ({"free_bits_of": "none"}, True),
        ({"latent": "none"}, True),  # there is nothing to charge for
    ],
)
def test_divisible_is_whether_the_loss_of_a_batch_is_the_mean_of_its_parts(changes, divisible):
    config = make_config(**{"latent": "gaussian", "free_bits": 0.2} | changes)
    assert traits(config).divisible == divisible
    left, _ = make_models(config)
    rng = np.random.default_rng(8)
    x = (rng.random((6, *config.example_shape)) < 0.4).astype(float)
    eps = rng.normal(size=(6, config.code_dim))
    first, rest, whole = (
        left.loss(x[part], VLAENoise(eps[part]))[0].total
        for part in (slice(0, 2), slice(2, 6), slice(0, 6))
    )
    if divisible:
        assert (2 * first + 4 * rest) / 6 == pytest.approx(whole, rel=1e-12)


def test_the_widest_layer_counts_all_of_them():
    tiny = {"height": 2, "width": 2, "maps": 1, "hidden_dim": 1, "latent_dim": 1}
    tiny |= {"context_maps": 1, "decoder_maps": 1, "flow_hidden_dim": 1}
    assert traits(VLAEConfig(**tiny)).memory.widest == 4 * 16  # fewer maps count as 16
    for name, value, widest in (
        ("maps", 50, 200),
        ("decoder_maps", 50, 200),
        ("context_maps", 49, 200),
        ("hidden_dim", 300, 300),
        ("latent_dim", 300, 300),
        ("flow_hidden_dim", 300, 300),
    ):
        assert traits(VLAEConfig(**tiny | {name: value})).memory.widest == widest, name
    assert traits(VLAEConfig()).memory.widest == 28 * 28 * 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "28 x 28, context raster, latent af_prior of 64"),
        ({"latent": "none"}, "28 x 28, context raster, latent none"),
        (
            {"latent": "none", "position_maps": 4},
            "28 x 28, context raster, latent none, 4 maps of positions",
        ),
        (
            {"context": "local", "window_width": 5, "window_rows": 2, "width": 9},
            "28 x 9, context local 5 x 2, latent af_prior of 64",
        ),
    ],
)
def test_a_title_tells_the_switches(changes, message):
    assert traits(VLAEConfig(**changes)).title == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window_rows": -1}, "window_rows: got -1, takes an int >= 0"),
        ({"window_rows": True}, "window_rows: got True, takes an int >= 0"),
        ({"window_rows": "2", "context": "local"}, "window_rows: got '2', takes an int >= 0"),
        (
            {"window_rows": 10**9, "context": "local"},
            "window_rows: got 1000000000 for images of 28 x 20, takes 28 at most",
        ),
        (
            {"window_width": 41, "context": "local"},
            "window_width: got 41 for images of 28 x 20, takes 40 at most",
        ),
    ],
)
def test_impossible_windows_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        VLAEConfig(width=20, **fields)
    assert VLAEConfig(width=20, context="local", window_width=40, window_rows=28)


def test_noise_for_a_model_without_a_latent_is_one_clear_error():
    """The message takes (3, 0), though other messages say that no size may be 0."""
    for model in make_models(make_config("none")):
        bad = model.draw_noise(Key(1), 3)
        assert bad.eps.shape == (3, 0)
        eps = np.zeros((3, 4)) if isinstance(bad.eps, np.ndarray) else bad.eps.new_zeros((3, 4))
        x = np.zeros((3, 1, 5, 7))
        model_inputs = x if isinstance(bad.eps, np.ndarray) else bad.eps.new_tensor(x)
        with pytest.raises(ValueError, match=r"^eps: got shape \(3, 4\), takes \(3, 0\)$"):
            model.loss(model_inputs, VLAENoise(eps))
