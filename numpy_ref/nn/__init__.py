"""Modules, layers and pure functions with their vjps: the little of torch.nn that is needed."""

from numpy_ref.nn.layers import ELU, Embedding, Linear, ReLU, Tanh
from numpy_ref.nn.module import Array, Buffer, Module, Parameter, Sequential, Vjp

__all__ = [
    "ELU",
    "Array",
    "Buffer",
    "Embedding",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tanh",
    "Vjp",
]
