"""Weights on disk: torch's names and layouts, atomic writes, and one clear error for a bad file."""

import os
import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from diptych import files, weights
from model_specs.mlp_vae import MLPVAEConfig

CONFIG = MLPVAEConfig(input_dim=13, hidden_dim=11, latent_dim=3)


@pytest.fixture
def saved(make_pair, tmp_path):
    """(left, right, file): two models and a file with the weights of the left one."""
    left, right = make_pair(CONFIG)
    weights.save(left, tmp_path / "w.safetensors")
    return left, right, tmp_path / "w.safetensors"


def states(*models):
    return [{k: v.copy() for k, v in weights.to_arrays(m.state_dict()).items()} for m in models]


def same(a, b):
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("source", ["left", "right"])
def test_a_file_from_either_panel_serves_both_bit_for_bit(make_pair, tmp_path, source):
    left, right = make_pair(CONFIG)
    expected, _ = states(left, right)
    weights.save(left if source == "left" else right, tmp_path / "w.safetensors")
    for parameter in left.parameters():
        parameter.data += 1
    with torch.no_grad():
        for parameter in right.parameters():
            parameter.add_(1)
    for model in (left, right):
        weights.load(model, tmp_path / "w.safetensors")
        assert same(states(model)[0], expected)


def test_plain_torch_modules_read_the_file(saved):
    left, _, file = saved
    linear = torch.nn.Linear(13, 11).double()
    arrays = load_file(file)
    linear.load_state_dict(
        {leaf: torch.from_numpy(arrays[f"encoder_hidden.{leaf}"]) for leaf in ("weight", "bias")}
    )
    x = np.linspace(0, 1, 26).reshape(2, 13)
    np.testing.assert_allclose(
        linear(torch.from_numpy(x)).detach().numpy(), left.encoder_hidden(x)[0], rtol=1e-13
    )


