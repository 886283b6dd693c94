"""The functions of torch.cuda that the project calls: one device, whose queue is always empty."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import torch
from helpers.pretended_cuda.ledger import LEDGER

NAME = "pretended CUDA device"
MEMORY = ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved")
NOTHING = ("empty_cache", "reset_peak_memory_stats", "manual_seed", "manual_seed_all", "init")


class Event:
    """torch.cuda.Event. Its times are those of the host."""

    def __init__(self, enable_timing: bool = False, **options: Any) -> None:
        self.seconds: float | None = None

    def record(self, stream: Any = None) -> None:
        self.seconds = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        if self.seconds is None or end.seconds is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return 1000 * (end.seconds - self.seconds)

    def query(self) -> bool:
        return True

    def wait(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        LEDGER.record("synchronisation", "Event.synchronize")


class Stream:
    """torch.cuda.Stream."""

    cuda_stream = 0
    device_index = 0

    def __init__(self, device: Any = None, priority: int = 0, **options: Any) -> None:
        self.device = torch.device("cuda", 0)

    def synchronize(self) -> None:
        LEDGER.record("synchronisation", "Stream.synchronize")

    def wait_stream(self, stream: Any) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def query(self) -> bool:
        return True


STREAM = Stream()


def synchronize(device: Any = None) -> None:
    """torch.cuda.synchronize"""
    LEDGER.record("synchronisation", "torch.cuda.synchronize")


def install() -> None:
    """Replace the functions. torch.version.cuda and torch.backends.cuda.is_built stay as they are:
    they tell a program that there is no real device."""
    cuda: Any = torch.cuda
    cuda._lazy_init, cuda._initialized = lambda: None, True
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: 0
    torch._C._cuda_getDevice = lambda: 0  # type: ignore[attr-defined]
    cuda.is_available = cuda.is_initialized = lambda: True
    cuda.is_bf16_supported = lambda including_emulation=True: True
    cuda.is_current_stream_capturing = lambda: False
    cuda.device_count, cuda.current_device = lambda: 1, lambda: 0
    cuda.set_device = lambda device: None
    cuda.get_device_name = lambda device=None: NAME
    cuda.get_device_capability = lambda device=None: (8, 0)
    properties = SimpleNamespace(name=NAME, total_memory=2**34, major=8, minor=0)
    properties.multi_processor_count = 1
    cuda.get_device_properties = lambda device=None: properties
    cuda.mem_get_info = lambda device=None: (2**34, 2**34)
    torch.backends.cudnn.is_acceptable = lambda tensor: False
    cuda.Event, cuda.Stream, cuda.synchronize = Event, Stream, synchronize
    cuda.current_stream = cuda.default_stream = lambda device=None: STREAM
    cuda.stream = lambda stream: contextlib.nullcontext()
    for name in MEMORY:
        setattr(cuda, name, lambda device=None: 0)
    for name in NOTHING:
        setattr(cuda, name, lambda *args, **options: None)
    types = torch.utils._foreach_utils._foreach_supported_types, _optimizer_types()
    for known in types:
        known.append(_cuda_tensor())


def _optimizer_types() -> list[Any]:
    from torch.optim import optimizer  # noqa: PLC0415

    return optimizer._foreach_supported_types


def _cuda_tensor() -> Any:
    from helpers.pretended_cuda.tensor import CudaTensor  # noqa: PLC0415

    return CudaTensor
