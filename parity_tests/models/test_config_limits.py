"""Each number that has a limit: the last value that is taken, and the first that is refused."""

from __future__ import annotations

import math
import typing

import numpy as np
import pytest
import torch
from helpers.short_runs import short_run
from helpers.small_text_runs import make_corpus, make_panel, make_run

import numpy_ref.nn.averaging as left_averaging
import numpy_ref.nn.optim as left_optim
import torch_impl.nn.averaging as right_averaging
from diptych.panels import BACKENDS
from diptych.tasks.language import continue_text
from model_specs.common.key import Key
from model_specs.common.streams import keep_threshold
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import MIXTURE, VLAEConfig
from numpy_ref.nn.module import Parameter

TINY = 5e-324
"""The smallest float above 0."""
BELOW_1 = math.nextafter(1.0, 0.0)
FROM_0 = ((0, 0.0, TINY, 1e300), (-TINY, math.inf, math.nan))
ABOVE_0 = ((TINY, 1e300), (0, 0.0, -TINY, math.inf, math.nan))
RATE = ((0, 0.0, BELOW_1), (-TINY, 1, 1.0, math.nan))
MIN_LOGVAR = ((None, -80, 0, 80.0), (-80.5, 81, math.inf, -math.inf, math.nan, True, "-9"))
FROM_1 = ((1, 2), (0, -1, 1.5, True))

DROPOUT = {"scheme": "variational_recurrent"}

CONFIG_FIELDS = {
    MLPVAEConfig: {
        "beta": FROM_0,
        "gaussian_std": ABOVE_0,
        "min_logvar": MIN_LOGVAR,
        **dict.fromkeys(("input_dim", "hidden_dim", "latent_dim", "samples"), FROM_1),
    },
    ConvVAEConfig: {
        "beta": FROM_0,
        "gaussian_std": ABOVE_0,
        "min_logvar": MIN_LOGVAR,
        "image_size": ((16, 32), (0, 15, 17, -16)),
        **dict.fromkeys(("latent_dim", "base_channels", "in_channels", "components"), FROM_1),
    },
    VLAEConfig: {
        "free_bits": FROM_0,
        "flow_hidden_layers": ((1, 4), (0, 5)),
        "channels": ((1, 3), (0, 2, 4)),
        "strides": ((1, 4), (0, 5)),
        **dict.fromkeys(("latent_maps", "position_maps"), ((0, 2), (-1,))),
        **dict.fromkeys(("components", "decoder_blocks"), FROM_1),
        **dict.fromkeys(("maps", "hidden_dim", "latent_dim", "context_maps"), FROM_1),
        **dict.fromkeys(("decoder_maps", "masked_layers", "flow_steps"), FROM_1),
    },
    RNNConfig: {
        "rate": RATE,
        "recurrent_rate": RATE,
        "weight_std": ABOVE_0,
        "recurrent_gain": FROM_0,
        **dict.fromkeys(("input_dim", "hidden_dim", "num_layers", "output_dim"), FROM_1),
        "seq_len": FROM_1,
    },
    LSTMConfig: {
        "rate": RATE,
        "recurrent_rate": RATE,
        "word_rate": RATE,
        "init_scale": ABOVE_0,
        "forget_bias": FROM_0,
        **dict.fromkeys(("vocab_size", "embedding_dim", "hidden_dim", "num_layers"), FROM_1),
        "seq_len": FROM_1,
    },
}
ACTING = {
    "gaussian_std": {
        MLPVAEConfig: {"likelihood": "gaussian"},
        ConvVAEConfig: {"recon_type": "gaussian"},
    },
    "min_logvar": {
        MLPVAEConfig: {"likelihood": "gaussian_learned"},
        ConvVAEConfig: {"recon_type": "gaussian_learned"},
    },
    "channels": {VLAEConfig: {"likelihood": MIXTURE}},
    "components": {
        VLAEConfig: {"likelihood": MIXTURE},
        ConvVAEConfig: {"recon_type": "discretized_logistic_mixture"},
    },
    "decoder_blocks": {VLAEConfig: {"context": "gated"}},
    "position_maps": {VLAEConfig: {"latent": "none"}},
    "rate": {cell: {"recurrent_rate": 0.5} | DROPOUT for cell in (RNNConfig, LSTMConfig)},
    "recurrent_rate": {cell: {"rate": 0.5} | DROPOUT for cell in (RNNConfig, LSTMConfig)},
}
"""Further fields with which a field has an effect."""
RUN_FIELDS = {
    "lr": ABOVE_0,
    "decay": ABOVE_0,
    "weight_decay": FROM_0,
    "polyak": RATE,
    "clip": ABOVE_0,
    **dict.fromkeys(("epochs", "batch_size", "checkpoint_every", "log_every"), FROM_1),
    **dict.fromkeys(("constant_epochs", "patience", "pictures"), FROM_1),
}
PARAMETERS = [Parameter(np.ones(2))]
DECAY = {name: {"schedule": "constant-then-decay"} for name in ("constant_epochs", "decay")}
FUNCTIONS = {
    "Adam.lr": (lambda v: left_optim.Adam(PARAMETERS, lr=v), ABOVE_0),
    "Adam.eps": (lambda v: left_optim.Adam(PARAMETERS, eps=v), FROM_0),
    "Adam.beta1": (lambda v: left_optim.Adam(PARAMETERS, betas=(v, 0.5)), RATE),
    "Adam.beta2": (lambda v: left_optim.Adam(PARAMETERS, betas=(0.5, v)), RATE),
    "Adamax.eps": (lambda v: left_optim.Adamax(PARAMETERS, eps=v), FROM_0),
    "Adamax.beta2": (lambda v: left_optim.Adamax(PARAMETERS, betas=(0.5, v)), RATE),
    "RMSprop.alpha": (lambda v: left_optim.RMSprop(PARAMETERS, alpha=v), RATE),
    "RMSprop.eps": (lambda v: left_optim.RMSprop(PARAMETERS, eps=v), FROM_0),
    "RMSprop.momentum": (lambda v: left_optim.RMSprop(PARAMETERS, momentum=v), FROM_0),
    "SGD.momentum": (lambda v: left_optim.SGD(PARAMETERS, momentum=v), FROM_0),
    "SGD.weight_decay": (lambda v: left_optim.SGD(PARAMETERS, weight_decay=v), FROM_0),
    "clip_grad_norm": (lambda v: left_optim.clip_grad_norm([], v), ABOVE_0),
    "left PolyakAverage": (lambda v: left_averaging.PolyakAverage([], v), RATE),
    "right PolyakAverage": (lambda v: right_averaging.PolyakAverage([], v), RATE),
    "keep_threshold": (keep_threshold, ((0, 0.0, 0.3), (-TINY, 1.0, math.nan))),
    "Key": (Key, ((0, 2**64 - 1), (-1, 2**64))),
}
CASES = [
    *(
        (
            f"{config.__name__}.{field}",
            lambda v, c=config, f=field: c(**ACTING.get(f, {}).get(c, {}) | {f: v}),
            limits,
        )
        for config, fields in CONFIG_FIELDS.items()
        for field, limits in fields.items()
    ),
    *(
        (f"RunConfig.{field}", lambda v, f=field: short_run(**DECAY.get(f, {}) | {f: v}), limits)
        for field, limits in RUN_FIELDS.items()
    ),
    *((name, make, limits) for name, (make, limits) in FUNCTIONS.items()),
]


