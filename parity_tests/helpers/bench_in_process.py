"""A benchmark whose workers are objects of this process, so that a test may change what they do."""

from __future__ import annotations

from typing import Any

from diptych.bench.protocol import WorkerError
from diptych.bench.worker import Worker


class WorkerInProcess:
    """Answers like diptych.bench.protocol.WorkerProcess, without a process."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.worker = Worker()
        self.request: dict[str, Any] = {}

    def send(self, **request: Any) -> None:
        self.request = request

    def receive(self) -> dict[str, Any]:
        try:
            return self.worker.answer(dict(self.request))
        except Exception as error:
            raise WorkerError(str(error)) from error

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.receive()

    def kill(self) -> None:
        self.worker = Worker()
