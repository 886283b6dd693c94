"""Weights of language models of plain torch, renamed slices, and files that are no safetensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.foreign_weights import (
    CONFIG,
    PANELS,
    TIED,
    assert_refused,
)
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from diptych import Key, weights


@pytest.fixture
def file(tmp_path):
    return tmp_path / "w.safetensors"


class WordModel(torch.nn.Module):
    """A language model with the attributes of PyTorch's example word_language_model."""

    def __init__(self, tied):
        super().__init__()
        self.encoder = torch.nn.Embedding(7, 4)
        self.rnn = torch.nn.LSTM(4, 4, 2)
        self.decoder = torch.nn.Linear(4, 7)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, tokens):
        return self.decoder(self.rnn(self.encoder(tokens))[0])


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_of_plain_torch_has_the_same_logits(name, file, tied):
    panel = PANELS[name]
    theirs = WordModel(tied).double()
    save_torch_file({name: t.clone() for name, t in theirs.state_dict().items()}, file)
    model = panel[1](replace(TIED, tied=tied), Key(3)).eval()
    assert_refused(model, file, r"missing lstm\.weight_ih_l0; .*unexpected rnn\.weight_hh_l1")
    weights.load(model, file, rename={"encoder": "embedding", "rnn": "lstm"})
    tokens = np.array([[1, 2], [3, 6], [0, 5]])
    noise, zero = model.draw_noise(Key(0), 2, length=3), model.zero_state(2)
    x = tokens if name == "numpy" else torch.from_numpy(tokens)
    result = model.features(x, zero, noise)
    features = (result[0] if name == "numpy" else result)[0]
    expected = theirs(torch.from_numpy(tokens)).detach().numpy()
    logits = weights.to_arrays({"logits": model.decoder.outputs(features)})["logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-14)


def test_renamed_slices_are_checked_for_their_range(file):
    """A weight of the file may be a part of one of the model's."""
    parts = {"q.weight": np.full((2, 3), 0.5), "k.weight": np.full((2, 3), 1e39)}
    save_file(parts, file)
    rename = {"q.weight": "weight[0:2]", "k.weight": "weight[2:4]"}
    model = torch.nn.Linear(3, 4, bias=False)
    with pytest.raises(ValueError, match=r"k\.weight overflows float32: got 1e\+39"):
        weights.load(model, file, rename=rename)
    parts["k.weight"][:] = 0.25
    save_file(parts, file)
    weights.load(model, file, rename=rename)
    assert model.weight[:, 0].tolist() == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (None, "a zip archive"),
        (b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00.", "a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x1f\x8b\x08\x00abc", "a gzip file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
    ],
)
def test_files_of_other_formats_are_named(file, content, form):
    if content is None:
        torch.save({"w": torch.ones(3)}, file)
    else:
        file.write_bytes(content)
    assert_refused(PANELS["numpy"][0](CONFIG), file, f"not a whole safetensors file: found {form}")
