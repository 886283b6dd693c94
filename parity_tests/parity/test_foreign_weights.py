"""Weights that plain torch programs wrote: dtypes, wrappers' names, tied tensors, other names."""

import numpy as np
import pytest
import torch
from helpers.foreign_weights import (
    CONFIG,
    PANELS,
    TIED,
    assert_loaded,
    assert_refused,
    other_weights,
    state,
)
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from diptych import Key, weights
from model_specs.lstm import LSTMConfig
from torch_impl.mlp_vae import MLPVAE as TorchMLPVAE

BIAS = "posterior.mu.bias"


@pytest.fixture(params=PANELS)
def panel(request):
    """(MLPVAE, LSTM) of one panel."""
    return PANELS[request.param]


@pytest.fixture
def vae(panel):
    return panel[0](CONFIG, Key(3))


@pytest.fixture
def narrow_vae(panel):
    return panel[0](CONFIG, Key(3), dtype="float32")


@pytest.fixture
def tied_lstm(panel):
    return panel[1](TIED, Key(3))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("own", ["float32", "float64"])
def test_every_floating_dtype_is_read_exactly(panel, file, dtype, own):
    model = panel[0](CONFIG, Key(3), dtype=own)
    expected = other_weights(model)
    tensors = {n: torch.from_numpy(a).to(getattr(torch, dtype)) for n, a in expected.items()}
    save_torch_file(tensors, file)
    weights.load(model, file)
    assert_loaded(model, expected)
    assert {a.dtype.name for a in state(model).values()} == {own}


def test_extreme_values_of_half_precision_are_read_exactly(narrow_vae, file):
    """The smallest subnormal numbers of bfloat16 are subnormal in float32 too."""
    for dtype, values in ((torch.float16, [6e-8, 65504, 0]), (torch.bfloat16, [1e-40, 3e38, 0])):
        tensors = {n: torch.from_numpy(a) for n, a in other_weights(narrow_vae).items()}
        tensors[BIAS] = torch.tensor(values, dtype=dtype)
        save_torch_file(tensors, file)
        weights.load(narrow_vae, file)
        assert_loaded(narrow_vae, {BIAS: tensors[BIAS].float().numpy()})


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "complex64", "int32", "bool"])
def test_other_dtypes_are_refused_and_named(vae, file, dtype):
    tensors = {n: torch.from_numpy(a) for n, a in other_weights(vae).items()}
    tensors[BIAS] = torch.ones(3).to(getattr(torch, dtype))
    save_torch_file(tensors, file)
    shown = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64"}
    name = shown.get(dtype, dtype)
    assert_refused(vae, file, rf"{BIAS} is {name}: weights are float32 or float64, or float16")


def test_names_are_compared_before_dtypes_and_dtypes_before_values(vae, file):
    arrays = other_weights(vae)
    arrays["decoder.1.num_batches_tracked"] = np.array(3)
    arrays["decoder_logits.weight"][0] = np.nan
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors[BIAS] = tensors[BIAS].to(torch.float8_e5m2)
    save_torch_file(tensors, file)
    assert_refused(vae, file, r"w\.safetensors: unexpected decoder\.1\.num_batches_tracked$")
    del tensors["decoder.1.num_batches_tracked"]
    save_torch_file(tensors | {BIAS: tensors[BIAS][:2]}, file)
    assert_refused(vae, file, r"posterior\.mu\.bias has shape \(2,\), takes \(3,\)$")
    save_torch_file(tensors, file)
    assert_refused(vae, file, "is F8_E5M2")
    save_torch_file(tensors | {BIAS: torch.ones(3)}, file)
    assert_refused(vae, file, r"NaN or inf in decoder_logits\.weight")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1e300, r"posterior\.mu\.bias overflows float32: got 1e\+300"),
        (-3.5e38, r"posterior\.mu\.bias overflows float32: got -3.5e\+38"),
        (1e-60, r"underflows float32: got 1e-60, which becomes 0"),
        (-1e-40, r"underflows float32: got -1e-40, which becomes a subnormal number"),
    ],
)
def test_a_value_beyond_the_range_of_float32_is_refused(narrow_vae, vae, file, value, message):
    arrays = other_weights(vae)
    arrays[BIAS][1] = value
    save_file(arrays, file)
    assert_refused(narrow_vae, file, message)
    weights.load(vae, file)
    assert_loaded(vae, arrays)
    with pytest.raises(ValueError, match=message):
        weights.transfer(vae, narrow_vae)


