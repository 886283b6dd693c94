"""A process that checks pairs and runs tests with planted faults; `record.py` starts it.

It imports the libraries once, and nothing of this project. Each job is a fork of it, which imports
the packages of a folder afresh: importing torch for every fault would take longer than its check.

    stdin     one job a line, as JSON: folder, texts {file: text}, checks [[pair, dtype]], tests
    stdout    one answer a line, as JSON: reports [JSON of a report], tests, error
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIBRARIES = [
    *("numpy", "scipy.special", "scipy.stats", "scipy.linalg", "torch", "torch._dynamo"),
    *("torch.distributions", "rich.console", "jinja2", "safetensors.numpy", "einops"),
]
TEST_LIBRARIES = ("pytest", "hypothesis")
PYTEST = ["-x", "-q", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:nbmake"]
PYTEST += ["-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
MESSAGE_LINES = 3
"""Lines of a failing assertion that are kept."""
TIMEOUT = 600.0
"""Seconds for one job, which takes one to seven on an idle processor."""

Job = dict[str, Any]


def serve() -> None:
    """Answer the jobs of stdin until it ends."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in TEST_LIBRARIES:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        with edited(Path(job["folder"]), job["texts"]):
            answer = in_fork(job)
        print(json.dumps(answer), flush=True)


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


def in_fork(job: Job) -> Job:
    """The answer to a job by a fork of this process; an error if it dies or takes too long."""
    with tempfile.TemporaryFile("w+") as sink:
        child = os.fork()
        if child == 0:
            _answer_and_exit(job, sink)
        deadline = time.monotonic() + TIMEOUT
        while not os.waitpid(child, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return {"error": f"it took more than {TIMEOUT:.0f} seconds"}
            time.sleep(0.01)
        sink.seek(0)
        text = sink.read()
    return json.loads(text) if text else {"error": "the process died"}


def _answer_and_exit(job: Job, sink: Any) -> None:
    answer: Job = {"error": ""}
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.chdir(job["folder"])
        os.environ["COLUMNS"] = "500"  # pytest cuts its messages to the width
        sys.dont_write_bytecode = True
        sys.path.insert(0, job["folder"])
        answer["reports"] = [_check(pair, dtype) for pair, dtype in job["checks"]]
        answer["tests"] = [_test(test) for test in job["tests"]]
    except BaseException:
        answer["error"] = traceback.format_exc()
    finally:
        sink.write(json.dumps(answer))
        sink.flush()
        os._exit(0)


def _check(pair: str, dtype: str) -> Any:
    """The report of `diptych check` as JSON, with its first divergence in words."""
    from diptych.commands.check import check_pair  # noqa: PLC0415  (the packages of the folder)
    from diptych.parity.reports.verdict import fault  # noqa: PLC0415

    report = check_pair(pair, dtype, "cpu")
    first = report.first_divergence
    return {**json.loads(report.to_json()), "first_in_words": fault(first) if first else ""}


def _test(test: str) -> dict[str, str]:
    """The first failure of a test: its id, line and message; all are empty if it passes."""
    import pytest  # noqa: PLC0415  (it may be missing)

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = int(pytest.main([*PYTEST, test]))
    if status == 0:
        return {"test": test, "failed": "", "line": "", "message": ""}
    lines = output.getvalue().splitlines()
    failures = [line.split(" ")[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    messages = [k for k, line in enumerate(lines) if re.match(r"E\s+[^\s+]", line)]
    if not failures or not messages:
        raise RuntimeError(f"{test}: pytest ended with status {status}: {' '.join(lines[-3:])}")
    message = " ".join(lines[k][1:].strip() for k in messages[:MESSAGE_LINES])
    before = [line for line in lines[: messages[0]] if line.startswith("    ")]
    line = before[-1].strip() if before else ""
    return {"test": test, "failed": failures[0], "line": line, "message": message}


if __name__ == "__main__":
    serve()
