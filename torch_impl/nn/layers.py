"""Layers of torch.nn, without draws from torch's global random state.

Left panel: numpy_ref/nn/layers.py, which writes out batch normalisation, torch.nn's here
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import ELU, BatchNorm2d, ReLU, Tanh
from torch.nn.utils import skip_init

from torch_impl.nn.module import as_dtype

__all__ = ["ELU", "BatchNorm2d", "Embedding", "Linear", "ReLU", "Tanh"]


def Linear(
    in_features: int,
    out_features: int,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str | None = None,
) -> nn.Linear:
    """A torch.nn.Linear with uninitialised weights; a model's `init` draws them from a Key."""
    return skip_init(
        nn.Linear, in_features, out_features, dtype=as_dtype(dtype), device=device or "cpu"
    )


def Embedding(
    vocab_size: int,
    dim: int,
    dtype: torch.dtype | str = torch.float64,
    device: torch.device | str | None = None,
) -> nn.Embedding:
    """A torch.nn.Embedding with uninitialised weights; a model's `init` draws them from a Key."""
    return skip_init(nn.Embedding, vocab_size, dim, dtype=as_dtype(dtype), device=device or "cpu")
