"""Detection of a lost rank: each rank reports to a shared store that it is alive.

A rank that is killed, or whose machine is gone, breaks the connections of the others or leaves them
waiting; one that is stopped only leaves them waiting. PyTorch then ends the run after a long time
and with the text of its transport. Here each rank has a thread that counts up a number in the store
of torchrun and reads those of the others. A rank whose number stays the same for SILENCE seconds is
lost, and ends the run with one line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from diptych.ending import end_at_once

BEAT = 1.0
"""Seconds between two reports of a rank."""
SILENCE = 90.0
"""Seconds without a report after which a rank is lost."""
STORE_TIMEOUT = 30.0
"""Seconds that the store has for an answer."""
GONE = "ZX"
"""States of a process that has ended: a zombie, or dead."""
TRANSPORT = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out")
"""Parts of the messages of torch.distributed when another rank does not answer."""
RESUME = "the same command with --resume goes on from the last checkpoint"


class LostRankError(RuntimeError):
    """Another rank does not answer."""


class Liveness:
    """The reports of all `size` ranks, seen from one `rank`; see SILENCE for `silence`."""

    def __init__(self, rank: int, size: int, silence: float = SILENCE) -> None:
        self.rank, self.size, self.silence = rank, size, silence
        self.store = _connect()
        self.store.set(f"process/{rank}", f"{socket.gethostname()} {os.getpid()}")
        self.store.set(f"beat/{rank}", "0")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="liveness", daemon=True)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Context in which this rank reports, and a lost rank ends this process.

        Raises: LostRankError in place of an error of torch.distributed.
        """
        self._thread.start()
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, RuntimeError) and is_of_transport(error)):
                self._claim_message()  # this error is the reason; the other ranks add nothing
                self._serve_others()
                raise
            if threading.current_thread() is threading.main_thread():
                # torchrun sends it to the other ranks, and it would cut the message short
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._ended.set()
            if not self._claim_message():  # another rank prints the message
                self._report_end()
                self._serve_others()
                end_at_once(1)
            reason = self.describe(self._wait_for_gone(), str(error))
            self._serve_others()
            raise LostRankError(reason) from error
        finally:
            self._ended.set()
            self._report_end()

    def gone(self) -> list[int]:
        """Return the ranks on this machine whose process has ended; see /proc/PID/stat."""
        others = (rank for rank in range(self.size) if rank != self.rank)
        return [rank for rank in others if self._state(rank) in GONE]

    def describe(self, ranks: list[int], reason: str = "") -> str:
        """Return the line that the user sees when `ranks` are lost; empty for an unknown one."""
        numbers = " and ".join(map(str, ranks))
        who = f"rank{'s' if len(ranks) > 1 else ''} {numbers}" if ranks else "a rank"
        why = f" ({' '.join(reason.split())[:120]})" if reason and not ranks else ""
        verb = "were" if len(ranks) > 1 else "was"
        return f"{who} of {self.size} {verb} lost{why}, so the run ends; {RESUME}"

    def _watch(self) -> None:
        """Report, and end the process when another rank is gone, or is silent for too long."""
        number = 0
        heard: dict[int, tuple[bytes, float]] = {}
        try:
            while not self._ended.wait(BEAT):
                number += 1
                self.store.set(f"beat/{self.rank}", str(number))
                now = time.monotonic()
                for rank in range(self.size):
                    beat = self.store.get(f"beat/{rank}")
                    if rank not in heard or heard[rank][0] != beat:
                        heard[rank] = beat, now
                active = [rank for rank, (beat, _) in heard.items() if beat != b"ended"]
                silent = [rank for rank in active if now - heard[rank][1] > self.silence]
                lost = silent or [rank for rank in self.gone() if rank in active]
                if lost:
                    self._end(lost)
        except RuntimeError:  # the store is gone, with the rank or the torchrun that served it
            if not self._ended.wait(STORE_TIMEOUT):
                self._end([])

    def _end(self, ranks: list[int]) -> None:
        """End this process at once, because its main thread waits inside torch."""
        if self._claim_message():
            sys.stderr.write(f"error: {self.describe(ranks)}\n")
            sys.stderr.flush()
            self._serve_others()
        elif self._ended.is_set():  # the main thread prints the message
            return
        else:
            self._report_end()
        end_at_once(1)

    def _report_end(self) -> None:
        """Tell the other ranks that this one ends by itself and is not lost."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=2 * BEAT)  # it would report that this rank goes on
        with contextlib.suppress(RuntimeError):
            self.store.set(f"beat/{self.rank}", "ended")

    def _claim_message(self) -> bool:
        """Return True on the first rank that calls this: it prints the message of all ranks."""
        try:
            return bool(self.store.add("message", 1) == 1)
        except RuntimeError:
            return True

    def _serve_others(self) -> None:
        """Wait until the other ranks have asked the store, if it ends with this process."""
        if self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            time.sleep(2 * BEAT)

    def _wait_for_gone(self) -> list[int]:
        """Return `gone`, after at most a second: connections close before a process has ended."""
        end = time.monotonic() + 1
        while not (ranks := self.gone()) and time.monotonic() < end:
            time.sleep(0.02)
        return ranks

    def _state(self, rank: int) -> str:
        """Return the state of the process of `rank`; "R" if it is not here, or ended by itself."""
        try:
            if self.store.get(f"beat/{rank}") == b"ended":
                return "R"
            host, pid = self.store.get(f"process/{rank}").decode().rsplit(" ", 1)
        except RuntimeError:
            return "R"
        if host != socket.gethostname() or not Path("/proc/self/stat").exists():
            return "R"
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return GONE[0]


def is_of_transport(error: RuntimeError) -> bool:
    """True for an error of torch.distributed that means that another rank did not answer."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(part in text for part in TRANSPORT)


def _connect() -> dist.Store:
    """Return a connection of its own to the store that torchrun or rank 0 serves.

    The thread must not share that of the process group, which blocks while it waits.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    timeout = timedelta(seconds=STORE_TIMEOUT)
    store = dist.TCPStore(host, port, is_master=False, timeout=timeout)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"diptych/{attempt}", store)
