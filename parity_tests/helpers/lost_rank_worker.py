"""Run by each of several ranks for test_lost_ranks.py: steps without an end.

lost_rank_worker.py FOLDER SILENCE MINUTES, with the environment that torchrun sets. After its first
step a rank writes its process number to FOLDER/RANK. FOLDER/error-RANK makes a rank fail,
FOLDER/sleep-RANK makes it wait between two steps. A rank that shuts Python down writes
FOLDER/shutdown-RANK.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path

from diptych.cli.errors import fail
from diptych.panels.ranks import joined


def main(folder: Path, silence: float, minutes: float) -> None:
    with joined("cpu", minutes, silence) as ranks:
        for step in range(1_000_000):
            ranks.all_reduce({"total": 1.0})
            if step == 0:
                (folder / str(ranks.rank)).touch()
            if (folder / f"error-{ranks.rank}").exists():
                raise ValueError("total: got nan")
            while (folder / f"sleep-{ranks.rank}").exists():
                time.sleep(0.1)
            time.sleep(0.01)


if __name__ == "__main__":
    atexit.register((Path(sys.argv[1]) / f"shutdown-{os.environ['RANK']}").touch)
    try:
        main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
    except (RuntimeError, ValueError) as error:
        fail(str(error), 1)
