"""A PixelCNN without a latent that reads learned maps of positions, on both panels."""

import numpy as np
import pytest
from helpers.call_either_panel import call
from helpers.run_layers import outputs_and_gradients, outputs_of
from helpers.small_vlaes import COLOUR_CONTEXTS, colour_config, make_models

import numpy_ref.autoregressive.resnet as left_side
import torch_impl.autoregressive.resnet as right_side
from diptych import weights
from model_specs.vlae import VLAEConfig

CONTEXTS = [context for context in COLOUR_CONTEXTS if context != "none"]
SIDES = [left_side, right_side]


def make_config(context="raster", maps=2, **changes):
    return colour_config("binary", context, "none", 0, position_maps=maps, **changes)


def log_probabilities(model, x):
    """log p(x), nats, of each image."""
    logits = call(model, "decode", np.zeros((len(x), 0), x.dtype), x)
    return -np.logaddexp(0, np.where(x == 1, -logits, logits)).sum((1, 2, 3))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("side", SIDES, ids=["left", "right"])
def test_all_images_share_the_maps_and_add_to_their_gradient(side, dtype, rng):
    _, decoder = side.make_networks(make_config(), dtype=dtype)
    code = np.zeros((3, 0), dtype)
    (maps,) = outputs_of(decoder, code)
    assert maps.shape == (3, 2, 5, 7) and maps.dtype == dtype and not maps.any()
    w, dmaps = (rng.normal(size=shape).astype(dtype) for shape in ((2, 5, 7), (3, 2, 5, 7)))
    weights.load_state(decoder, {"weight": w}, "")
    result = outputs_and_gradients(decoder, (code,), [dmaps])
    np.testing.assert_array_equal(result["y0"], [w, w, w])
    error = abs(result["weight"] - dmaps.astype("longdouble").sum(0))
    assert (error <= 2 * np.finfo(dtype).eps * abs(dmaps).sum(0)).all(), "two additions round"
    assert result["weight"].dtype == dtype


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_probabilities_of_all_binary_images_sum_to_1(context):
    x = np.array([*np.ndindex((2,) * 9)], float).reshape(-1, 1, 3, 3)
    for model in make_models(make_config(context, height=3, width=3)):
        assert np.exp(log_probabilities(model, x)).sum() == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_maps_tell_two_pixels_with_the_same_surroundings_apart(context):
    """Without them, two pixels far from the border have the same logit in a black image."""
    x = np.zeros((1, 1, 14, 20))
    for maps in (0, 2):
        left, right = make_models(make_config(context, maps, height=14, width=20))
        for model in (left, right):
            logits = call(model, "decode", np.zeros((1, 0)), x)[0, 0]
            difference = abs(logits[10, 9] - logits[11, 10])
            assert difference > 1e-3 if maps else difference <= 1e-12 * abs(logits[10, 9])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position_maps": -1}, "position_maps: got -1, takes an int >= 0"),
        ({"position_maps": 2.0}, r"position_maps: got 2\.0, takes an int >= 0"),
        (
            {"position_maps": 4, "latent": "gaussian"},
            "position_maps: got 4 with latent 'gaussian', takes 0",
        ),
        ({"context_maps": 3}, "context_maps: got 3 with latent 'none', takes 4"),
    ],
)
def test_impossible_numbers_of_maps_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        VLAEConfig(**{"latent": "none"} | fields)


def test_weights_without_maps_do_not_fit_a_model_that_reads_them():
    without, _ = make_models(make_config(maps=0))
    for model in make_models(make_config()):
        with pytest.raises(ValueError, match=r"decoder\.weight"):
            weights.load_state(model, without.state_dict(), "")
