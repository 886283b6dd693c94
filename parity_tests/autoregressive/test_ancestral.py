"""Ancestral sampling: both panels draw the naive loop's images to the last bit.

For reconstructions see parity_tests/models/test_reconstruct.py.
"""

import numpy as np
import pytest
import torch
from helpers.run_layers import tensors
from helpers.small_vlaes import CONTEXTS, KEY, KINDS, make_config, make_models, naive_samples

import numpy_ref.autoregressive.ancestral
import torch_impl.autoregressive.ancestral
from diptych.parity.measures.rows import normwise
from numpy_ref.nn import random
from numpy_ref.nn.functional import Tanh

each_kind = pytest.mark.parametrize(("latent", "context"), KINDS)


def codes(left, count, dtype="float64"):
    """Codes of samples of the prior, from the stream that `sample` uses."""
    config = left.config
    eps = random.normal(KEY.fold_in("z"), (count, config.code_dim), dtype=dtype)
    return left.latent.flow.inverse(eps) if config.latent == "af_prior" else eps


@each_kind
def test_samples_are_those_of_the_naive_loop_on_both_panels(latent, context):
    config = make_config(latent, context, tied=latent == "gaussian")
    left, right = make_models(config)
    code, u = codes(left, 5), random.uniform(KEY.fold_in("x"), (5, *config.example_shape))
    x, p = naive_samples(lambda x: left.decode(code, x)[0], u)
    assert 0.1 < x.mean() < 0.9 and len(np.unique(p)) > 100
    theirs = naive_samples(lambda x: right.decode(*tensors(code, x)).detach().numpy(), u)[0]
    for drawn in (theirs, left.sample(KEY, 5, mean=False), right.sample(KEY, 5, mean=False)):
        np.testing.assert_array_equal(np.asarray(drawn), x)
    for means in (left.sample(KEY, 5), right.sample(KEY, 5)):
        assert normwise(np.asarray(means), p) <= 1e-13
        np.testing.assert_array_equal(u < np.asarray(means), x)


@pytest.mark.parametrize("context", CONTEXTS)
def test_an_image_does_not_depend_on_the_number_of_images(context):
    """Random numbers are addressed by image."""
    for model in make_models(make_config(context=context)):
        five = np.asarray(model.sample(KEY, 5, mean=False))
        assert len(np.unique(five.reshape(5, -1), axis=0)) == 5
        for count in (1, 2):
            few = np.asarray(model.sample(KEY, count, mean=False))
            np.testing.assert_array_equal(few, five[:count])
        other = np.asarray(model.sample(KEY.fold_in(1), 5, mean=False))
        assert (other != five).any()


@pytest.mark.parametrize("context", CONTEXTS)
def test_float32_draws_the_images_of_float64(context):
    """u is the same number in both dtypes, and no p is so close to its u that rounding matters."""
    config = make_config(context=context)
    exact = make_models(config)[0].sample(KEY, 40, mean=False)
    for model in make_models(config, "float32"):
        result = np.asarray(model.sample(KEY, 40, mean=False))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, exact)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_single_image_counts_its_own_pixels(context):
    for model in make_models(make_config("gaussian", context)):
        counts = []
        assert model.sample(KEY, 1, progress=counts.append).shape == (1, 1, 5, 7)
        assert sum(counts) == 35


@each_kind
def test_images_are_binary_and_progress_counts_their_pixels(latent, context):
    for model in make_models(make_config(latent, context)):
        counts = []
        drawn = np.asarray(model.sample(KEY, 9, mean=False, progress=counts.append))
        assert drawn.shape == (9, 1, 5, 7) and set(np.unique(drawn)) == {0, 1}
        assert counts == ([35] if context == "none" else [7] * 5)
        again = model.sample(KEY, 9, mean=False)
        np.testing.assert_array_equal(np.asarray(again), drawn)
        means = np.asarray(model.sample(KEY, 9))
        assert 0 < means.min() < means.max() < 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_pixel_is_1_where_its_uniform_is_below_its_probability_and_0_at_it(context):
    """Shown at the first pixel, whose probability depends on no other."""
    left, right = make_models(make_config(context=context))
    maps, _ = left.decoder(codes(left, 3))
    u = random.uniform(KEY, (3, *left.config.example_shape))
    for module, decoder, convert in (
        (numpy_ref.autoregressive.ancestral, left.pixels, np.asarray),
        (torch_impl.autoregressive.ancestral, right.pixels, torch.from_numpy),
    ):

        def first_pixels(module=module, decoder=decoder, convert=convert):
            with torch.no_grad():
                x, p = module.sample_pixels(decoder, convert(maps), convert(u.copy()))
            return np.asarray(x)[:, 0, 0, 0], np.asarray(p)[:, 0, 0, 0]

        _, p = first_pixels()
        for value, expected in ((p, 0), (np.nextafter(p, 0), 1), (np.nextafter(p, 1), 0)):
            u[:, 0, 0, 0] = value
            assert first_pixels()[0].tolist() == [expected] * 3


def test_frequencies_are_the_probabilities():
    """All 16 images of 2 x 2 among 4000 samples, within 4 standard deviations of the binomial."""
    config = make_config("none", height=2, width=2)
    left, right = make_models(config)
    pixels = np.array(list(np.ndindex(2, 2, 2, 2)), float).reshape(16, 1, 2, 2)
    log_p = left.log_weight(pixels, left.draw_noise(KEY, 16, samples=1))[:, 0]
    drawn = left.sample(KEY, 4000, mean=False)
    np.testing.assert_array_equal(drawn, right.sample(KEY, 4000, mean=False).numpy())
    counts = np.bincount(drawn.reshape(-1, 4).astype(int) @ (8, 4, 2, 1), minlength=16)
    p = np.exp(log_p)
    scores = (counts - 4000 * p) / np.sqrt(4000 * p * (1 - p))
    assert np.abs(scores).max() < 4 and p.sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (numpy_ref.autoregressive.ancestral, Tanh()),
        (torch_impl.autoregressive.ancestral, torch.nn.Tanh()),
    ],
    ids=["numpy", "torch"],
)
def test_a_layer_without_a_pixel_step_is_refused(module, layer):
    with pytest.raises(TypeError, match="layer: got Tanh, takes one that can run pixel by pixel"):
        module.pixel_step(layer, 1, 2, 3)
