"""Module, a torch.nn.Module that loads the state_dict of either panel.

Shapes: a gradient has the shape of its tensor; each module names those of its inputs.
Source: torch.nn.Module.
Left panel: numpy_ref/nn/module.py, which writes out the part of torch.nn.Module that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model_specs.common.state import check_state, shapes_of

DTYPES = (torch.float32, torch.float64)


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """float32 or float64, from its name or torch dtype. Raises ValueError for any other."""
    for known in DTYPES:
        if dtype == known or (isinstance(dtype, str) and f"torch.{dtype}" == str(known)):
            return known
    raise ValueError(f"dtype: got {dtype!r}, takes float32 or float64")


class Module(nn.Module):
    """Base class of the models: torch.nn.Module with the left panel's `gradients`."""

    def gradients(self) -> dict[str, Tensor]:
        """The gradient of each parameter by path; zeros if there is none."""
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad
            for name, p in self.named_parameters()
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy a state_dict of either panel into the parameters and buffers.

        Raises: ValueError that lists every missing, unexpected and misshapen entry, and then
        nothing is copied.
        """
        tensors = {
            name: value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
            for name, value in state_dict.items()
        }
        if strict:
            check_state(shapes_of(self.state_dict()), shapes_of(tensors))
        return super().load_state_dict(tensors, strict, assign)


def as_device(device: torch.device | str | None) -> torch.device:
    """The device, by default the CPU. Raises ValueError if this machine does not have it."""
    name = "cpu" if device is None else str(device)
    try:
        result = torch.device(name)
        torch.empty(0, device=result)
    except Exception as error:  # of whatever kind the backend of a device raises
        if not name.startswith(("cpu", "cuda")):  # torch tells the developer of a backend here
            raise ValueError(f"device: got {name!r}, takes cpu, cuda or cuda:N") from None
        count = torch.cuda.device_count()
        available = f"cpu, cuda:0 to cuda:{count - 1}" if count else "cpu and no CUDA device"
        reason = "" if name.startswith("cuda") and not count else f" ({str(error).splitlines()[0]})"
        raise ValueError(f"device: got {name!r}, this machine has {available}{reason}") from None
    return result
