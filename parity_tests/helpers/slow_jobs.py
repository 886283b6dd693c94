"""Script of test_workers.py: two jobs that only wait, in two workers.

    python slow_jobs.py FOLDER

Each job writes a file with its process id when it begins.
"""

from __future__ import annotations

import os
import signal
import sys
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


def main(folder: str) -> None:
    # a shell starts a program in the background with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(run_jobs(job, [Path(folder, "a"), Path(folder, "b")], workers=2))
    except KeyboardInterrupt:
        print("interrupted")


if __name__ == "__main__":
    main(sys.argv[1])
