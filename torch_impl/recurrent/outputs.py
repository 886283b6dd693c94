"""What a recurrent network's units are for: the linear layer, and the error of what it gives.

Both keep one interface: parameters `weight` (O, H) and `bias` (O), as torch.nn.Linear's; `forward`
gives the error of every step, `outputs` what the layer gives.
Left panel: numpy_ref/recurrent/outputs.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl.nn import checks
from torch_impl.nn.module import as_dtype


class Output(nn.Module):
    """outputs = W h + b.   (..., H) -> (..., O)"""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        dtype: torch.dtype | str = torch.float64,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        factory_kwargs = {"dtype": as_dtype(dtype), "device": device}
        self.weight = nn.Parameter(torch.empty(out_dim, in_dim, **factory_kwargs))  # type: ignore[arg-type]
        self.bias = nn.Parameter(torch.empty(out_dim, **factory_kwargs))  # type: ignore[arg-type]

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def outputs(self, h: Tensor) -> Tensor:
        """W h + b; value only.   (..., H) -> (..., O)"""
        return F.linear(h, self.weight, self.bias)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no error")

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no targets")


class SoftmaxOutput(Output):
    """error = -log softmax(W h + b)[y], nats.

    Shapes: h (T, B, H), y (T, B) int64 in [0, O) -> error (T, B).
    """

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        logits = F.linear(h, self.weight, self.bias).flatten(0, 1).to(self.dtype)
        return F.cross_entropy(logits, y.flatten(), reduction="none").view(y.shape)

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is int64 of `shape`, each in [0, O)."""
        checks.check_tokens("y", y, shape, len(self.bias), self)


class SquaredErrorOutput(Output):
    """error = sum_o (W h + b - y)_o^2.

    Shapes: h (T, B, H), y (T, B, O) -> error (T, B).
    """

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return ((F.linear(h, self.weight, self.bias) - y) ** 2).sum(-1)

    def check_targets(self, y: Tensor, shape: tuple[int, int]) -> None:
        """Raise ValueError unless y is (*shape, O), finite and of the layer's dtype."""
        checks.check_noise("y", y, (*shape, len(self.bias)), self)


OUTPUTS: dict[str, type[Output]] = {
    "cross_entropy": SoftmaxOutput,
    "squared_error": SquaredErrorOutput,
}


def weighted_loss(error: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum over T of weight * error, averaged over B; and the weighted mean.

    Shapes: error (T, B), weight (T, B) or None for ones everywhere.
    """
    w = torch.ones_like(error) if weight is None else weight
    weighted = (w * error).sum()
    return weighted / error.shape[1], weighted / w.sum()
