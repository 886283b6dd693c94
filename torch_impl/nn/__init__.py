"""The right panel's basic layers: torch.nn, with initial weights drawn from a Key."""

from torch.nn import ELU, Buffer, Parameter, ReLU, Sequential, Tanh

from torch_impl.nn.layers import Embedding, Linear
from torch_impl.nn.module import Module

__all__ = [
    "ELU",
    "Buffer",
    "Embedding",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tanh",
]
