"""Run commands, and read what they leave in the folder of a run."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diptych import cli
from diptych.cli import terminal
from diptych.files import load_arrays

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
RUN_FILES = (
    "run.json",
    "metrics.jsonl",
    "checkpoint.safetensors",
    "weights.safetensors",
    "best.safetensors",
)


def run_here(arguments: Iterable[str]) -> tuple[int, str, bool]:
    """Run a command in this process; return its status, its output, and if it raised."""
    output = io.StringIO()
    consoles = terminal.console, terminal.errors
    for console in consoles:
        console.file = output
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            cli.main([*arguments])
    except SystemExit as end:
        text = output.getvalue()
        return int(end.code or 0), text, "Traceback" in text or "--debug" in text
    except BaseException as error:
        return 1, repr(error), True
    finally:
        for console in consoles:
            console.file = None
    return 0, output.getvalue(), False


def contents(run: Path, names: Iterable[str] = (*RUN_FILES[1:], "evaluation.json")) -> Any:
    """The contents of a run's files, without times; a file that cannot be read is None."""
    found: dict[str, Any] = {}
    for name in names:
        if not (run / name).exists():
            continue
        if name.endswith(".safetensors"):
            with contextlib.suppress(ValueError):
                arrays, _ = load_arrays(run / name)
                found[name] = {key: array.tobytes() for key, array in arrays.items()}
        else:
            text = (run / name).read_bytes().decode(errors="replace")
            found[name] = re.sub(r'"\w*seconds": [^,}\n]+', "", text)
    return found


def start(arguments: Iterable[str]) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "diptych", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
