"""What the left panel builds and torch.nn gives for free: only the dtype check remains."""

from __future__ import annotations

import torch

DTYPES = (torch.float32, torch.float64)


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """float32 or float64, however it was spelt. Raises ValueError for any other."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in DTYPES:
        raise ValueError(f"dtype: got {dtype!r}, takes float32 or float64")
    return found


def as_device(device: torch.device | str | None) -> torch.device:
    """The device, CPU where None. Raises ValueError for one that this machine lacks."""
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        have = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device: got {str(device)!r}, this machine has {have} ({reason})"
        ) from None
    return found
