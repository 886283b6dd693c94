"""The versions of the libraries whose rounding and semantics a comparison depends on."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import platform
from typing import Any

import numpy as np

import diptych


@functools.cache
def versions() -> dict[str, str]:
    """Version of each library by name; "blas" is the one that NumPy was built with.

    "blas loaded" lists the BLAS libraries of this process, if threadpoolctl is installed.
    """
    result = {"python": platform.python_version(), "diptych": diptych.__version__}
    result |= {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "torch")}
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    result["blas"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    try:
        libraries = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return result
    names = [
        " ".join(filter(None, (lib["internal_api"], lib.get("version"), lib.get("architecture"))))
        for lib in libraries
        if lib["user_api"] == "blas"
    ]
    return result | {"blas loaded": ", ".join(dict.fromkeys(names))}
