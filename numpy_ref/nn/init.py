"""Initial weights, drawn from a Key by parameter name, so that both panels draw the same."""

from __future__ import annotations

from collections.abc import Callable

from model_specs.common.key import Key
from numpy_ref.nn import random
from numpy_ref.nn.module import Module


def normal(module: Module, key: Key, std: float = 0.1) -> None:
    """Weights (parameters of two or more axes) ~ N(0, std^2); biases 0.

    The one-axis weight of a normalisation keeps its value 1.
    """
    for name, parameter in module.named_parameters():
        if parameter.data.ndim > 1:
            parameter.data[...] = std * random.normal(key.fold_in(name), parameter.data.shape)
        elif name.rpartition(".")[2] != "weight":
            parameter.data[...] = 0


def init_weight_v(module: Module, key: Key, std: float = 0.05) -> None:
    """v ~ N(0, std^2) in each weight-normalised layer; its g stays 1 and its bias 0.

    std does not change the outputs, but a smaller v turns faster in training.
    Source: Salimans & Kingma (2016), section 3.
    """
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] == "weight_v":
            parameter.data[...] = std * random.normal(key.fold_in(name), parameter.data.shape)


def uniform(module: Module, key: Key, bound: float) -> None:
    """Every parameter, including biases, ~ U(-bound, bound)."""
    for name, parameter in module.named_parameters():
        u = random.uniform(key.fold_in(name), parameter.data.shape)
        parameter.data[...] = bound * (2 * u - 1)


def fan_in_uniform(module: Module, key: Key) -> None:
    """Weight and bias ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the default of torch.nn.

    For linear layers, convolutions and transposed convolutions fan_in is the size of weight[0].
    torch calls it kaiming_uniform_(a=sqrt(5)), which has the same bound. Weight and bias of a
    normalisation stay 1 and 0.
    """
    for path, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        if weight is None or weight.data.ndim < 2:
            continue
        bound = weight.data[0].size ** -0.5
        for leaf in ("weight", "bias"):
            parameter = getattr(layer, leaf, None)
            if parameter is not None:
                name = f"{path}.{leaf}" if path else leaf
                u = random.uniform(key.fold_in(name), parameter.data.shape)
                parameter.data[...] = bound * (2 * u - 1)


INITS: dict[str, Callable[[Module, Key], None]] = {"normal": normal, "torch": fan_in_uniform}
