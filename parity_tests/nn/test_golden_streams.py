"""One key's bits, uniforms, normals, permutation and mask, as literals and in plain integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import plain_random
from helpers.call_either_panel import as_array
from helpers.golden_values import KEY, PERMUTATION, RATE, STREAMS, THRESHOLD, WORDS

from model_specs.common import streams
from model_specs.common.key import Key
from numpy_ref.nn import random as left
from torch_impl.nn import random as right

PANELS = {"numpy": left, "torch": right}
each_panel = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
each_start = pytest.mark.parametrize("start", STREAMS)
EPS = np.finfo(float).eps


@each_panel
@each_start
def test_a_stream_has_these_elements(panel, start):
    expected = STREAMS[start]
    assert as_array(panel.bits(KEY, 6, start)).tolist() == expected.bits
    assert (as_array(panel.uniform(KEY, 6, start)) * 2**24).tolist() == expected.upper24
    normals = as_array(panel.normal(KEY, 6, start))
    np.testing.assert_allclose(normals, expected.normal, rtol=0, atol=4 * EPS)
    mask = as_array(panel.dropout_mask(KEY, 32, RATE, start))
    assert "".join(".#"[kept] for kept in mask.astype(int)) == expected.mask


@each_panel
@each_start
def test_float32_elements_are_the_float64_ones_rounded(panel, start):
    dtype = np.float32 if panel is left else torch.float32
    uniforms = as_array(panel.uniform(KEY, 6, start, dtype))
    assert uniforms.dtype == np.float32 and (uniforms * 2**24).tolist() == STREAMS[start].upper24
    normals = as_array(panel.normal(KEY, 6, start, dtype))
    np.testing.assert_array_equal(normals, np.array(STREAMS[start].normal, np.float32))


@each_panel
def test_an_array_is_filled_row_by_row(panel):
    for draw, witness in (
        (panel.bits, plain_random.bits),
        (panel.uniform, plain_random.uniform),
        (panel.normal, plain_random.normal),
    ):
        result, expected = draw(KEY, (2, 3, 5), 7), witness(KEY, (2, 3, 5), 7)
        np.testing.assert_allclose(as_array(result), expected, rtol=0, atol=4 * EPS)
    eps = as_array(panel.draw_eps(KEY, 2, 3, 5, first=4))
    expected = plain_random.normal(KEY, (2, 3, 5), 4 * 3 * 5)
    np.testing.assert_allclose(eps, expected, rtol=0, atol=4 * EPS)
    eps = as_array(panel.draw_eps(KEY, 3, None, 5, first=4))
    np.testing.assert_allclose(eps, plain_random.normal(KEY, (3, 5), 4 * 5), rtol=0, atol=4 * EPS)


@each_panel
def test_a_permutation_sorts_indices_by_their_words(panel):
    assert as_array(panel.permutation(KEY, 12)).tolist() == PERMUTATION
    assert plain_random.permutation(KEY, 12).tolist() == PERMUTATION
    assert as_array(panel.permutation(KEY.fold_in(1), 12)).tolist() != PERMUTATION


@each_panel
def test_a_bernoulli_draw_is_1_where_the_uniform_is_below_the_probability(panel, monkeypatch):
    """At u = p the draw is 0."""
    u = np.array([0.25 - 2**-24, 0.25, 0.25 + 2**-24, 0.0])
    values = u if panel is left else torch.from_numpy(u)
    monkeypatch.setattr(panel, "uniform", lambda *_, **__: values)
    probs = np.array([0.25, 0.25, 0.25, 0.0])
    draws = panel.bernoulli(KEY, probs if panel is left else torch.from_numpy(probs))
    assert as_array(draws).tolist() == [1, 0, 0, 0]


# The threshold of a dropout mask


def test_the_threshold_is_the_rounded_rate():
    """From the exact value of the rate in float64: a float32 rate would be another number."""
    assert streams.keep_threshold(RATE) == THRESHOLD
    for rate in (0.0, 0.1, 0.2, 0.3, 0.35, 0.5, 0.65, 0.9, 1 - 2**-32, 2.0**-33 * 1.01):
        assert streams.keep_threshold(rate) == round(Fraction(rate) * 2**32)
    assert streams.keep_threshold(0.0) == 0
    assert streams.keep_threshold(0.5) == 2**31


@each_panel
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.65])
def test_a_unit_is_kept_from_the_threshold_on(panel, rate, monkeypatch):
    t = streams.keep_threshold(rate)
    words = np.array([0, t - 1, t, t + 1, 2**32 - 1])
    values = words.astype(np.uint32) if panel is left else torch.from_numpy(words)
    monkeypatch.setattr(panel, "bits", lambda *_, **__: values)
    mask = as_array(panel.dropout_mask(KEY, 5, rate))
    assert mask.tolist() == [False, False, True, True, True]


# The witness itself


def test_plain_philox_gives_the_published_vectors():
    """Random123 1.14, kat_vectors, "philox4x32 10"."""
    assert plain_random.key_words(KEY) == WORDS == KEY.words
    assert plain_random.philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    counter = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    expected = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    assert plain_random.philox(counter, [0xA4093822, 0x299F31D0]) == expected


@each_start
def test_plain_streams_give_the_same_literals(start):
    expected = STREAMS[start]
    assert plain_random.bits(KEY, 6, start).tolist() == expected.bits
    assert (plain_random.uniform(KEY, 6, start) * 2**24).tolist() == expected.upper24
    np.testing.assert_allclose(
        plain_random.normal(KEY, 6, start), expected.normal, rtol=0, atol=4 * EPS
    )
    mask = plain_random.mask(KEY, 32, RATE, start)
    assert "".join(".#"[kept] for kept in mask.astype(int)) == expected.mask


@pytest.mark.parametrize(
    "key", [Key(0), Key(2**64 - 1).fold_in(-5), Key(3).fold_in("ä").fold_in(3)]
)
def test_plain_key_words_are_the_keys(key):
    assert plain_random.key_words(key) == key.words
