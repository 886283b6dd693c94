"""The VLAE in colour: parity over its switches, and samples."""

import itertools

import numpy as np
import pytest
import torch
from helpers.run_layers import tensors
from helpers.small_vlaes import (
    COLOUR_CONTEXTS,
    KEY,
    LATENTS,
    PIXELS,
    colour_config,
    images,
    make_models,
)

import numpy_ref.nn.optim
import numpy_ref.nn.random
import numpy_ref.vlae
from diptych import parity
from diptych.data.colour_digits import OFFSETS
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from model_specs.vlae import VLAENoise

BINARY_BEFORE = ("none", "local", "raster", "stacks")
"""The contexts whose binary models test_vlae covers."""
KINDS = [
    (pixels, context, latent, maps)
    for pixels, context, latent, maps in itertools.product(PIXELS, COLOUR_CONTEXTS, LATENTS, (0, 2))
    if (latent, context) != ("none", "none")
    and not (latent == "none" and maps)
    and not (pixels == "grey context" and context == "none")
    and not (pixels == "binary" and not maps and context in BINARY_BEFORE)
]
MODELS = [
    ("colour", "gated", "af_prior", 2),
    ("grey context", "gated raster", "iaf_posterior", 2),
    ("levels", "stacks", "gaussian", 0),
    ("binary", "gated", "af_prior", 0),
    ("grey context", "local", "gaussian", 2),
    ("colour", "none", "af_prior", 2),
]
each_model = pytest.mark.parametrize("kind", MODELS, ids=["-".join(map(str, m)) for m in MODELS])


def loss_and_gradients(model, x, noise):
    """The loss terms and the parameter gradients of either panel, by name."""
    model.zero_grad()
    if isinstance(model, torch.nn.Module):
        loss = model.loss(*tensors(x), type(noise)(*tensors(*noise)))
        loss.total.backward()
        result = {name: term.detach() for name, term in loss._asdict().items()}
        return {name: array.numpy() for name, array in (result | model.gradients()).items()}
    loss, backward = model.loss(x, noise)
    backward()
    return {name: np.array(array) for name, array in (loss._asdict() | model.gradients()).items()}


def by_layer(arrays):
    """Loss terms and gradients, those of one layer's v, g and bias joined to one vector.

    v and g share the gradient of their weight; where g has little of it, that is a difference.
    """
    layers = {}
    for name, array in arrays.items():
        layers.setdefault(name.rpartition(".")[0] or name, []).append(array.ravel())
    return {name: np.concatenate(parts) for name, parts in layers.items()}


@pytest.mark.parametrize(("pixels", "context", "latent", "maps"), KINDS)
def test_losses_and_gradients_agree_over_the_switches(pixels, context, latent, maps):
    """Images of 5 x 7 and 3 x 4 pixels, a batch of 3 in training and of 1 in evaluation mode."""
    for height, width in ((5, 7), (3, 4)):
        config = colour_config(pixels, context, latent, maps, height=height, width=width)
        left, right = make_models(config)
        for training, size in ((True, 3), (False, 1)):
            left.train(training), right.train(training)
            x, noise = images(config, size), left.draw_noise(KEY, size)
            ours, theirs = (loss_and_gradients(model, x, noise) for model in (left, right))
            assert ours.keys() == theirs.keys() and {"total", "recon", "kl"} < ours.keys()
            assert {n: a.shape for n, a in ours.items()} == {n: a.shape for n, a in theirs.items()}
            others = by_layer(theirs)
            for name, array in by_layer(ours).items():
                assert normwise(array, others[name]) <= 1e-13, (height, size, name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@each_model
def test_every_tensor_agrees(kind, dtype):
    """float32 stays within the bound of its dtype and size, against the float64 left panel."""
    config = colour_config(*kind)
    left, right = make_models(config, dtype)
    report = parity.assert_parity(left, right, images(config, 3, dtype), left.draw_noise(KEY, 3))
    assert {"loss.total", "encode[0]", "decode"} <= {row.name for row in report.rows}
    gradients = {row.name for row in report.rows if row.kind == "parameter gradient"}
    assert gradients == set(left.gradients())
    if dtype == "float64":
        assert all(row.error <= 1e-13 for row in report.rows)


@pytest.mark.parametrize("kind", [MODELS[0], MODELS[1], MODELS[2]], ids=["af", "iaf", "gaussian"])
def test_a_hundred_steps_end_in_the_same_weights(kind):
    """Adamax at the paper's learning rate, with soft free bits."""
    left, right = make_models(colour_config(*kind, height=4, width=5, free_bits_of="soft"))
    start = left.state_dict()
    ours = numpy_ref.nn.optim.Adamax(left.named_parameters(), lr=0.002)
    theirs = torch.optim.Adamax(right.parameters(), lr=0.002)
    for step in range(100):
        x, noise = (
            images(left.config, 4, key=KEY.fold_in(step)),
            left.draw_noise(Key(step), 4),
        )
        for model, optimizer in ((left, ours), (right, theirs)):
            loss_and_gradients(model, x, noise)
            optimizer.step()
    for name, array in right.state_dict().items():
        error = normwise(left.state_dict()[name], array.numpy())
        assert error <= 1e-10, (name, error)
    moved = [not np.array_equal(start[n], a) for n, a in left.state_dict().items()]
    assert any(moved)


@each_model
def test_the_same_key_gives_the_same_images_on_both_panels(kind):
    """Samples, reconstructions and their means; drawn pixels are exactly equal."""
    left, right = make_models(colour_config(*kind))
    left.eval(), right.eval()
    x = images(left.config, 2)
    for mean in (False, True):
        ours, theirs = (model.sample(KEY, 3, mean=mean) for model in (left, right))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 if mean else 0)
        assert ours.shape == (3, *left.example_shape) and 0 <= ours.min() <= ours.max() <= 1
        ours = left.reconstruct(x, KEY, mean=mean)
        theirs = right.reconstruct(*tensors(x), KEY, mean=mean)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 if mean else 0)
    left.likelihood.check("samples", left.sample(KEY, 3, mean=False), left.dtype)