def test_values_at_the_ends_of_the_range_are_rounded_or_kept(narrow_vae, file):
    arrays = other_weights(narrow_vae)
    arrays[BIAS][:] = 3.4028235e38, 2.0**-149, 1.2e-38
    save_file(arrays, file)
    weights.load(narrow_vae, file)
    assert_loaded(narrow_vae, {BIAS: arrays[BIAS].astype(np.float32)})


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]
)
def test_names_of_wrappers_are_dropped(vae, file, prefix):
    expected = other_weights(vae)
    save_file({prefix + name: array for name, array in expected.items()}, file)
    weights.load(vae, file)
    assert_loaded(vae, expected)


def test_the_name_of_a_compiled_part_is_dropped(vae, file):
    expected = other_weights(vae)
    save_file({n.replace("posterior", "posterior._orig_mod"): a for n, a in expected.items()}, file)
    weights.load(vae, file)
    assert_loaded(vae, expected)


def test_the_error_lists_names_without_the_wrapper(vae, file):
    arrays = {f"module.{name}": array for name, array in other_weights(vae).items()}
    arrays["module.extra"] = arrays.pop(f"module.{BIAS}")
    save_file(arrays, file)
    assert_refused(vae, file, rf": missing {BIAS}; unexpected extra$")


def test_a_prefix_that_only_some_names_have_is_refused(vae, file):
    arrays = other_weights(vae)
    arrays[f"module.{BIAS}"] = arrays.pop(BIAS)
    save_file(arrays, file)
    assert_refused(vae, file, rf"missing {BIAS}; unexpected module\.{BIAS}")


def test_an_unknown_prefix_before_other_names_stays(vae, file):
    save_file({f"net.{n}x": array for n, array in other_weights(vae).items()}, file)
    assert_refused(vae, file, r"unexpected net\..*no name is in common: `rename` maps names")


def test_wrapped_models_are_saved_and_loaded_under_their_own_names(file):
    model = TorchMLPVAE(CONFIG, Key(3))
    expected = other_weights(model)
    save_file(expected, file)
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        weights.load(wrapped, file)
        assert_loaded(model, expected)
        weights.save(wrapped, file)
        assert load_file(file).keys() == expected.keys()


@pytest.mark.parametrize("absent", ["embedding.weight", "decoder.weight"])
def test_one_copy_of_a_tied_weight_suffices(tied_lstm, file, absent):
    expected = other_weights(tied_lstm)
    expected["decoder.weight"] = expected["embedding.weight"]
    save_file({name: array for name, array in expected.items() if name != absent}, file)
    weights.load(tied_lstm, file)
    assert_loaded(tied_lstm, expected)


def test_a_tied_weight_without_any_copy_is_missing(tied_lstm, file):
    arrays = other_weights(tied_lstm)
    del arrays["embedding.weight"], arrays["decoder.weight"]
    save_file(arrays, file)
    assert_refused(tied_lstm, file, r"missing embedding\.weight; missing decoder\.weight")


def test_an_untied_model_needs_both_weights(panel, file):
    model = panel[1](LSTMConfig(vocab_size=7, embedding_dim=4, hidden_dim=4, num_layers=2))
    arrays = other_weights(model)
    del arrays["decoder.weight"]
    save_file(arrays, file)
    assert_refused(model, file, r": missing decoder\.weight$")


def test_two_values_for_one_tied_weight_are_refused(tied_lstm, file):
    arrays = other_weights(tied_lstm)
    arrays["decoder.weight"] = arrays["embedding.weight"].copy()
    arrays["decoder.weight"][-1, -1] += 1e-9
    save_file(arrays, file)
    assert_refused(tied_lstm, file, r"embedding\.weight and decoder\.weight differ, takes equal")


def test_two_values_for_tied_tensors_of_a_plain_torch_model_are_refused(file):
    def net():
        layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
        layers[2].weight = layers[0].weight
        return layers

    arrays = other_weights(net())
    save_file(arrays, file)
    assert_refused(net(), file, r"0\.weight and 2\.weight differ")
    del arrays["2.weight"]
    save_file(arrays, file)
    model = net()
    weights.load(model, file)
    assert_loaded(model, arrays | {"2.weight": arrays["0.weight"]})


def test_load_state_fills_in_a_tied_weight_and_refuses_two_values(tied_lstm):
    expected = other_weights(tied_lstm)
    two_values = expected.copy()
    del expected["decoder.weight"]
    weights.load_state(tied_lstm, expected, "here")
    assert_loaded(tied_lstm, expected | {"decoder.weight": expected["embedding.weight"]})
    with pytest.raises(ValueError, match=r"here: embedding\.weight and decoder\.weight differ"):
        weights.load_state(tied_lstm, two_values, "here")
