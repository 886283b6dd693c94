"""Initial weights, drawn from a Key by parameter name: both panels draw the same ones."""

from __future__ import annotations

from collections.abc import Callable

from model_specs.key import Key
from numpy_ref import random
from numpy_ref.module import Module


def normal(module: Module, key: Key, std: float = 0.1) -> None:
    """Weights (anything of two axes or more) ~ N(0, std^2); biases 0."""
    for name, parameter in module.named_parameters():
        data = parameter.data
        if data.ndim > 1:
            data[...] = std * random.normal(key.fold_in(name), data.shape)
        else:
            data[...] = 0


def uniform(module: Module, key: Key, bound: float) -> None:
    """Every parameter, biases too, ~ U(-bound, bound)."""
    for name, parameter in module.named_parameters():
        data = parameter.data
        data[...] = bound * (2 * random.uniform(key.fold_in(name), data.shape) - 1)


def fan_in_uniform(module: Module, key: Key) -> None:
    """Weight and bias ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)): the default of torch.nn.Linear.

    torch writes it as kaiming_uniform_(a=sqrt(5)), which is the same bound.
    """
    for path, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        if weight is None:
            continue
        bound = weight.data[0].size ** -0.5
        for leaf in ("weight", "bias"):
            data = getattr(layer, leaf).data
            name = f"{path}.{leaf}" if path else leaf
            data[...] = bound * (2 * random.uniform(key.fold_in(name), data.shape) - 1)


INITS: dict[str, Callable[[Module, Key], None]] = {"normal": normal, "torch": fan_in_uniform}
