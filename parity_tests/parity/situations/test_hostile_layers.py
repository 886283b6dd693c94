"""Layers of torch with a behaviour of their own, against NumPy or against a second torch model."""

import copy

import numpy as np
import pytest
import torch
from helpers.situations import draw, left, pair, right, situation, situations_of
from torch import nn
from torch.nn.utils import parametrizations

X = draw(5, 4)


def _against_its_copy(layer, batch, fault=0.0):
    """Torch against torch: a layer and its copy, whose output a hook scales by 1 + fault."""
    twin = copy.deepcopy(layer)

    def scale(module, arguments, y):
        return ((1 + fault) * y[0], *y[1:]) if isinstance(y, tuple) else (1 + fault) * y

    if fault:
        twin.register_forward_hook(scale)
    return pair(layer, twin, batch)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, x):
        return self.attention(x, x, x)


LAYERS = {
    "LSTM": (lambda: nn.LSTM(4, 3, num_layers=2), draw(6, 2, 4)),
    "GRU": (lambda: nn.GRU(4, 3, bidirectional=True), draw(6, 2, 4)),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), X),
    "attention": (Attention, draw(6, 2, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), draw(6, 2, 4)),
    "transformer in evaluation": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(),
        draw(2, 6, 4),
    ),
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), draw(2, 3, 5, 5)),
    "batch norm": (lambda: nn.BatchNorm1d(4), X),
    "group norm": (lambda: nn.GroupNorm(2, 4), draw(2, 4, 3)),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(4, 3)), X),
    "PReLU": (nn.PReLU, X),
    "bilinear": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)), X),
    "embedding bag": (lambda: nn.EmbeddingBag(7, 3), np.array([[1, 2], [4, 6], [0, 0]])),
}


@situation("hostile", agrees=LAYERS)
def torch_layer_against_its_copy(name):
    make, batch = LAYERS[name]
    return _against_its_copy(make().double(), batch)


@situation("hostile", differs=LAYERS, says="forward")
def torch_layer_against_a_copy_with_a_hook(name):
    make, batch = LAYERS[name]
    return _against_its_copy(make().double(), batch, 1e-9)


@situation("hostile", agrees=["LSTM", "batch norm", "transformer"])
def float32_torch_layer_against_its_copy(name):
    make, batch = LAYERS[name]
    return _against_its_copy(make().float(), batch.astype(np.float32))


@situation("hostile", differs=["swapped"], says=r"forward|\[1\]|output")
def torch_layer_whose_copy_swaps_its_outputs(_):
    layer = nn.LSTMCell(4, 4).double()
    twin = copy.deepcopy(layer)
    return pair(
        right(forward=lambda self, x: self.cell(x), cell=layer),
        right(forward=lambda self, x: self.cell(x)[::-1], cell=twin),
        X,
    )


@situation("hostile", agrees=[1.0], differs=[2.0], first="forward")
def embedding_that_rescales_its_weight_in_its_forward(limit):
    """max_norm edits the rows that are used, before they are looked up."""
    ids, weight = np.array([1, 5, 1, 0]), draw(6, 3)

    def left_forward(self, ids):
        rows = np.unique(ids)
        norms = np.linalg.norm(self.weight.data[rows], axis=1, keepdims=True)
        scale = np.where(norms > limit, limit / (norms + 1e-7), 1.0)
        self.weight.data[rows] *= scale

        def vjp(dy):
            np.add.at(self.weight.grad, ids, dy)

        return self.weight.data[ids], vjp

    model = nn.Embedding(6, 3, max_norm=1.0).double()
    model.weight.data.copy_(torch.from_numpy(weight))
    return pair(left(forward=left_forward, weight=weight), model, ids)


@situation("hostile", agrees=[0.1], differs=[0.2], first="norm.running_mean")
def momentum_of_a_running_mean(momentum):
    """The output of a batch normalisation in training mode does not show its momentum."""
    twins = [
        right(forward=lambda self, x: self.norm(x), norm=nn.BatchNorm1d(4, momentum=value).double())
        for value in (momentum, 0.1)
    ]
    return pair(*twins, X)


@situation("hostile", agrees=["same"], differs=["unregistered"], says="forward")
def state_that_is_not_registered(kind):
    """A plain array of the left is no buffer: a difference shows in the outputs only."""
    table = draw(4)
    root = left(forward=lambda self, x: (x + self.__dict__["t"], lambda dy: dy))
    root.__dict__["t"] = table + (1e-9 if kind == "unregistered" else 0)
    model = right(forward=lambda self, x: x + self.table)
    model.table = torch.from_numpy(table)
    return pair(root, model, X)


@situation("hostile", agrees=[0.0], differs=[1e-9], first="forward")
def buffer_that_is_not_persistent(shift):
    """The right holds a constant that its state_dict does not show; the left computes it."""
    table = draw(4)
    model = right(forward=lambda self, x: x + self.table)
    model.register_buffer("table", torch.from_numpy(table), persistent=False)
    return pair(left(forward=lambda self, x: (x + table + shift, lambda dy: dy)), model, X)


class Tagged(torch.Tensor):
    """A tensor subclass without a behaviour of its own."""


@situation("hostile", agrees=[2.0], differs=[2.001], first="forward")
def output_of_a_tensor_subclass(factor):
    model = right(forward=lambda self, x: (2 * x).as_subclass(Tagged))
    return pair(left(forward=lambda self, x: (factor * x, lambda dy: factor * dy)), model, X)


@situation("hostile", agrees=[2.0], differs=[2.001], first="forward")
def output_that_is_a_numpy_matrix(factor):
    def left_forward(self, x):
        y = (factor * x).view(np.recarray)
        return y, lambda dy: factor * dy

    return pair(left(forward=left_forward), right(forward=lambda self, x: 2 * x), X)


@situation("hostile", agrees=["same mask"], differs=["hidden"], first="forward", or_refused=True)
def output_that_is_a_masked_array(kind):
    """A masked array may hide what differs."""

    def left_forward(self, x):
        y = 2 * x
        if kind == "hidden":
            y[0, 0] = 99.0
        return np.ma.masked_array(y, y == 99.0), lambda dy: 2 * dy

    return pair(left(forward=left_forward), right(forward=lambda self, x: 2 * x), X)


@situation("hostile", agrees=["float", "numpy scalar"], differs=["wrong float"], first="forward")
def root_that_returns_a_python_number(kind):
    def left_forward(self, x):
        total = x.sum() + (1e-6 if kind == "wrong float" else 0)
        value = total if kind == "numpy scalar" else float(total)
        return value, lambda dy: np.full_like(x, dy)

    return pair(left(forward=left_forward), right(forward=lambda self, x: x.sum()), X)


@situation("hostile", agrees=[3], differs=[4], says="forward")
def constant_root_without_parameters(value):
    """Nothing depends on x on either side."""
    twins = (
        left(forward=lambda self, x: (np.full(3, value), lambda dy: None)),
        right(forward=lambda self, x: torch.full((3,), 3)),
    )
    return pair(*twins, X)


@situation("hostile", agrees=[0.0], differs=[1.0], first="forward(x)")
def gradient_that_is_exactly_zero(slope):
    model = right(forward=lambda self, x: x.sign() + 0 * x)
    return pair(left(forward=lambda self, x: (np.sign(x), lambda dy: slope * dy)), model, X)


@pytest.mark.parametrize("case", situations_of(__name__), ids=str)
def test_the_verdict_on_layers_of_torch(case):
    case.check()
