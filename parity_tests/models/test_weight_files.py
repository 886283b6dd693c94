"""A file of weights of every model, read by safetensors alone and by the other panel."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.call_either_panel import call
from helpers.golden_losses import run_inputs
from safetensors.numpy import load_file

from diptych import pairs, weights

NAMES = ("mlp_vae[sigma]", "conv_vae", "vlae[factorised,soft]", "vlae", "rnn", "lstm", "lstm[tied]")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_every_entry_bit_for_bit(name, side, dtype, tmp_path):
    """And the other panel, loaded from it, has the same entries and the same loss."""
    pair, config = pairs.find(name)
    model = getattr(pair, side)(config, dtype=dtype)
    source, batch, noise = run_inputs(name)
    weights.load_state(model, weights.to_arrays(source.state_dict()), name)
    weights.save(model, tmp_path / "w.safetensors")
    content, state = load_file(tmp_path / "w.safetensors"), weights.to_arrays(model.state_dict())
    assert content.keys() == state.keys()
    for entry, array in state.items():
        count = entry.endswith("num_batches_tracked")
        assert content[entry].dtype == array.dtype == (np.int64 if count else dtype)
        assert content[entry].shape == array.shape
        np.testing.assert_array_equal(content[entry], array)
    other = getattr(pair, {"left": "right", "right": "left"}[side])(config, dtype=dtype)
    weights.load(other, tmp_path / "w.safetensors")
    for entry, array in weights.to_arrays(other.state_dict()).items():
        np.testing.assert_array_equal(array, content[entry], err_msg=entry)
    if dtype == "float64":
        totals = [float(call(m.eval(), "loss", batch, noise).total) for m in (source, other)]
        assert totals[1] == pytest.approx(totals[0], rel=1e-13)
