"""Philox: published vectors, the same bits on both panels, and the right distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model_specs.common.key import Key
from numpy_ref.nn import random as left
from torch_impl.nn import random as right

CUDA = ["cuda"] if torch.cuda.is_available() else []
KEY = Key(5).fold_in("a stream")

# Random123 1.14, kat_vectors, "philox4x32 10"
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "out"), KNOWN_ANSWERS)
@pytest.mark.parametrize("side", ["left", "cpu", *CUDA])
def test_known_answers(counter, key, out, side):
    counter, key, out = ([int(word, 16) for word in text.split()] for text in (counter, key, out))
    if side == "left":
        result = left.philox4x32(tuple(np.array([c], np.uint64) for c in counter), tuple(key))
    else:
        lanes = tuple(torch.tensor([c], dtype=torch.int64, device=side) for c in counter)
        result = right.philox4x32(lanes, tuple(key))
    assert [word.item() for word in result] == out


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1023, 65_537, 1_000_000])
def test_bits_uniforms_and_masks_are_equal_element_by_element(size, device):
    bits = left.bits(KEY, size)
    np.testing.assert_array_equal(bits, right.bits(KEY, size, device=device).cpu().numpy())
    for dtype in ("float32", "float64"):
        ours = left.uniform(KEY, size, dtype=dtype)
        theirs = right.uniform(KEY, size, dtype=getattr(torch, dtype), device=device)
        np.testing.assert_array_equal(ours, theirs.cpu().numpy())
    for rate in (0.0, 0.3, 0.65):
        ours = left.dropout_mask(KEY, size, rate)
        theirs = right.dropout_mask(KEY, size, rate, device=device).cpu().numpy()
        assert ours.dtype == theirs.dtype == bool
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        left.permutation(KEY, size), right.permutation(KEY, size, device=device).cpu().numpy()
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bernoulli_draws_are_equal_and_certain_for_probabilities_0_and_1(dtype, device):
    probs = left.uniform(KEY, (300, 70), dtype=dtype)
    probs[:, 0], probs[:, 1] = 0, 1
    ours = left.bernoulli(KEY.fold_in(1), probs)
    theirs = right.bernoulli(KEY.fold_in(1), torch.from_numpy(probs).to(device))
    np.testing.assert_array_equal(ours, theirs.cpu().numpy())
    assert ours[:, 0].max() == 0 and ours[:, 1].min() == 1 and set(np.unique(ours)) == {0, 1}
    assert ours.dtype == probs.dtype


def test_normals_agree_to_rounding(device):
    ours = left.normal(KEY, 100_001)
    theirs = right.normal(KEY, 100_001, device=device).cpu().numpy()
    # log, cos and sin may differ by an ulp or two between libraries
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=8 * np.finfo(float).eps)


@given(start=st.integers(0, 2**40), size=st.integers(0, 40), cut=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_any_part_of_a_stream_can_be_drawn_alone(start, size, cut):
    """Element i of bits depends on i alone, and so does that of normals, which come in pairs."""
    cut = min(cut, size)
    for draw in (left.bits, left.normal, right.bits, right.normal):
        whole = np.asarray(draw(KEY, size, start))
        np.testing.assert_array_equal(np.asarray(draw(KEY, cut, start)), whole[:cut])
        np.testing.assert_array_equal(np.asarray(draw(KEY, size - cut, start + cut)), whole[cut:])


def test_the_counter_carries_into_its_second_word():
    """Block 2^32 must not repeat block 0."""
    far = left.bits(KEY, 8, start=2**34 - 4)
    np.testing.assert_array_equal(far, right.bits(KEY, 8, start=2**34 - 4).numpy())
    assert not np.array_equal(far[4:], left.bits(KEY, 4))


def test_draws_have_the_distribution_they_claim():
    n = 200_000
    assert stats.kstest(left.uniform(KEY, n), "uniform").pvalue > 1e-3
    assert stats.kstest(left.normal(KEY, n), "norm").pvalue > 1e-3
    original = left.dropout_mask(KEY, n, 0.3).mean()
    assert abs(original - 0.7) < 5 * (0.21 / n) ** 0.5
    pairs = left.normal(KEY, (n // 2, 2))
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / (n // 2) ** 0.5


def test_nothing_touches_global_random_state():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    right.normal(KEY, 10), left.normal(KEY, 10), right.permutation(KEY, 10)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("panel", [left, right])
def test_errors_name_the_bad_argument(panel):
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            panel.dropout_mask(KEY, 3, rate)
    with pytest.raises(ValueError, match="shape"):
        panel.bits(KEY, (2, -1))
    with pytest.raises(ValueError, match="start"):
        panel.normal(KEY, 3, start=-1)
