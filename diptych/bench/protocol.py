"""The parent's side of a worker: start it with its threads, ask it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import diptych

THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
"""Libraries that read their number of threads from NAME_NUM_THREADS when they are imported."""
PATIENCE = 2.0
"""Seconds that a worker has to end by itself."""


class WorkerError(ValueError):
    """A worker answered with an error, or ended without an answer."""


class WorkerProcess:
    """A process that runs diptych.bench.worker with `threads` threads."""

    def __init__(self, threads: int) -> None:
        root = str(Path(diptych.__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        environment |= {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "diptych.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def send(self, **request: Any) -> None:
        """Send a request; the worker starts on it at once."""
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        except OSError:
            raise WorkerError(self._last_words()) from None

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to the last request. Raises: WorkerError."""
        line = self._answers.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises: WorkerError."""
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """End the worker; one that is busy is killed."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(PATIENCE if self._process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        except KeyboardInterrupt:
            self._process.kill()
            raise
        finally:
            self._answers.close()
            self._errors.close()

    def kill(self) -> None:
        """End the worker at once."""
        self._process.kill()
        self.close()

    def _last_words(self) -> str:
        """The reason why the process has ended: its status and the last line that it wrote."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = (
            "killed, perhaps because the memory was full" if status == -9 else f"status {status}"
        )
        return f"worker ended ({reason}){': ' + lines[-1] if lines else ''}"
