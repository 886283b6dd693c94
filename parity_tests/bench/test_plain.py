"""The plain models of the benchmarks are the models of the right panel."""

import pytest
import torch
from helpers.small_text_runs import TOLERANCE

from diptych import pairs
from diptych.arrays import to_tensors
from diptych.bench.plain import PLAIN, MaskedConv2d, copy_weights
from diptych.parity.measures.rows import normwise
from model_specs.common.key import Key
from numpy_ref.nn.module import as_dtype

KEY = Key(3)
CONFIGS = {
    "mlp_vae": {"input_dim": 13, "hidden_dim": 11, "latent_dim": 3},
    "conv_vae": {"latent_dim": 5, "base_channels": 3, "image_size": 16, "in_channels": 2},
    "vlae": {"height": 5, "width": 7, "maps": 3, "hidden_dim": 11, "latent_dim": 4}
    | {"flow_steps": 2, "flow_hidden_dim": 9, "context_maps": 2, "decoder_maps": 6},
    "rnn": {"input_dim": 7, "output_dim": 8, "hidden_dim": 5, "seq_len": 4, "num_layers": 2},
    "lstm": {"vocab_size": 8, "embedding_dim": 6, "hidden_dim": 5, "seq_len": 4},
}


def models(name, **changes):
    """The right panel's model, a plain one with the same weights, and a batch without weights."""
    pair = pairs.get(name)
    config = pair.config(**CONFIGS[name] | changes)
    right, plain = pair.right(config, KEY), PLAIN[name](config).double()
    with torch.no_grad():
        for parameter in right.parameters():
            parameter.add_(torch.linspace(-0.02, 0.03, parameter.numel()).reshape(parameter.shape))
        for module in right.modules():
            if hasattr(module, "mask") and hasattr(module, "weight_v"):
                module.weight_v.mul_(module.mask)  # torch's norm is over masked weights too
    copy_weights(right, plain)
    batch = pair.batch(config, KEY, as_dtype("float64"), 6)
    batch = to_tensors(batch, torch.device("cpu"), track=False)
    return right, plain, batch._replace(weight=None) if hasattr(batch, "weight") else batch


@pytest.mark.parametrize("name", CONFIGS)
def test_a_plain_model_has_the_loss_and_the_gradients_of_the_right_panel(name):
    right, plain, batch = models(name)
    noise = right.draw_noise(KEY, 6)
    eps = [noise.eps.reshape(6, -1)] if hasattr(noise, "eps") else []
    ours, theirs = right.loss(batch, noise).total, plain.loss(batch, *eps)
    assert abs(ours - theirs) <= TOLERANCE * abs(theirs)
    ours.backward(), theirs.backward()
    pairs_of_parameters = zip(right.parameters(), plain.parameters(), strict=True)
    errors = [normwise(a.grad.numpy(), b.grad.numpy()) for a, b in pairs_of_parameters]
    assert max(errors) <= TOLERANCE


@pytest.mark.parametrize("name", ["mlp_vae", "conv_vae", "vlae"])
def test_without_noise_a_plain_autoencoder_draws_its_own(name):
    _, plain, batch = models(name)
    losses = {plain.loss(batch).item() for _ in range(3)}
    assert len(losses) == 3


@pytest.mark.parametrize("name", ["rnn", "lstm"])
def test_a_plain_recurrent_model_drops_units_at_the_rate_of_its_config(name):
    _, plain, batch = models(name, scheme="per_step", rate=0.4)
    assert plain.body.dropout == plain.rate == 0.4
    losses = {plain.loss(batch).item() for _ in range(3)}
    assert len(losses) == 3


@pytest.mark.parametrize("itself", [False, True])
def test_a_plain_masked_convolution_reads_no_later_pixel(itself):
    layer = MaskedConv2d(2, 1, itself=itself, free=1).double()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    layer(x)[0, 0, 2, 2].backward()
    image, free = (x.grad[0] != 0).flatten(1)
    assert int(image.sum()) == 4 + itself and not image[13:].any() and image[12] == itself
    assert int(free.sum()) == 9
