"""Memory of this process: a command that needs more than there is ends with one line.

Without a limit the system lends more than it has, and kills the process once it is used.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files of the limit and of the use of a container, for both versions of Linux's cgroups."""

SMALL = 2**28
"""Bytes that are not worth a look at the system's files."""


def limit_memory() -> None:
    """Limit the memory of this process to what it has and what is available, where Linux tells.

    Not on a machine with a CUDA device, whose driver reserves more addresses than memory.
    """
    available = available_memory()
    if available is None or Path("/dev/nvidiactl").exists():
        return
    import resource  # noqa: PLC0415  (Windows lacks it)

    used = _kilobytes("/proc/self/status").get("VmData", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + available
    if resource.RLIM_INFINITY in (soft, hard) and soft in (resource.RLIM_INFINITY, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def available_memory() -> int | None:
    """Bytes that this process can still use without swapping others out; None if unknown."""
    memory = _kilobytes("/proc/meminfo")
    if "MemAvailable" not in memory:
        return None
    available = memory["MemAvailable"] + memory.get("SwapFree", 0)
    for limit, usage in GROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            numbers = [int(Path(file).read_text(encoding="ascii")) for file in (limit, usage)]
            available = min(available, max(0, numbers[0] - numbers[1]))
    return available


def check_memory(name: str, value: int, size: int) -> None:
    """Raise ValueError if `value` of the argument `name` needs more bytes than are available."""
    available = available_memory() if size > SMALL else None
    if available is not None and size > available:
        raise ValueError(
            f"{name}: got {value}, which takes {_gibibytes(size)} of memory, "
            f"{_gibibytes(available)} are available"
        )


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _kilobytes(file: str) -> dict[str, int]:
    """The bytes of each line "name: number kB" of a file of Linux; empty on another system."""
    try:
        lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    parts = (line.replace(":", " ").split() for line in lines)
    return {p[0]: int(p[1]) * 1024 for p in parts if len(p) == 3 and p[2] == "kB"}