@each_model
def test_log_weights_agree_and_average_to_the_elbo(kind):
    left, right = make_models(colour_config(*kind))
    left.eval(), right.eval()
    x, noise = images(left.config, 2), left.draw_noise(KEY, 2, samples=4)
    ours = left.log_weight(x, noise)
    theirs = right.log_weight(*tensors(x), VLAENoise(*tensors(noise.eps)))
    assert ours.shape == (2, 4) and normwise(ours, theirs.numpy()) <= 1e-13
    for k in range(4):
        loss, _ = left.loss(x, VLAENoise(noise.eps[:, k]))
        if left.config.latent != "gaussian":  # whose KL in the loss is not of one sample
            assert -ours[:, k].mean() == pytest.approx(loss.total, rel=1e-12)


def test_the_kl_of_the_maps_sums_to_the_kl():
    for latent in ("gaussian", "af_prior", "iaf_posterior"):
        left, right = make_models(colour_config("colour", "gated", latent, 2))
        left.eval(), right.eval()
        x, noise = images(left.config, 3), left.draw_noise(KEY, 3)
        kl = left.kl_of_maps(x, noise)
        theirs = right.kl_of_maps(*tensors(x), VLAENoise(*tensors(noise.eps)))
        assert kl.shape == (2,) and normwise(kl, theirs.numpy()) <= 1e-13
        assert kl.sum() == pytest.approx(left.loss(x, noise)[0].kl, rel=1e-12)
    with pytest.raises(ValueError, match="latent_maps: got 0"):
        make_models(colour_config("colour", "gated", "gaussian", 0))[0].kl_of_maps(x, noise)


# What a pixel depends on


@pytest.mark.parametrize(("pixels", "context"), sorted({(p, c) for p, c, *_ in KINDS}))
def test_a_pixel_depends_on_the_pixels_before_it_alone(pixels, context):
    """Each pixel is changed in turn: parameters up to it stay equal, and some after it change."""
    left, _ = make_models(colour_config(pixels, context, "gaussian", 0, height=3, width=4))
    x, code = images(left.config, 1), np.ones((1, left.code_dim))
    before, _ = left.decode(code, x)
    later_change = False
    for k in range(12):
        changed = x.copy()
        changed.reshape(-1, 12)[:, k] = 1 - changed.reshape(-1, 12)[:, k]
        difference = (left.decode(code, changed)[0] != before).reshape(-1, 12).any(0)
        assert not difference[: k + 1].any()
        later_change |= difference.any()
    assert later_change == (context != "none")


@pytest.mark.parametrize("context", [c for c in COLOUR_CONTEXTS if c != "none"])
def test_a_grey_context_sees_no_colour(context):
    """A change of colour without luma changes nothing, and every other change of a pixel does."""
    x = np.full((1, 3, 3, 4), 0.5)
    for pixels in ("grey context", "colour"):
        left, _ = make_models(colour_config(pixels, context, "gaussian", 0, height=3, width=4))
        code = np.ones((1, left.code_dim))
        before, _ = left.decode(code, x)
        for offset in OFFSETS:
            changed = x.copy()
            changed[0, :, 1, 1] += np.array(offset) / 255
            difference = np.abs(left.decode(code, changed)[0] - before).max()
            assert (difference <= 1e-12) == (pixels == "grey context")
        changed[0, 1, 1, 1] += 0.1
        assert np.abs(left.decode(code, changed)[0] - before).max() > 1e-6
