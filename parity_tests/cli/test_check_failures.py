"""`diptych check` with a layer that raises: it is named, and the other pairs are still compared."""

import io
import json

import pytest
from rich.console import Console

import numpy_ref.mlp_vae
import torch_impl.mlp_vae
from diptych import cli
from diptych.commands.check import check_pairs
from diptych.parity.api import compare
from numpy_ref.autoregressive import resnet
from numpy_ref.nn import functional
from numpy_ref.nn.layers import Tanh
from torch_impl.mlp_vae import LogvarPosterior


def raise_in_matmul(self, x):
    return x @ x, None


def raise_in_kl(self, mu, logvar):
    raise RuntimeError("no kernel for this device")


def check(*models, json_file=None, dtype="float64"):
    """The reports of `check_pairs`, and what it prints."""
    sink = io.StringIO()
    console = Console(file=sink, width=200)
    return check_pairs(list(models), dtype, "cpu", console, json_file), sink.getvalue()
