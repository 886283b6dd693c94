"""The contract of the VLAE: noise, state_dict, initialisation, one clear error."""

import math

import numpy as np
import pytest
import torch
from helpers.run_layers import tensors
from helpers.small_vlaes import KEY, KINDS, binary_images, make_config, make_models

from diptych import pairs, weights
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from model_specs.vlae import VLAEConfig, VLAELoss, VLAENoise
from numpy_ref.nn.weight_norm import WeightNorm

SIDES = ["left", "right"]
each_side = pytest.mark.parametrize("side", SIDES)
each_kind = pytest.mark.parametrize(("latent", "context"), KINDS)


def model_and_arrays(side, config, *arrays, dtype="float64"):
    """A model of one panel, and the arrays as arrays or tensors, whichever it takes."""
    model = dict(zip(SIDES, make_models(config, dtype), strict=True))[side]
    return model, *(arrays if side == "left" else tensors(*arrays))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@each_kind
def test_noise_and_loss_are_named_tuples_of_the_models_dtype(latent, context, dtype):
    for model in make_models(make_config(latent, context), dtype):
        x = binary_images(model.config, 3, dtype)
        model_inputs = torch.from_numpy(x) if isinstance(model, torch.nn.Module) else x
        Z = 0 if latent == "none" else 4
        noise, many = model.draw_noise(KEY, 3), model.draw_noise(KEY, 3, samples=2)
        assert isinstance(noise, VLAENoise) and noise.eps.shape == (3, Z)
        assert many.eps.shape == (3, 2, Z) and noise.eps.dtype == many.eps.dtype == model.dtype
        loss = model.loss(model_inputs, noise)
        loss = loss if isinstance(model, torch.nn.Module) else loss[0]
        assert isinstance(loss, VLAELoss) and {term.dtype for term in loss} == {model.dtype}
        assert model.log_weight(model_inputs, many).dtype == model.dtype
        assert model.log_weight(model_inputs, many).shape == (3, 2)
        assert model.sample(KEY, 2).dtype == model.dtype
        if isinstance(model, torch.nn.Module):
            assert {t.device for t in (noise.eps, loss.total)} == {model.device}


def test_part_of_a_batch_gets_its_noise_within_the_whole():
    left, right = make_models(make_config())
    for count in (None, 3):
        whole = left.draw_noise(KEY, 6, samples=count).eps
        assert normwise(right.draw_noise(KEY, 6, samples=count).eps.numpy(), whole) <= 1e-15
        for model in (left, right):
            own = np.asarray(model.draw_noise(KEY, 6, samples=count).eps)
            part = np.asarray(model.draw_noise(KEY, 2, samples=count, first=3).eps)
            np.testing.assert_array_equal(part, own[3:5])
    once = left.draw_noise(KEY, 6).eps
    np.testing.assert_array_equal(left.draw_noise(KEY, 6, samples=1).eps[:, 0], once)
    assert (left.draw_noise(Key(1), 6).eps != once).all()


@each_kind
def test_panels_begin_with_the_same_weights_and_load_each_others(latent, context):
    pair = pairs.get("vlae")
    for tied in (True, False):
        config = make_config(latent, context, tied=tied, free_bits_of="soft")
        left, right = pair.left(config, Key(3)), pair.right(config, Key(3))
        ours, theirs = left.state_dict(), right.state_dict()
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            assert array.shape == theirs[name].shape
            if array.any():
                assert normwise(array, theirs[name].numpy()) <= 1e-15, name
        moved = {name: np.asarray(array + 0.25) for name, array in ours.items()}
        right.load_state_dict({name: torch.from_numpy(a) for name, a in moved.items()})
        left.load_state_dict(right.state_dict())
        for name, array in left.state_dict().items():
            np.testing.assert_array_equal(array, moved[name])


