"""The contract of the LSTM language model: initial weights, and errors for bad configs and data."""

import math
import re

import numpy as np
import pytest
from helpers.small_recurrent_networks import (
    BAD_FIELDS,
    BAD_RATES,
    KEY,
    B,
    V,
    bad_windows,
    make_config,
    make_window,
    refusals,
)

from diptych import pairs
from model_specs.recurrent.dropout import Masks


def test_initial_weights_are_what_they_promise():
    """U(-init_scale, init_scale), biases and embeddings too, the forget gates' bias moved; the
    same on both panels; tied or not."""
    for options in ({}, {"tied": True, "forget_bias": 2.0}):
        sizes = {"hidden_dim": 40, "embedding_dim": 40, "vocab_size": 300}
        config = make_config("lstm", **options | sizes)
        left, right = (getattr(pairs.get("lstm"), side)(config, KEY) for side in ("left", "right"))
        assert list(left.state_dict()) == list(right.state_dict())
        for name, array in left.state_dict().items():
            np.testing.assert_allclose(array, right.state_dict()[name].numpy(), rtol=0, atol=1e-15)
            centre = np.zeros_like(array)
            if "bias_ih" in name:
                centre[40:80] = config.forget_bias
            scale = np.abs(array - centre).max() / config.init_scale
            assert 0.9 < scale <= 1, name
            assert np.abs(array - centre).std() > 0.2 * config.init_scale
        assert (left.decoder.weight is left.embedding.weight) == config.tied
        assert (right.decoder.weight is right.embedding.weight) == config.tied


FIELDS = [
    *BAD_FIELDS,
    *(("word_rate", rate) for rate in BAD_RATES),
    *(("vocab_size", 0), ("embedding_dim", 2.0), ("init_scale", 0), ("init_scale", math.nan)),
    *(("forget_bias", -1.0), ("forget_bias", math.inf), ("tied", True)),
]


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_impossible_configs_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"^{field}: got {value!r}.* takes"):
        make_config("lstm", **{field: value})


def _bad_batches(window):
    yield from bad_windows(window)
    for name in "xy":
        good = getattr(window, name)
        for what, bad in (
            ("values", np.where(good == good[1, 2], V, good)),
            ("values", np.where(good == good[1, 2], -1, good)),
            ("dtype float64", good.astype(np.float64)),
            ("dtype int32", good.astype(np.int32)),
            ("shape", good[0]),
            ("shape", good[:0]),
            ("list", good.tolist()),
        ):
            yield f"{name}: {what}", window._replace(**{name: bad}), f"{name}: got .*{what}"
    yield "y: shape", window._replace(y=window.y[1:]), "y: got shape"


def test_bad_batches_are_one_clear_error_in_the_same_words(make_pair):
    left, right = make_pair(make_config("lstm", num_layers=2), name="lstm")
    for what, bad, match in _bad_batches(make_window("lstm", left.config)):
        ours, theirs = refusals(left, right, bad, Masks())
        assert ours == theirs, what
        assert re.match(match, ours) and ", takes " in ours, (what, ours)
    words = np.ones((B, V + 1), bool)
    ours, theirs = refusals(left, right, make_window("lstm", left.config), Masks(words=words))
    assert ours == theirs and ours.startswith("noise.words: got shape")
