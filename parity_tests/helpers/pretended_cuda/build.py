"""Build the library that makes a CPU build of torch believe in one CUDA device.

The library is built once for each version of torch and of its sources, with g++, in a few seconds,
into the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

SOURCES = sorted((Path(__file__).parent / "native").glob("*.cpp"))
FLAGS = ("-shared", "-fPIC", "-O1", "-std=c++20", "-w")
HEADERS = ("include", "include/torch/csrc/api/include")


def torch_folder() -> Path:
    """The folder of torch, which is not imported."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise RuntimeError("torch: not installed")
    return Path(spec.origin).parent


def reason_to_skip() -> str | None:
    """Say why the library cannot be built here; None if it can."""
    if os.name != "posix" or not (torch_folder() / "lib/libtorch_cpu.so").exists():
        return "a CPU or CUDA build of torch with shared libraries is needed (Linux)"
    if shutil.which("g++") is None:
        return "g++ is needed to build the pretended CUDA device"
    if not (torch_folder() / HEADERS[0] / "ATen/detail/CUDAHooksInterface.h").exists():
        return "the C++ headers of torch are needed to build the pretended CUDA device"
    if (torch_folder() / "lib/libtorch_cuda.so").exists():
        return "this build of torch has CUDA itself: run the tests on a GPU"
    return None


def library(cache: Path | None = None) -> Path:
    """Return the path of the library, and build it unless the cache has it.

    Several processes may ask at once: one builds, the others wait.
    Raises: RuntimeError with the compiler's message.
    """
    folder = cache or _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / library_name()
    with FileLock(folder / "build.lock"):
        if not path.exists():
            _compile(path)
    return path


def _compile(path: Path) -> None:
    torch = torch_folder()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        result = Path(folder) / path.name
        command = ["g++", *FLAGS, *map(str, SOURCES), *(f"-I{torch / h}" for h in HEADERS)]
        command += [f"-L{torch / 'lib'}", "-ltorch_cpu", "-lc10", "-o", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"g++ cannot build the pretended CUDA device:\n{done.stderr}")
        os.replace(result, path)


def library_name() -> str:
    """The file name, which has a digest of the version of torch, the flags and the sources."""
    parts = [importlib.metadata.version("torch").encode(), " ".join(FLAGS).encode()]
    parts += [path.read_bytes() for path in SOURCES]
    return f"pretended_cuda-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.so"


def _cache_folder() -> Path:
    """The user's cache folder, or a folder of the user among the temporary ones."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "diptych"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / f"diptych-{os.getuid()}"
