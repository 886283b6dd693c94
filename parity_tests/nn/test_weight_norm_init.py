"""Data-dependent initialisation of layers and nets: outputs of mean 0 and variance 1."""

import numpy as np
import pytest
import torch
from helpers.check_initialisation import (
    assert_all_normalised,
    assert_normalised,
    assert_same_lengths_and_biases,
    bits,
    initialize_by,
    state_of,
)
from helpers.layers_with_same_weights import (
    LAYERS,
    make_layer_pair,
    normalised_layers,
    record_layer_outputs,
    small_config,
    with_same_weights,
)
from helpers.run_layers import outputs_of
from torch.nn import functional as F

from diptych import weights
from diptych.parity.measures.rows import normwise
from numpy_ref.autoregressive import pixel_cnn as left_pixels
from numpy_ref.autoregressive import resnet
from numpy_ref.nn import weight_norm as left_side
from torch_impl.autoregressive import pixel_cnn as right_pixels
from torch_impl.autoregressive import resnet as right_resnet
from torch_impl.nn import weight_norm as right_side

PANELS = ("numpy", "torch")
each_layer = pytest.mark.parametrize("name", LAYERS)
each_panel = pytest.mark.parametrize("panel", PANELS)


# Layers


@each_layer
def test_outputs_have_mean_0_and_variance_1(name, rng):
    """In the initialising run and in any later run on the batch, and as batch norm gives them."""
    left, right, x = make_layer_pair(name, rng)
    for side in (left, right):
        ((_, outputs),) = initialize_by(side, x)
        assert_normalised(outputs)
        np.testing.assert_array_equal(outputs_of(side, x)[0], outputs)
    assert_same_lengths_and_biases(left, right)

    plain, _, x = make_layer_pair(name, np.random.default_rng(20261121))
    plain.weight_v.data[...] = left.weight_v.data
    plain.weight_g.data[...], plain.bias.data[...] = 1, 0
    t = torch.from_numpy(plain(x)[0])
    wanted = F.batch_norm(t, None, None, training=True, eps=1e-300)
    assert normwise(outputs_of(left, x)[0], wanted.numpy()) <= 1e-13


@each_layer
def test_earlier_lengths_do_not_matter_and_directions_stay(name, rng):
    for side in make_layer_pair(name, rng)[:2]:
        x = make_layer_pair(name, rng)[2]
        first = state_of(side)
        initialize_by(side, x)
        once = state_of(side)
        np.testing.assert_array_equal(once["weight_v"], first["weight_v"])
        assert (once["weight_g"] > 0).all() and (once["weight_g"] != first["weight_g"]).all()
        initialize_by(side, x)
        for leaf, array in state_of(side).items():
            np.testing.assert_array_equal(array, once[leaf])
        initialize_by(side, 2 * x)  # g halves, b stays: exactly, for 2 is
        twice = state_of(side)
        np.testing.assert_array_equal(2 * twice["weight_g"], once["weight_g"])
        np.testing.assert_array_equal(twice["bias"], once["bias"])


@each_panel
def test_a_constant_output_keeps_its_length(panel, rng):
    """Output 0 reads a constant, output 1 rounding errors, output 2 a variable."""
    layer = {"numpy": left_side, "torch": right_side}[panel].WNLinear(3, 3)
    state = {"weight_v": 3 * np.eye(3), "weight_g": np.full((3, 1), 7.0), "bias": np.full(3, 5.0)}
    weights.load_state(layer, state, "")
    x = np.stack((np.full(4, 0.7), 1e-16 * rng.normal(size=4), 0.01 * rng.normal(size=4)), 1)
    initialize_by(layer, x)
    after = state_of(layer)
    np.testing.assert_array_equal(after["weight_g"][:2, 0], 1)
    assert after["weight_g"][2, 0] == pytest.approx(1 / x[:, 2].std(), rel=1e-13)
    np.testing.assert_allclose(after["bias"][:2], [-0.7, 0], atol=1e-15)
    y = outputs_of(layer, x)[0]
    np.testing.assert_allclose(y[:, :2], 0, atol=1e-15)
    assert_normalised(y[:, 2:])


