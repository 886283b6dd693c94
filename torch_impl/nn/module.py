"""What torch.nn.Module lacks of the contract: a load_state_dict that takes either panel's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_specs.common.state import check_state

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Module(nn.Module):
    """torch.nn.Module, with the left panel's promises about state and gradients."""

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the last backward pass, by parameter name; zeros where none came."""
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.named_parameters()
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """torch's own, but arrays of either panel are taken, and all of them or none.

        Raises: ValueError that lists every missing, unexpected and misshapen entry.
        """
        tensors = {
            name: value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
            for name, value in state_dict.items()
        }
        if strict:
            check_state(
                {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()},
                {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            )
        return super().load_state_dict(tensors, strict, assign)


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """float32 or float64, by name or as torch's own. Raises ValueError for any other."""
    result = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if result not in DTYPES.values():
        raise ValueError(f"dtype: got {dtype!r}, takes float32 or float64")
    assert isinstance(result, torch.dtype)
    return result


def as_device(device: torch.device | str | None) -> torch.device:
    """The device, CPU where None. Raises ValueError for one that this machine lacks."""
    try:
        result = torch.device("cpu" if device is None else device)
        torch.empty(0, device=result)
    except (RuntimeError, AssertionError) as error:
        have = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device: got {str(device)!r}, this machine has {have} ({reason})"
        ) from None
    return result