@each_kind
def test_initialisation_gives_every_layer_mean_0_and_variance_1(latent, context):
    """Both panels get the same weights, and stay in training or in evaluation mode."""
    pair, config = pairs.get("vlae"), make_config(latent, context, tied=False, free_bits_of="soft")
    left, right = pair.left(config, Key(3)), pair.right(config, Key(3))
    before, x, noise = left.state_dict(), binary_images(config, 12), left.draw_noise(KEY, 12)
    left.initialize(x, noise)
    right.initialize(*tensors(x), VLAENoise(*tensors(*noise)))
    theirs = right.state_dict()
    for name, array in left.state_dict().items():
        apart = np.linalg.norm(array - theirs[name].numpy())  # a mean may be 0 but for rounding
        assert apart <= 1e-13 * max(1, np.linalg.norm(array)), name
        initialized = name.rsplit(".", 1)[1] in ("weight_g", "bias") and "flow" not in name
        assert (array != before[name]).any() == initialized, name
    assert left.training and right.training
    outputs = {}
    for name, layer in left.named_modules():
        if isinstance(layer, WeightNorm):

            def recorded(x, name=name, run=layer.forward):
                outputs[name], vjp = run(x)
                return outputs[name], vjp

            layer.forward = recorded
    left.loss(x, noise)
    biased = {name.rpartition(".")[0] for name in before if name.endswith(".bias")}
    for name, y in outputs.items():
        axes = 0, *range(2, y.ndim)
        if name in biased:  # the link of two stacks has none
            np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(y.std(axes), 1, rtol=1e-10, err_msg=name)
    for model in (left.eval(), right.eval()):
        model_inputs = (x, noise) if model is left else (*tensors(x), VLAENoise(*tensors(*noise)))
        model.initialize(*model_inputs)
        assert not model.training


@each_side
@pytest.mark.parametrize("argument", ["x", "eps"])
def test_an_initialisation_that_raises_changes_nothing(side, argument):
    config = make_config(free_bits_of="soft")
    x, eps = binary_images(config, 4), np.zeros((4, 4))
    model, good, grey, short = model_and_arrays(side, config, x, 0.5 * x, eps[:3])
    noise = model.draw_noise(KEY, 4)
    before = {n: a.copy() for n, a in weights.to_arrays(model.state_dict()).items()}
    with pytest.raises(ValueError, match=f"{argument}: got"):
        model.initialize(*((grey, noise) if argument == "x" else (good, VLAENoise(short))))
    model.loss(good, noise)  # no layer is waiting for a batch
    model.eval().loss(good, noise)
    for name, array in model.state_dict().items():
        if name != "free_bits.gamma":
            np.testing.assert_array_equal(array, before[name], err_msg=name)


def _bad_images():
    good = binary_images(make_config(), 3)
    yield "shape", good[:, :, :4]
    yield "shape", good[:, 0]
    yield "shape", good[:0]
    yield "shape", np.concatenate((good, good), 1)
    yield "dtype", good.astype(np.float32)
    for what, value in (
        ("1 values such as 0.37, takes 0 and 1", 0.37),
        ("values from 0 to 2", 2.0),
        ("values from -1", -1.0),
        ("NaN or inf", math.nan),
        ("NaN or inf", math.inf),
    ):
        bad = good.copy()
        bad[2, 0, 3, 1] = value
        yield what, bad


@each_side
@pytest.mark.parametrize(("what", "x"), list(_bad_images()))
def test_bad_images_are_one_clear_error(side, what, x):
    model, bad = model_and_arrays(side, make_config(), x)
    one, many = model.draw_noise(KEY, 3), model.draw_noise(KEY, 3, samples=2)
    for call in (
        lambda: model.loss(bad, one),
        lambda: model.log_weight(bad, many),
        lambda: model.encode(bad),
        lambda: model.reconstruct(bad),
        lambda: model.initialize(bad, one),
    ):
        with pytest.raises(ValueError, match=f"x: got .*{what}"):
            call()


@each_side
def test_bad_noise_is_one_clear_error(side):
    x, eps = binary_images(make_config(), 3), np.zeros((3, 4))
    bad = (eps[:2], eps[:, :3], eps[:, None], eps + np.nan, eps.astype(np.float32))
    model, model_inputs, *noises = model_and_arrays(side, make_config(), x, *bad)
    for noise in noises:
        with pytest.raises(ValueError, match=r"eps: got .*takes"):
            model.loss(model_inputs, VLAENoise(noise))
    model, model_inputs, *noises = model_and_arrays(
        side, make_config(), x, eps, np.zeros((3, 0, 4))
    )
    for noise in noises:
        with pytest.raises(ValueError, match=r"eps: got shape .*takes \(3, any, 4\)"):
            model.log_weight(model_inputs, VLAENoise(noise))


