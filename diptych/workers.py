"""Run independent jobs in worker processes of one thread each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

Job = TypeVar("Job")
LOOK = 1.0
"""Seconds between two looks at the jobs, and at signals that have come meanwhile."""
GRACE = 10.0
"""Seconds that a worker has to finish after its parent has ended."""


def run_jobs(
    function: Callable[[Job], Any], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Any]]:
    """Yield (job, function(job)) as the jobs finish; one worker means this process itself.

    After Ctrl-C or an error the other jobs are ended: a training finishes its step and is saved.
    """
    if workers == 1:
        yield from ((job, function(job)) for job in jobs)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
    waiting, running = list(jobs), dict[Future[Any], Job]()
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker)
    with _one_thread(), pool:
        try:
            while waiting or running:
                # the pool's queue stays empty, so that an interrupt waits only for running jobs
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    running[pool.submit(function, job)] = job
                # a sleeping main thread does not see a signal that another thread received
                for future in wait(running, LOOK, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise


def _start_worker() -> None:
    """End this process at Ctrl-C without a traceback, and soon after its parent has ended."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored by a job in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # a training finishes its step and is saved
    time.sleep(GRACE)
    os._exit(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Context in which new processes use one thread each: more threads than cores are slower."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    values = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in values.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})
