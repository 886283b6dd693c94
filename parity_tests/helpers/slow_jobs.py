"""Script of test_workers.py: two jobs that only wait, in two workers.

    python slow_jobs.py FOLDER [thread]

Each job writes a file with its process id when it begins. With `thread` a thread of this process
then gets SIGINT in place of the main thread, as the system may choose.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from diptych.workers import run_jobs


def job(path: Path) -> None:
    """Write the process id to `path`, then wait a minute."""
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)
    time.sleep(60)


def square(number: int) -> int:
    """The square of a number, or an error for a negative one."""
    if number < 0:
        raise ValueError(f"number: got {number}")
    return number * number


def interrupt_this_thread(files: list[Path]) -> None:
    """Send SIGINT to the thread that calls this, once all jobs have begun."""
    while not all(file.exists() for file in files):
        time.sleep(0.05)
    time.sleep(0.5)  # the main thread waits for the jobs
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def main(folder: str, receiver: str = "") -> None:
    # a shell starts a program in the background with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    files = [Path(folder, "a"), Path(folder, "b")]
    if receiver == "thread":
        threading.Thread(target=interrupt_this_thread, args=[files], daemon=True).start()
    try:
        list(run_jobs(job, files, workers=2))
    except KeyboardInterrupt:
        print("interrupted")


if __name__ == "__main__":
    main(*sys.argv[1:])
