"""The conditions that a run's rounding depends on, besides its settings.

A resumed run ends in the weights of an uninterrupted one bit for bit if they stay the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy
import torch
from threadpoolctl import threadpool_info

import diptych
from diptych.runs.environment import cpu_model, device_name

VARIABLES = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "NVIDIA_TF32_OVERRIDE")
"""Environment variables that select kernels of torch and that no function reports."""
VERSIONS = ("torch", "numpy", "scipy")


def conditions(device: str, ranks: int = 1) -> dict[str, Any]:
    """Return the conditions of this process that a run on `device` in `ranks` processes has.

    They are flat and JSON-able: the versions, the device, the processor, the number of threads, the
    kernels of BLAS and of torch, and whether denormal numbers are set to 0.
    """
    result = {
        "diptych": diptych.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "device": device_name(device),
        "processor": cpu_model(),
        "processes": ranks,
        "torch threads": torch.get_num_threads(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "BLAS": _blas(),
        "denormals": "set to 0" if _flushes_denormals() else "kept",
    }
    if device.startswith("cuda"):
        result["cuDNN"] = str(torch.backends.cudnn.version())
    return result | {name: os.environ[name] for name in VARIABLES if name in os.environ}


def differing_conditions(settings: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe in which conditions the earlier parts of a run differ from those of `now`.

    `settings` are the contents of run.json, with the conditions of the first part and of each
    resumption. Of a run of version 0.1.0 only the versions of packages are known.
    Returns: "torch threads was 2, now 1; ...", or "" if none differs.
    """
    earlier = _recorded(settings)
    changes = []
    for name in dict.fromkeys(name for part in (*earlier, now) for name in part):
        values = list(dict.fromkeys(str(part.get(name)) for part in earlier if _knows(part, name)))
        current = str(now.get(name))
        if values and values != [current]:
            changes.append(f"{name} was {' and '.join(values)}, now {current}")
    return "; ".join(changes)


def _recorded(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    resumptions = [part for part in settings.get("resumed", []) if isinstance(part, dict)]
    parts = [part.get("conditions") for part in (settings, *resumptions)]
    recorded: list[Mapping[str, Any]] = [part for part in parts if isinstance(part, dict)]
    versions = settings.get("versions", {})
    return recorded or [{name: versions[name] for name in VERSIONS if name in versions}]


def _knows(part: Mapping[str, Any], name: str) -> bool:
    """True if an earlier part of a run recorded a condition, be it as an absent variable."""
    return name in part or (name in VARIABLES and "torch threads" in part)


def _blas() -> str:
    """Return the BLAS libraries of NumPy and SciPy with their kernels and numbers of threads."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    parts = (
        f"{x['internal_api']} {x['version']} {x.get('architecture', '')} x{x['num_threads']}"
        for x in libraries
    )
    return " + ".join(sorted(set(parts)))


def _flushes_denormals() -> bool:
    """True if this thread sets denormal results to 0."""
    return float(np.float64(np.finfo(np.float64).tiny) * np.float64(0.5)) == 0
