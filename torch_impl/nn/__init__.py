"""The layers of torch.nn, with initial weights drawn from a Key, and weight-normalised layers."""

from torch.nn import Buffer, Parameter, Sequential

from torch_impl.nn.convolution import Conv2d, ConvTranspose2d
from torch_impl.nn.layers import ELU, BatchNorm2d, Embedding, Linear, ReLU, Tanh
from torch_impl.nn.module import Module
from torch_impl.nn.weight_norm import WNConv2d, WNConvTranspose2d, WNLinear

__all__ = [
    "ELU",
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
    "WNConv2d",
    "WNConvTranspose2d",
    "WNLinear",
]
