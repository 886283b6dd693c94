"""A field of a config that has no effect is refused, and every accepted field has one."""

import dataclasses
import math

import pytest
from helpers.toggled_fields import behaviour, is_close, toggles, unchecked

from diptych import pairs
from model_specs.autoregressive.flow import AutoregressiveFlowConfig
from model_specs.common.effects import changed, check_effects, effective, ineffective
from model_specs.conv_vae import ConvVAEConfig
from model_specs.lstm import LSTMConfig
from model_specs.mlp_vae import MLPVAEConfig
from model_specs.rnn import RNNConfig
from model_specs.vlae import VLAEConfig

LARGE = ("784-400-20", "28x28", "8x8", "32", "square")
"""Variants whose sizes alone differ from those of others."""
VARIANTS = [
    (name, variant)
    for name, pair in pairs.PAIRS.items()
    for variant in pair.variants
    if variant not in LARGE and not variant.endswith(",loop")
]


def active_free_bits(config):
    """A change of `free_bits`, so that lambda is near the KL of a new model and acts.

    Soft free bits do not change for a KL within 5 % above lambda, the others act below lambda.
    """
    if not isinstance(config, VLAEConfig) or config.latent == "none":
        return {}
    kl = dict(behaviour("vlae", config))["loss.kl"] / math.prod(config.example_shape)
    return {"free_bits": float(kl / 1.02 if config.free_bits_of == "soft" else 1.05 * kl)}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_another_value_of_any_field_changes_the_model_or_is_refused(name, variant):
    """A refused value would indeed change nothing: weights, losses, gradients and samples."""
    config = pairs.get(name).variants[variant]
    free_bits = active_free_bits(config)
    config = changed(config, **effective(type(config), vars(config) | free_bits))
    before, without_effect, needless = dict(behaviour(name, config)), [], []
    for field, value in toggles(config):
        # free bits of a kind act with a lambda that the config without free bits cannot have
        with_it = free_bits if field == "free_bits_of" and config.free_bits_of == "none" else {}
        try:
            after = dataclasses.replace(config, **with_it, **{field: value})
        except ValueError:
            other = unchecked(config, **{field: value})
            if field in ineffective(other):
                default = unchecked(config, **{field: getattr(type(config), field)})
                if not is_close(dict(behaviour(name, default)), behaviour(name, other), 1e-12):
                    needless.append((field, value))
            continue
        if is_close(before, behaviour(name, after)):
            without_effect.append((field, value))
    assert without_effect == [] and needless == []


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (
            LSTMConfig,
            {"rate": 0.5},
            "rate: got 0.5 with scheme 'none', takes 0; it has an effect with",
        ),
        (
            RNNConfig,
            {"rate": 0.5},
            "rate: got 0.5 with scheme 'none', takes 0; it has an effect with",
        ),
        (LSTMConfig, {"scheme": "per_step"}, "scheme: got 'per_step' with rate 0, takes 'none'"),
        (
            RNNConfig,
            {"scheme": "recurrent", "rate": 0.5, "recurrent_rate": 0.3},
            "rate: got 0.5 with recurrent_rate 0.3, takes 0",
        ),
        (
            LSTMConfig,
            {"scheme": "recurrent", "recurrent_rate": 0.0},
            "scheme: got 'recurrent' with recurrent_rate 0, takes 'none'",
        ),
        (
            LSTMConfig,
            {"scheme": "per_step", "rate": 0.2, "recurrent_rate": 0.3},
            "recurrent_rate: got 0.3 with scheme 'per_step', takes None",
        ),
        (
            MLPVAEConfig,
            {"gaussian_std": 0.3},
            "gaussian_std: got 0.3 with likelihood 'bernoulli', takes 1; it has an effect with "
            "likelihood 'gaussian' or 'truncated_gaussian'",
        ),
        (
            MLPVAEConfig,
            {"min_logvar": None},
            "min_logvar: got None with likelihood 'bernoulli', takes -9; it has an effect with "
            "likelihood 'gaussian_learned'",
        ),
        (
            MLPVAEConfig,
            {"posterior": "deterministic", "beta": 2.0},
            "beta: got 2 with posterior 'deterministic', takes 1",
        ),
        (
            MLPVAEConfig,
            {"posterior": "deterministic", "samples": 5},
            "samples: got 5 with posterior 'deterministic', takes 1",
        ),
        (
            ConvVAEConfig,
            {"gaussian_std": 0.1},
            "gaussian_std: got 0.1 with recon_type 'mse', takes 1",
        ),
        (VLAEConfig, {"window_rows": 2}, "window_rows: got 2 with context 'raster', takes 1"),
        (
            VLAEConfig,
            {"latent": "none", "maps": 8},
            "maps: got 8 with latent 'none', takes 16; it has an effect with latent",
        ),
        (
            VLAEConfig,
            {"latent": "gaussian", "flow_steps": 2},
            "flow_steps: got 2 with latent 'gaussian', takes 4",
        ),
        (
            VLAEConfig,
            {"free_bits_of": "none", "free_bits": 0.5},
            "free_bits: got 0.5 with free_bits_of 'none', takes 0.01",
        ),
        (
            VLAEConfig,
            {"masked_layers": 2, "tied": False},
            "tied: got False with masked_layers 2, takes True",
        ),
        (
            AutoregressiveFlowConfig,
            {"steps": 1, "reverse": False},
            "reverse: got False with steps 1, takes True",
        ),
    ],
)
def test_the_error_names_both_fields(kind, fields, message):
    with pytest.raises(ValueError) as error:
        kind(**fields)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_every_default_config_has_no_field_without_effect():
    for pair in pairs.PAIRS.values():
        check_effects(pair.config())
        assert ineffective(pair.config()) == {}


def test_settings_of_a_preset_yield_to_those_of_the_user():
    preset = {"scheme": "per_step", "rate": 0.5, "hidden_dim": 9}
    assert effective(LSTMConfig, preset, {"scheme": "none"}) == {"scheme": "none", "hidden_dim": 9}
    assert effective(LSTMConfig, preset, {"rate": 0.0}) == {"rate": 0.0, "hidden_dim": 9}
    assert effective(LSTMConfig, preset, {"tied": True}) == preset | {"tied": True}


def test_settings_of_the_user_are_not_dropped_but_refused():
    values = effective(LSTMConfig, {}, {"scheme": "none", "rate": 0.5})
    with pytest.raises(ValueError, match=r"rate: got 0\.5 with scheme 'none'"):
        LSTMConfig(**values)


@pytest.mark.parametrize(
    "values", [{"scheme": "locked"}, {"scheme": "locked", "rate": 2}, {"scheme": 3, "rate": "x"}]
)
def test_impossible_values_are_left_to_the_checks_of_the_config(values):
    assert effective(LSTMConfig, values) == values
    with pytest.raises(ValueError, match="scheme: got"):
        LSTMConfig(**values)


def test_a_changed_config_has_defaults_where_fields_lose_their_effect():
    config = LSTMConfig(scheme="variational_recurrent", rate=0.4, recurrent_rate=0.2, tied=True)
    assert changed(config, scheme="none") == LSTMConfig(tied=True)
    assert changed(config, hidden_dim=7, tied=False).rate == 0.4