@each_side
def test_bad_codes_are_one_clear_error(side):
    config = make_config()
    x, code = binary_images(config, 2), np.zeros((2, 4))
    codes = (code[:, :3], code[:1], code[0], code[:, None], code.astype(np.float32))
    model, good, *bad = model_and_arrays(side, config, x, *codes)
    for model_inputs in bad:
        with pytest.raises(ValueError, match=r"^code: got .*takes"):
            model.decode(model_inputs, good)
    images_ = (x.swapaxes(2, 3), x[0], x[:0], np.concatenate((x, x), 1), x.astype(np.float32))
    model, good, *bad = model_and_arrays(side, config, code, *images_)
    for model_inputs in bad:
        with pytest.raises(ValueError, match=r"^x: got .*takes"):
            model.decode(good, model_inputs)


@each_side
def test_counts_below_one_are_refused(side):
    (model,) = model_and_arrays(side, make_config())
    for bad in (0, -1, 1.5, True):
        for name, call in {
            "count": lambda n: model.sample(KEY, n),
            "samples": lambda n: model.draw_noise(KEY, 2, samples=n),
            "batch_size": lambda n: model.draw_noise(KEY, n),
        }.items():
            with pytest.raises(ValueError, match=f"{name}: got {bad!r}, takes an int >= 1"):
                call(bad)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 0) for name in ("height", "width", "maps", "hidden_dim", "latent_dim")),
        *((name, -1) for name in ("context_maps", "decoder_maps", "masked_layers")),
        ("latent_dim", 2.0),
        ("masked_layers", True),
        ("window_width", 0),
        ("latent", "flow"),
        ("context", "full"),
        ("free_bits_of", "some"),
        ("free_bits", -0.01),
        ("free_bits", math.nan),
        ("tied", 1),
        ("flow_steps", 0),
        ("flow_hidden_dim", 0),
        ("flow_hidden_layers", 5),
        ("flow_mean_only", "yes"),
    ],
)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"^{field}: got {value!r}, takes"):
        VLAEConfig(**{field: value})


NO_ROWS = "window_rows: got 0 with window_width 1, takes an int >= 1"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context": "none", "latent": "none"}, "context: got 'none' with latent 'none'"),
        ({"context": "local", "window_width": 1, "window_rows": 0}, NO_ROWS),
        ({"context": "raster", "height": 1, "width": 1}, "context: got raster for images of 1 x 1"),
        ({"context": "stacks", "height": 1, "width": 1}, "context: got stacks for images of 1 x 1"),
        (
            {"context": "local", "window_width": 1, "window_rows": 1, "height": 1},
            "context: got local 1 x 1 for images of 1 x 28, takes a window with",
        ),
        (
            {"context": "local", "window_width": 2, "window_rows": 0, "width": 1},
            "context: got local 2 x 0 for images of 28 x 1",
        ),
        ({"context": "local", "window_rows": -1}, "window_rows: got -1, takes an int >= 0"),
        ({"context": "local", "window_rows": 1.0}, "window_rows: got 1.0, takes an int >= 0"),
    ],
)
def test_a_model_that_sees_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        VLAEConfig(**fields)


@pytest.mark.parametrize("size", [(1, 2), (2, 1)])
@pytest.mark.parametrize("context", ["raster", "stacks"])
def test_one_pixel_before_another_is_enough(context, size):
    config = make_config(context=context, height=size[0], width=size[1])
    x, code = np.zeros((2, 1, *size)), np.ones((2, 4))
    x[1].flat[0] = 1
    model, x, code = model_and_arrays("left", config, x, code)
    logits, _ = model.decode(code, x)
    first, second = (logits.reshape(2, 2)[:, i] for i in range(2))
    assert first[0] == first[1] and second[0] != second[1]
