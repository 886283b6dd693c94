"""Key: immutable, ordered, typed, and spread over all of its words."""

import dataclasses

import numpy as np
import pytest

from model_specs.common.key import Key


def test_folding_returns_a_new_key_and_does_not_change_the_old_one():
    key = Key(7)
    words = key.words
    folded = key.fold_in("dropout").fold_in(3)
    assert key == Key(7) and key.words == words
    assert folded == Key(7, ("dropout", 3)) and folded.words != words
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.seed = 8


def test_every_different_path_names_a_different_stream():
    paths = [
        (),
        (1, 2),
        (2, 1),
        (12,),
        ("1", 2),
        (1, "2"),
        ("12",),
        ("1,2",),
        (1, 2, 0),
        ("",),
        (-1,),
    ]
    streams = {Key(0, path).words for path in paths} | {Key(1, path).words for path in paths}
    assert len(streams) == 2 * len(paths)


def test_a_key_is_the_same_on_every_machine():
    # written down once: a change of the encoding would silently change every run
    assert Key(0).words == (2119080395, 1400689271, 868746449, 3321782884)
    assert Key(2**64 - 1).fold_in("eps").fold_in(-5).words == (
        2563844009,
        3017515909,
        1490827804,
        3779265611,
    )


def test_numpy_integers_name_the_stream_of_their_value():
    assert Key(np.int64(5)).fold_in(np.uint8(3)) == Key(5).fold_in(3)
    assert Key(np.int64(5)).words == Key(5).words


def test_words_are_32_bits_and_use_all_of_them():
    words = np.array([Key(0).fold_in(i).words for i in range(4000)])
    assert words.min() >= 0 and words.max() < 2**32
    ones = np.unpackbits(words.astype(">u4").view(np.uint8)).reshape(-1, 32).mean(0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / 4000**0.5  # five standard deviations


def test_repr_is_an_expression_for_the_key():
    key = Key(3).fold_in("a b").fold_in(2)
    assert eval(repr(key), {"Key": Key}) == key


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "0", None, True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        Key(seed)


@pytest.mark.parametrize("data", [1.5, None, b"x", True, (1,)])
def test_bad_folds_are_refused(data):
    with pytest.raises(ValueError, match="fold_in"):
        Key(0).fold_in(data)