def _first_half(data):
    return data[: len(data) // 2]


CORRUPTIONS = {
    "cut off": (_first_half, "not a whole safetensors file"),
    "one byte short": (lambda data: data[:-1], "not a whole safetensors file"),
    "empty": (lambda data: b"", "not a whole safetensors file"),
    "a pickle": (
        lambda data: b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00.",
        "not a whole safetensors",
    ),
    "a huge header": (lambda data: struct.pack("<Q", 2**60) + data[8:], "not a whole safetensors"),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("side", [0, 1])
def test_a_corrupt_file_is_one_error_and_leaves_the_model_unchanged(saved, side, corruption):
    model, file = saved[side], saved[2]
    corrupt, message = CORRUPTIONS[corruption]
    file.write_bytes(corrupt(file.read_bytes()))
    before = states(model)[0]
    with pytest.raises(ValueError, match=message) as caught:
        weights.load(model, file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert same(states(model)[0], before)


@pytest.mark.parametrize("side", [0, 1])
def test_one_error_lists_missing_unexpected_and_misshapen_arrays(saved, side):
    model, file = saved[side], saved[2]
    arrays = load_file(file)
    arrays["extra"] = arrays.pop("posterior.mu.bias")
    arrays["decoder_logits.weight"] = arrays["decoder_logits.weight"].T.copy()
    save_file(arrays, file)
    before = states(model)[0]
    message = r"missing posterior\.mu\.bias.*unexpected extra.*decoder_logits\.weight has shape"
    with pytest.raises(ValueError, match=message):
        weights.load(model, file)
    assert same(states(model)[0], before)


def test_files_of_other_programs_are_read_and_unsupported_dtypes_are_refused(saved):
    left, _, file = saved
    arrays = load_file(file)
    save_file(arrays, file, metadata={"format": "pt"})
    weights.load(left, file)
    save_file(arrays | {"posterior.mu.bias": np.array([True, False, True])}, file)
    with pytest.raises(ValueError, match=r"posterior\.mu\.bias is bool: weights are float32 or"):
        weights.load(left, file)


def test_nan_in_a_file_and_a_missing_file_are_errors(saved, tmp_path):
    left, _, file = saved
    arrays = load_file(file)
    arrays["posterior.mu.bias"][1] = np.nan
    save_file(arrays, file)
    with pytest.raises(ValueError, match=r"NaN or inf in posterior\.mu\.bias"):
        weights.load(left, file)
    with pytest.raises(ValueError, match="no such file"):
        weights.load(left, tmp_path / "nowhere.safetensors")


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    left, _, file = saved
    before = file.read_bytes()
    left.posterior.mu.bias.data += 1

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ValueError, match=f"{file.name}: cannot write there .No space left"):
        weights.save(left, file)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name], "a half-written file was left behind"


def test_a_folder_that_cannot_be_written_is_an_error(saved, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot write there"):
        weights.save(saved[0], tmp_path / "file" / "w.safetensors")


def test_scalars_and_metadata_are_read_back_unchanged(tmp_path):
    arrays = {"step": np.array(7), "m": np.ones((2, 3), np.float32).T}
    files.save_arrays(tmp_path / "a.safetensors", arrays, {"position": {"x": 0.1 + 0.2}})
    loaded, metadata = files.load_arrays(tmp_path / "a.safetensors")
    assert loaded["step"].shape == () and loaded["step"] == 7
    np.testing.assert_array_equal(loaded["m"], arrays["m"])
    assert metadata["position"]["x"] == 0.1 + 0.2


class Fused(torch.nn.Module):
    """Two projections in one weight, which is transposed."""

    def __init__(self):
        super().__init__()
        self.qk, self.out = torch.nn.Module(), torch.nn.Linear(4, 3)
        self.qk.weight = torch.nn.Parameter(torch.zeros(3, 4))
        self.qk.bias = torch.nn.Parameter(torch.zeros(4))


def split():
    names = {"q": (3, 2), "k": (3, 2), "o": (4, 3)}
    return torch.nn.ModuleDict({name: torch.nn.Linear(*sizes) for name, sizes in names.items()})


FUSION = {"q.*": "qk.*[..., 0:2]", "k.*": "qk.*[..., 2:4]", "o": "out"}
LAYOUT = {"[qk].weight": "o i -> i o"}


def test_weights_are_transferred_under_other_names_and_in_other_layouts():
    source, target = split(), Fused()
    weights.transfer(source, target, rename=FUSION, layout=LAYOUT)
    parts = [source["q"].weight.T, source["k"].weight.T]
    torch.testing.assert_close(target.qk.weight, torch.cat(parts, 1), rtol=0, atol=0)
    biases = torch.cat([source["q"].bias, source["k"].bias])
    torch.testing.assert_close(target.qk.bias, biases, rtol=0, atol=0)
    torch.testing.assert_close(target.out.weight, source["o"].weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": FUSION}, r"q.weight: got shape \(2, 3\), takes \(3, 2\) of the target"),
        ({"rename": FUSION | {"o": "ot"}, "layout": LAYOUT}, "'ot', .* did you mean 'out'"),
        ({"rename": FUSION, "layout": LAYOUT | {"p": "io->oi"}}, "'p', which matches no name"),
        ({"rename": {"o": "out"}}, "k.weight"),
        (
            {"rename": FUSION | {"q": "qk.x[0:2]"}, "layout": LAYOUT},
            "rename: 'q' -> got 'qk.x', takes a parameter",
        ),
        ({"rename": FUSION, "layout": LAYOUT | {"o.weight": "o i -> i o"}}, "out.weight"),
    ],
)
def test_a_transfer_that_does_not_fit_is_one_error_and_copies_nothing(options, message):
    target = Fused()
    before = states(target)
    with pytest.raises(ValueError, match=message):
        weights.transfer(split(), target, **options)
    assert all(same(*pair) for pair in zip(before, states(target), strict=True))
