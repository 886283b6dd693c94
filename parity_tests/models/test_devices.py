"""Everything that a model makes lies on the device asked for, here torch's "meta", which every
machine has: a tensor made on the CPU by mistake shows without a GPU."""

import pytest
import torch

from diptych import pairs
from diptych.arrays import leaves
from model_specs.autoregressive.windows import Window
from model_specs.common.key import Key
from torch_impl.autoregressive.made import MaskedLinear
from torch_impl.autoregressive.pixel_cnn import MaskedConv2d, WNMaskedConv2d
from torch_impl.autoregressive.stacked_pixel_cnn import StackedConv2d, WNStackedConv2d
from torch_impl.nn import convolution, layers, random, weight_norm

KEY = Key(5).fold_in("devices")


NAMES = [
    *("mlp_vae", "mlp_vae[sigma]", "mlp_vae[deterministic]", "conv_vae"),
    *("vlae[8x8]", "vlae[iaf_posterior,affine]", "vlae[factorised,soft]", "vlae[stacks]"),
    *("vlae[unconditional]", "rnn[variational]", "lstm[words]", "lstm[recurrent]"),
]
"""Pairs that together have every kind of layer, latent and mask."""


@pytest.mark.parametrize("name", NAMES)
def test_weights_buffers_noise_and_states_are_on_the_models_device(name):
    pair, config = pairs.find(name)
    model = pair.right(config, KEY, dtype="float32", device="meta")
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    tensors |= {f"noise{path}": t for path, t in leaves(model.draw_noise(KEY, 3))}
    if hasattr(model, "zero_state"):
        tensors |= {f"state{path}": t for path, t in leaves(model.zero_state(3))}
    assert {path: t.device.type for path, t in tensors.items() if t.device.type != "meta"} == {}
    assert {t.dtype for t in tensors.values()} <= {torch.float32, torch.bool, torch.int64}
    assert model.device.type == "meta" and model.dtype == torch.float32


@pytest.mark.parametrize(
    "draw",
    [
        lambda **options: random.bits(KEY, 3, **options),
        lambda **options: random.uniform(KEY, 3, **options),
        lambda **options: random.normal(KEY, 3, **options),
        lambda **options: random.dropout_mask(KEY, 3, 0.4, **options),
        lambda **options: random.permutation(KEY, 3, **options),
        lambda **options: random.draw_eps(KEY, 2, 5, 3, **options),
        lambda device: random.bernoulli(KEY, torch.ones(3, device=device)),
    ],
)
def test_random_numbers_are_on_their_device(draw):
    assert draw(device="meta").device.type == "meta"
    assert draw(device="cpu").device.type == "cpu"


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: layers.Linear(3, 2, **options),
        lambda **options: layers.Embedding(3, 2, **options),
        lambda **options: convolution.Conv2d(3, 2, 3, **options),
        lambda **options: convolution.ConvTranspose2d(3, 2, 3, **options),
        lambda **options: weight_norm.WNLinear(3, 2, **options),
        lambda **options: weight_norm.WNConv2d(3, 2, 3, **options),
        lambda **options: weight_norm.WNConvTranspose2d(3, 2, 3, **options),
        lambda **options: MaskedLinear((1, 2, 3), (1, 2), **options),
        lambda **options: MaskedConv2d(3, 2, Window.raster(3), "B", **options),
        lambda **options: WNMaskedConv2d(3, 2, Window.raster(3), "B", **options),
        lambda **options: StackedConv2d(3, 2, 3, "B", **options),
        lambda **options: WNStackedConv2d(3, 2, 3, "B", **options),
    ],
)
def test_layers_are_on_their_device_and_in_their_dtype(make):
    for device, dtype in (("meta", torch.float32), ("cpu", torch.float64)):
        layer = make(device=device, dtype=dtype)
        assert all(p.device.type == device and p.dtype == dtype for p in layer.parameters())
        assert all(mask.device.type == device for mask in layer.buffers())
