"""A rank that is killed, stopped or stuck ends the run of all ranks with one line."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diptych.panels.liveness import is_of_transport

WORKER = Path(__file__).parents[1] / "helpers" / "lost_rank_worker.py"


@contextlib.contextmanager
def workers(folder, count, *limits):
    """Processes of a group, each of which has taken a step."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    command = [sys.executable, str(WORKER), str(folder), *map(str, limits)]
    processes = []
    for rank in range(count):
        env = os.environ | group | {"RANK": str(rank), "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                command,
                env=env,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        begin = time.monotonic()
        while not all((folder / str(rank)).exists() for rank in range(count)):
            assert time.monotonic() - begin < 240
            ended = [p.stderr.read() for p in processes if p.poll() is not None]
            assert not ended, ended
            time.sleep(0.05)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()


def errors_of(processes):
    """The lines "error: ..." of processes that end by themselves with status 1."""
    lines = [line for p in processes for line in p.communicate(timeout=60)[1].splitlines()]
    assert [process.returncode for process in processes] == [1] * len(processes)
    return [line for line in lines if line.startswith("error: ")]


LOST = "was lost, so the run ends; the same command with --resume goes on from the last checkpoint"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_rank_ends_the_run_with_one_line(tmp_path, number):
    """Rank 1 of 3 is killed or stopped; one of the other two tells."""
    with workers(tmp_path, 3, 5, 15) as processes:
        processes[1].send_signal(number)
        (line,) = errors_of([processes[0], processes[2]])
        assert line.removeprefix("error: ").removeprefix("rank 2: ") == f"rank 1 of 3 {LOST}"


def test_a_rank_that_is_alive_but_stuck_ends_the_run(tmp_path):
    """It reports, but does not come to the next step within the time of a step."""
    (tmp_path / "sleep-1").touch()
    with workers(tmp_path, 2, 60, 0.1) as processes:
        (line,) = errors_of(processes[:1])
        assert line.startswith("error: a rank of 2 was lost (") and line.endswith(LOST[9:])


def test_an_error_of_one_rank_alone_is_told_by_this_rank(tmp_path):
    with workers(tmp_path, 2, 60, 15) as processes:
        (tmp_path / "error-1").touch()
        assert errors_of(processes) == ["error: rank 1: total: got nan"]
    assert not list(tmp_path.glob("shutdown-*")), "PyTorch's threads could abort the process"


@pytest.mark.parametrize(("size", "output"), [("1", "shown\nshut down\n"), ("2", "shown\n")])
def test_one_of_several_ranks_fails_without_shutting_python_down(size, output):
    """A thread of the process group that then asks for the interpreter would abort the process."""
    code = (
        "import atexit; from diptych.cli.errors import fail; "
        "atexit.register(print, 'shut down'); print('shown'); fail('total: got nan', 1)"
    )
    env = os.environ | {"WORLD_SIZE": size, "RANK": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, output)
    assert done.stderr == "error: total: got nan\n"


def test_only_errors_of_the_transport_mean_a_lost_rank():
    assert is_of_transport(RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed"))
    assert not is_of_transport(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