@pytest.mark.parametrize(("name", "make", "limits"), CASES, ids=[case[0] for case in CASES])
def test_a_value_at_the_limit_is_taken_and_one_beyond_is_refused(name, make, limits):
    taken, refused = limits
    for value in taken:
        make(value)
    for value in refused:
        with pytest.raises(ValueError, match=": got "):
            make(value)


def test_every_number_of_the_configs_has_its_limits_here():
    """But for fields whose limit depends on other fields, which test_vlae_spec covers."""
    elsewhere = {"height", "width", "window_width", "window_rows", "flow_hidden_dim"}
    for config, limits in CONFIG_FIELDS.items():
        types = typing.get_type_hints(config)
        numbers = {n for n, t in types.items() if t in (int, float, float | None)}
        assert numbers - elsewhere == limits.keys()


def test_beta_0_is_an_autoencoder_with_a_kl_term_of_no_weight(make_pair):
    left, right = make_pair(MLPVAEConfig(7, 5, 3, beta=0))
    x = np.full((2, 7), 0.25)
    noise = left.draw_noise(Key(1), 2)
    loss, _ = left.loss(x, noise)
    assert loss.total == loss.recon and loss.kl > 0
    loss = right.loss(torch.from_numpy(x), right.draw_noise(Key(1), 2))
    assert loss.total == loss.recon and loss.kl > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_temperatures_from_0_on_are_taken(backend):
    corpus = make_corpus()
    panel = make_panel(make_run("rnn", corpus, backend=backend))
    for temperature in (0, TINY, 1e300):
        assert len(continue_text(panel, corpus.train[:2], 2, Key(1), temperature)) == 2
    for temperature in (-TINY, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature: got"):
            continue_text(panel, corpus.train[:2], 2, Key(1), temperature)
    for count in (0, -1):
        with pytest.raises(ValueError, match="count: got"):
            continue_text(panel, corpus.train[:2], count, Key(1))
    with pytest.raises(ValueError, match="prompt: got 0 tokens"):
        continue_text(panel, corpus.train[:0], 2, Key(1))
