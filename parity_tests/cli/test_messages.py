"""Messages that deny themselves, or that speak the language of another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.data import Split
from model_specs.common.fields import exact
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.mlp_vae import MLPVAE as Left
from numpy_ref.nn import checks as left_checks
from torch_impl.mlp_vae import MLPVAE as Right
from torch_impl.nn import checks as right_checks
from torch_impl.nn.module import as_device

ABOVE = np.nextafter(np.float32(1), np.float32(2))
LINE = r"x: got values from 0 to 1\.0000001192092896, takes \[0, 1\]"


def test_a_value_just_above_1_is_not_called_1():
    x = np.array([[0, ABOVE]], np.float32)
    with pytest.raises(ValueError, match=LINE):
        Split(x)
    config = MLPVAEConfig(input_dim=2, hidden_dim=3, latent_dim=2)
    left = Left(config, Key(0), dtype="float32")
    noise = left.draw_noise(Key(1), 1)
    with pytest.raises(ValueError, match=LINE):
        left.loss(x, noise)
    right = Right(config, Key(0), dtype="float32")
    with pytest.raises(ValueError, match=LINE):
        right.loss(torch.tensor(x), right.draw_noise(Key(1), 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (np.float32(0.5), "0.5"), (np.float64(1 + 2**-52), "1.0000000000000002")],
)
def test_a_number_is_as_short_as_it_can_be(value, text):
    assert exact(value) == text


def test_nearly_binary_pixels_are_named():
    below = np.nextafter(np.float32(1), np.float32(0))
    x = np.array([[0, below]], np.float32)
    line = r"x: got 1 values such as 0\.9999999403953552, takes 0 and 1"
    with pytest.raises(ValueError, match=line):
        left_checks.check_binary("x", x, (2,), x.dtype)
    right = Right(MLPVAEConfig(), Key(0), dtype="float32")
    with pytest.raises(ValueError, match=line):
        right_checks.check_binary("x", torch.tensor(x), (2,), right)


@pytest.mark.parametrize("device", ["mps", "xla", "xla:0", "GPU", "cuda:x", "", "privateuseone"])
def test_a_foreign_device_gets_one_short_line(device):
    with pytest.raises(
        ValueError, match=r"device: got .*(takes cpu, cuda or cuda:N|has cpu)"
    ) as info:
        as_device(device)
    assert len(str(info.value)) < 160


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "cuda:99999999999999"])
def test_a_missing_cuda_device_is_one_short_line(device):
    with pytest.raises(ValueError, match=f"got '{device}', this machine has cpu and no CUDA"):
        as_device(device)
