"""The environment of a run: its command, machine, versions and commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import diptych


def command_line() -> str:
    """Return the command that this process was started with, as a user would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def environment() -> dict[str, Any]:
    """Return the machine, the versions and the commit that a result was computed with."""
    packages = ("numpy", "scipy", "torch", "safetensors")
    return {
        "machine": f"{platform.machine()}, {cpu_model()}, {_cpu_count()} cores",
        "versions": {"diptych": diptych.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": _commit(),
    }


def device_name(device: str) -> str:
    """Return "cpu", or the model of the GPU."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


def _cpu_count() -> int:
    return os.cpu_count() or 1


def _commit() -> str | None:
    """Return the commit of this checkout, with "+" if it has changes; None for an installed wheel.

    A wheel may be installed inside the checkout of another project, whose commit is irrelevant.
    """
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
