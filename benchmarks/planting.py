"""Run tests against a changed copy of the checkout, many times and fast.

The libraries are imported once, in `preload`; each run is a fork of that process, which imports
the copy's packages afresh. Importing torch for every run would take longer than most tests.
"""

from __future__ import annotations

import compileall
import contextlib
import dataclasses
import importlib
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = ("model_specs", "numpy_ref", "torch_impl", "diptych")
FOLDERS = (*PACKAGES, "parity_tests", "benchmarks", "docs")
FILES = ("pyproject.toml", "README.md", "Makefile")
OPTIONS = ["-x", "-q", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:nbmake"]
OPTIONS += ["-o", "addopts="]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # `preload` imports hypothesis
LIBRARIES = ("numpy", "scipy.special", "scipy.stats", "torch", "torch.distributions", "hypothesis")
LIBRARIES += ("pytest", "matplotlib.pyplot", "typer", "rich.console", "safetensors.numpy")
FAILED = 1
"""pytest's exit status if tests ran and at least one failed; 2 is an error while collecting."""


def preload() -> None:
    """Import the libraries of the tests, and nothing of the project."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    for name in LIBRARIES:
        importlib.import_module(name)


@contextlib.contextmanager
def copy_of_checkout(root: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with the packages and the tests, which is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="diptych-copy-") as name:
        folder = Path(name)
        for part in FOLDERS:
            if (root / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.png")
                shutil.copytree(root / part, folder / part, ignore=ignored)
        for file in FILES:
            if (root / file).is_file():
                shutil.copy2(root / file, folder / file)
        # by content, because two edits within a second would look the same by time and size
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        for package in PACKAGES:
            compileall.compile_dir(folder / package, quiet=2, invalidation_mode=mode)
        yield folder


@contextlib.contextmanager
def edited(folder: Path, texts: dict[str, str]) -> Iterator[None]:
    """A context in which the files of `folder` have other texts."""
    before = {file: (folder / file).read_text() for file in texts}
    try:
        for file, text in texts.items():
            (folder / file).write_text(text)
        yield
    finally:
        for file, text in before.items():
            (folder / file).write_text(text)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What pytest said: its exit status (None: it was stopped), its output, and the time it took.

    `cpu` are the processor's seconds, `wall` those on the clock.
    """

    status: int | None
    output: str
    cpu: float
    wall: float

    @property
    def red(self) -> bool:
        """True if a test failed, a module could not be imported, or the time was up."""
        return self.status != 0

    @property
    def first_failure(self) -> str:
        """The node id of the first test that failed, or the reason why none ran."""
        if self.status is None:
            return "(out of time)"
        lines = [line for line in self.output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return lines[0].split(" ", 1)[1].split(" - ")[0] if lines else "(no test ran)"


def run_tests(folder: Path, tests: list[str], timeout: float = 120.0) -> Outcome:
    """Run pytest on `tests` in a fork of this process, with the packages of `folder`."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            _be_pytest(folder, tests, log.fileno())
        status, usage = _wait(child, start + timeout)
        log.seek(0)
        output = log.read().decode(errors="replace")
    cpu = usage.ru_utime + usage.ru_stime if usage else timeout
    return Outcome(status, output, cpu, time.monotonic() - start)


def _be_pytest(folder: Path, tests: list[str], log: int) -> None:
    status = 3
    try:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        outside = [path for path in sys.path if path not in ("", str(ROOT), str(HERE))]
        sys.path[:] = [str(folder), *outside]
        import pytest  # noqa: PLC0415  # `preload` has imported it

        status = int(pytest.main([*OPTIONS, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, deadline: float) -> tuple[int | None, Any]:
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), usage
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.wait4(child, 0)
    return None, None
