"""Modules, layers and pure functions with their vjps: the part of torch.nn that is needed."""

from numpy_ref.nn.convolution import Conv2d, ConvTranspose2d
from numpy_ref.nn.functional import ELU, ReLU, Tanh
from numpy_ref.nn.layers import BatchNorm2d, Embedding, Linear
from numpy_ref.nn.module import Array, Buffer, Module, Parameter, Sequential, Vjp
from numpy_ref.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear

__all__ = [
    "ELU",
    "Array",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "Embedding",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Tanh",
    "Vjp",
    "WNConv2d",
    "WNConvTranspose2d",
    "WNLinear",
]