@each_panel
@pytest.mark.parametrize(
    ("mean", "deviation", "is_constant"),
    [
        (0.0, 2e-5, False),
        (0.0, 0.5e-5, True),
        (0.9, 2e-5, False),
        (100.0, 2e-3, False),  # the deviation counts relative to the mean where that is over 1
        (-100.0, 2e-3, False),
        (100.0, 0.5e-3, True),
        (-100.0, 0.5e-3, True),
    ],
)
def test_an_output_is_constant_below_a_deviation_of_1e_5(panel, mean, deviation, is_constant):
    layer = {"numpy": left_side, "torch": right_side}[panel].WNLinear(1, 1)
    state = {"weight_v": np.full((1, 1), 3.0), "weight_g": np.full((1, 1), 7.0), "bias": np.ones(1)}
    weights.load_state(layer, state, "")
    initialize_by(layer, np.array([[mean - deviation], [mean + deviation]]))
    scale = 1 if is_constant else 1 / deviation
    after = state_of(layer)
    assert after["weight_g"].item() == pytest.approx(scale, rel=1e-6)
    assert after["bias"].item() == pytest.approx(-mean * scale, rel=1e-6)


@each_panel
def test_an_interrupted_run_leaves_no_layer_to_be_initialised(panel, rng):
    side = {"numpy": left_side, "torch": right_side}[panel]
    pixels = {"numpy": left_pixels, "torch": right_pixels}[panel]
    model = with_same_weights(
        left_pixels.PixelCNN(small_config()), pixels.PixelCNN(small_config()), rng
    )[1]
    layers = normalised_layers(model)

    def stopped():
        outputs_of(model.first, rng.normal(size=(2, 3, 5, 7)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side.data_dependent_init(model, stopped)
    side.data_dependent_init(model, lambda: None)
    before = state_of(model)
    assert len(layers) > 3
    for name, layer in layers.items():
        v = before[f"{name}.weight_v"]
        outputs_of(layer, rng.normal(size=(2, v.shape[1], 5, 7)))
    for name, array in state_of(model).items():
        np.testing.assert_array_equal(array, before[name])


# Nets


def nets():
    config = small_config()
    for panel, net, pixels in (
        ("numpy", resnet, left_pixels),
        ("torch", right_resnet, right_pixels),
    ):
        untied = small_config(tied=False, masked_layers=4)
        yield panel, "encoder", net.Encoder(config)
        yield panel, "decoder", net.Decoder(config)
        yield panel, "PixelCNN", pixels.PixelCNN(config)
        yield panel, "PixelCNN, untied", pixels.PixelCNN(untied)
        yield panel, "factorised", pixels.FactorisedDecoder(small_config(context="none"))


@pytest.mark.parametrize(
    "name", ["encoder", "decoder", "PixelCNN", "PixelCNN, untied", "factorised"]
)
def test_every_layer_of_a_net_is_normalised(name, rng):
    modules = {panel: model for panel, label, model in nets() if label == name}
    left, right = with_same_weights(modules["numpy"], modules["torch"], rng)
    images = bits(rng, 6, 1, 5, 7)
    model_inputs = {"encoder": (images,), "decoder": (rng.normal(size=(6, 4)),)}
    inputs = model_inputs.get(name, (images, rng.normal(size=(6, 2, 5, 7))))
    result = {panel: initialize_by(modules[panel], *inputs) for panel in PANELS}
    for panel, model in modules.items():
        assert_all_normalised(model, result[panel])
        again = record_layer_outputs(model, lambda m=model: outputs_of(m, *inputs))
        assert [n for n, _ in again] == [n for n, _ in result[panel]]
        for (layer, y), (_, kept) in zip(again, result[panel], strict=True):
            assert normwise(y, kept) <= 1e-13, layer
    assert [n for n, _ in result["numpy"]] == [n for n, _ in result["torch"]]
    assert_same_lengths_and_biases(left, right)


@each_panel
def test_a_tied_layer_is_set_by_its_first_use(panel, rng):
    modules = {p: model for p, label, model in nets() if label == "PixelCNN"}
    with_same_weights(modules["numpy"], modules["torch"], rng)
    result = initialize_by(modules[panel], bits(rng, 6, 1, 5, 7), rng.normal(size=(6, 2, 5, 7)))
    tied = [y for name, y in result if name == "body.0.branch.1"]
    assert len(tied) == 2
    assert_normalised(tied[0])
    assert np.abs(tied[1].var((0, 2, 3)) - 1).max() > 0.01
