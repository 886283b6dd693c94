"""Load torch into this process with one pretended CUDA device.

`activate` must come before the first import of torch, because torch looks for a device once. It
changes torch for the whole process, so that tests call it in a process of its own (see `server`).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from helpers.pretended_cuda import build


def activate() -> Any:
    """Import torch with the device, and return the context manager under which it computes.

        cuda = activate()
        with cuda():
            parity.compare("lstm", device="cuda")

    Raises: RuntimeError if torch has been imported already, or the library cannot be built.
    """
    if "torch" in sys.modules:
        raise RuntimeError("torch: imported already, the pretended device comes before it")
    path = build.library()
    for name in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(build.torch_folder() / "lib" / name), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)

    from helpers.pretended_cuda import constructors, cuda_module, kernels  # noqa: PLC0415
    from helpers.pretended_cuda.device import computing  # noqa: PLC0415

    cuda_module.install()
    constructors.install()
    kernels.install()
    return computing
