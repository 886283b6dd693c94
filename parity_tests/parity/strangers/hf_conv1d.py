"""GPT-2's MLP with Hugging Face's `Conv1D`, whose weight is transposed, against plain Linears."""

import numpy as np
import torch
from torch import nn

from diptych import parity, weights


class Conv1D(nn.Module):
    """y = x W + b with W (nx, nf): a Linear whose weight is transposed."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(0.5 * torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        size_out = (*x.size()[:-1], self.nf)
        x = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return x.view(size_out)


class NewGELUActivation(nn.Module):
    def forward(self, x):
        inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class GPT2MLP(nn.Module):
    def __init__(self, intermediate_size, hidden_size):
        super().__init__()
        self.c_fc = Conv1D(intermediate_size, hidden_size)
        self.c_proj = Conv1D(hidden_size, intermediate_size)
        self.act = NewGELUActivation()

    def forward(self, hidden_states):
        hidden_states = self.c_fc(hidden_states)
        hidden_states = self.act(hidden_states)
        return self.c_proj(hidden_states)


class MLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.up, self.act = nn.Linear(width, inner), nn.GELU(approximate="tanh")
        self.down = nn.Linear(inner, width)

    def forward(self, x):
        return self.down(self.act(self.up(x)))


x = np.random.default_rng(12).normal(size=(2, 5, 4))
torch.manual_seed(0)


def compare():
    # adapter
    left, right = GPT2MLP(6, 4).double(), MLP(4, 6).double()
    rename, layout = {"c_fc": "up", "c_proj": "down"}, {"*.weight": "i o -> o i"}
    weights.transfer(left, right, rename=rename, layout=layout)
    return parity.compare(left, right, x, rename=rename, layout=layout)
    # end of adapter
