"""Jobs in worker processes: their results, and how they end with Ctrl-C or with their parent."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import slow_jobs
from helpers.doc_pages import ROOT

from diptych.workers import run_jobs

DEADLINE = 30


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_returned_with_its_result(workers):
    jobs = list(range(6))
    assert sorted(run_jobs(slow_jobs.square, jobs, workers)) == [(n, n * n) for n in jobs]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_job_is_raised(workers):
    with pytest.raises(ValueError, match="number: got -1"):
        list(run_jobs(slow_jobs.square, [1, -1, 2], workers))


def is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the deadline has passed"
        time.sleep(0.05)


@pytest.fixture
def program(tmp_path, request):
    """A program in a group of its own whose two jobs have begun, and their process ids."""
    process = subprocess.Popen(
        [sys.executable, slow_jobs.__file__, str(tmp_path), *getattr(request, "param", [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    files = tmp_path / "a", tmp_path / "b"
    wait_until(lambda: all(file.exists() for file in files))
    with process:
        yield process, [int(file.read_text()) for file in files]
        process.kill()


@pytest.mark.parametrize("receivers", ["the program", "its group"])
def test_ctrl_c_ends_the_jobs_without_a_traceback(program, receivers):
    process, jobs = program
    send = os.kill if receivers == "the program" else os.killpg
    send(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0 and output == "interrupted\n"
    wait_until(lambda: not any(map(is_running, jobs)))


@pytest.mark.parametrize("program", [["thread"]], indirect=True)
def test_ctrl_c_is_noticed_when_another_thread_receives_it(program):
    """The main thread then sleeps on, and Python runs its handler only there."""
    process, jobs = program
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0 and output == "interrupted\n"
    wait_until(lambda: not any(map(is_running, jobs)))


def test_jobs_end_soon_after_a_parent_that_was_killed(program):
    process, jobs = program
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, jobs)))
