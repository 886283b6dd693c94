"""Other values for the fields of a config, and what a model computes from the config."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from diptych import pairs
from diptych.arrays import leaves, to_numpy
from model_specs import conv_vae, mlp_vae, rnn, vlae
from model_specs.common.key import Key
from model_specs.recurrent.dropout import SCHEMES

KEY = Key(97)
CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": mlp_vae.ACTIVATIONS,
    "posterior": mlp_vae.POSTERIORS,
    "estimator": mlp_vae.ESTIMATORS,
    "reduction": mlp_vae.REDUCTIONS,
    "init": mlp_vae.INITS,
    "out_activation": tuple(conv_vae.SUPPORTS),
    "recon_type": conv_vae.RECON_TYPES,
    "latent": vlae.LATENTS,
    "context": vlae.CONTEXTS,
    "context_channels": vlae.CONTEXT_CHANNELS,
    "channels": (1, 3),
    "strides": (1, 2, 3),
    "free_bits_of": vlae.FREE_BITS,
    "scheme": tuple(SCHEMES),
    "image_size": (16, 32),
    "recurrent_rate": (None, 0.0, 0.6),
    "flow_hidden_layers": (1, 2, 3),
    "hidden_layers": (1, 2, 3),
}
LIKELIHOODS = {
    mlp_vae.MLPVAEConfig: mlp_vae.LIKELIHOODS,
    rnn.RNNConfig: rnn.LIKELIHOODS,
    vlae.VLAEConfig: vlae.LIKELIHOODS,
}


def toggles(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield (field, other value) for each field of a config."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        choices = CHOICES.get(field.name)
        if field.name == "likelihood":
            choices = LIKELIHOODS[type(config)]
        if choices is not None:
            others: tuple[Any, ...] = tuple(choice for choice in choices if choice != value)
        elif value is None:
            others = (9,)
        elif isinstance(value, bool):
            others = (not value,)
        elif isinstance(value, int):
            others = (value + 1,)
        else:
            others = ((value + 1) / 2 + 0.1,) if value < 0.7 else (value / 2,)
        yield from ((field.name, other) for other in others)


def unchecked(config: Any, **changes: Any) -> Any:
    """A copy of a config with fields that its class may refuse."""
    result = object.__new__(type(config))
    vars(result).update(vars(config) | changes)
    return result


def behaviour(name: str, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the weights, losses, gradients and values of the left panel, each with its name.

    The loss is computed three times in training, because soft free bits change from step to step.
    """
    pair, size = pairs.get(name), 3
    model = pair.left(config, KEY.fold_in("weights"), dtype="float64")
    yield from (("weight " + n, a.copy()) for n, a in model.state_dict().items())
    batch = pair.batch(config, KEY.fold_in("batch"), np.dtype("float64"), size)
    noise = model.draw_noise(KEY.fold_in("noise"), size)
    loss, backward = model.loss(batch, noise)
    yield from (("loss" + n, to_numpy(a)) for n, a in leaves(loss))
    backward()
    yield from (("gradient " + n, a.copy()) for n, a in model.gradients().items())
    for step in (1, 2):
        loss, _ = model.loss(batch, noise)
        yield from ((f"loss {step}{n}", to_numpy(a)) for n, a in leaves(loss))
    model.eval()
    for title, function in pair.values(config).items():
        result = function(model, batch, noise, KEY)
        yield from ((title + n, to_numpy(a)) for n, a in leaves(result))


def is_close(
    left: dict[str, np.ndarray], right: Iterable[tuple[str, np.ndarray]], tolerance: float = 0.0
) -> bool:
    """True if two behaviours have the same arrays, up to a tolerance."""
    count = 0
    for name, array in right:
        count += 1
        if name not in left or left[name].shape != np.shape(array):
            return False
        if not np.allclose(left[name], array, rtol=tolerance, atol=tolerance):
            return False
    return count == len(left)
