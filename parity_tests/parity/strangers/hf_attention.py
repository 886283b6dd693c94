"""GPT-2's attention with one fused projection, in Hugging Face's manner, against split ones."""

import numpy as np
import torch
from torch import nn

from diptych import parity, weights


class Conv1D(nn.Module):
    """y = x W + b with W (nx, nf)"""

    def __init__(self, nf, nx):
        super().__init__()
        self.weight = nn.Parameter(0.5 * torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


class GPT2Attention(nn.Module):
    """Causal attention; c_attn computes query, key and value at once."""

    def __init__(self, embed_dim, num_heads):
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.c_attn = Conv1D(3 * embed_dim, embed_dim)
        self.c_proj = Conv1D(embed_dim, embed_dim)

    def _split_heads(self, tensor):
        shape = (*tensor.size()[:-1], self.num_heads, self.embed_dim // self.num_heads)
        return tensor.view(shape).permute(0, 2, 1, 3)

    def forward(self, hidden_states):
        query, key, value = self.c_attn(hidden_states).split(self.embed_dim, dim=2)
        query = parity.tap("query", self._split_heads(query))
        key = parity.tap("key", self._split_heads(key))
        value = parity.tap("value", self._split_heads(value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / value.size(-1) ** 0.5
        causal = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = parity.tap("scores", torch.where(causal, scores, -1e4))
        attn_weights = parity.tap("weights", nn.functional.softmax(scores, dim=-1))
        attn_output = torch.matmul(attn_weights, value).permute(0, 2, 1, 3).contiguous()
        return self.c_proj(parity.tap("merged", attn_output.view(hidden_states.shape)))


class Attention(nn.Module):
    """The same attention with three projections."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        N, T, C = x.shape
        q, k, v = (
            parity.tap(name, projection(x).view(N, T, self.heads, C // self.heads).transpose(1, 2))
            for name, projection in [("query", self.q), ("key", self.k), ("value", self.v)]
        )
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        scores = (q @ k.mT / (C // self.heads) ** 0.5).masked_fill(future, -1e4)
        probabilities = parity.tap("weights", parity.tap("scores", scores).softmax(-1))
        return self.o(parity.tap("merged", (probabilities @ v).transpose(1, 2).flatten(2)))


x = np.random.default_rng(13).normal(size=(3, 5, 8))
torch.manual_seed(0)


def compare():
    # adapter
    left, right = Attention(8, 2).double(), GPT2Attention(8, 2).double()
    parts = zip("qkv", ("0:8", "8:16", "16:24"), strict=True)
    rename = {"o": "c_proj"} | {f"{name}.*": f"c_attn.*[..., {part}]" for name, part in parts}
    weights.transfer(left, right, rename=rename, layout={"*.weight": "o i -> i o"})
    return parity.compare(left, right, x, rename=rename, layout={"*.weight": "o i -> i o"})
    # end of adapter
