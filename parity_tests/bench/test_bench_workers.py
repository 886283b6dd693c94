"""Workers of a benchmark as processes: their threads, their errors, and their end."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from diptych.bench import measure
from diptych.bench.protocol import WorkerError, WorkerProcess

CASE = ["mlp_vae", "16-32-2, batch 64", 3, "float32"]
ROOT = Path(__file__).parents[2]


def ps(*options):
    """The words that `ps` prints."""
    command = ["ps", *map(str, options)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    return result.stdout.split()


def children(pid):
    """Processes whose parent is `pid`."""
    return [int(word) for word in ps("-o", "pid=", "--ppid", pid)]


def has_ended(pid):
    """It is gone, or only its exit status is left, which nobody has read."""
    return all(state.startswith("Z") for state in ps("-o", "stat=", "-p", pid))


def leaves_ctrl_c_to_the_command(pid):
    """SIGINT is among the signals that the process ignores, as a worker does after its imports."""
    return any(int(mask, 16) & 1 << signal.SIGINT - 1 for mask in ps("-o", "ignored=", "-p", pid))


def wait_until(condition, seconds=60):
    """Whether the condition came true in so many seconds."""
    end = time.monotonic() + seconds
    while not (result := bool(condition())) and time.monotonic() < end:
        time.sleep(0.1)
    return result


@pytest.fixture(scope="module")
def worker():
    process = WorkerProcess(threads=1)
    yield process
    process.close()


def test_a_worker_computes_with_the_threads_that_it_was_started_with(worker):
    assert worker.ask(do="build", case=CASE, backend="torch") == {"threads": 1}
    answer = worker.ask(do="time", operation="step")
    assert answer["seconds"] > 0 and answer["calls"] >= 1
    memory = worker.ask(do="memory")
    assert memory["device"] is None and (memory["host"] is None or memory["host"] >= 0)


def test_an_error_is_an_answer_and_the_worker_goes_on(worker):
    with pytest.raises(WorkerError, match="out_of_reach"):
        worker.ask(do="build", case=CASE, backend="out_of_reach")
    assert "threads" in worker.ask(do="build", case=CASE, backend="numpy")


def test_a_worker_that_is_killed_is_an_error_with_its_status():
    process = WorkerProcess(threads=1)
    process.ask(do="build", case=CASE, backend="numpy")
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"worker ended \(killed, perhaps because the memory"):
        process.ask(do="memory")
    process.close()


@pytest.mark.parametrize("end", [WorkerProcess.kill, WorkerProcess.close])
def test_a_worker_that_does_not_end_by_itself_is_killed(end):
    """A stopped process is busy for ever, and does not see that its input has ended."""
    process = WorkerProcess(threads=1)
    pid = process._process.pid
    os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=end, args=[process], daemon=True)
    thread.start()
    thread.join(30)
    ended = has_ended(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended and not thread.is_alive()


def test_the_workers_of_a_measurement_are_killed_after_an_error(monkeypatch):
    killed = []

    class Worker:
        def __init__(self, threads):
            self.threads = threads

        def kill(self):
            killed.append(self.threads)

    monkeypatch.setattr(measure, "WorkerProcess", Worker)
    measurement = SimpleNamespace(settings=SimpleNamespace(threads=3))
    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        measure.Measurement._start(measurement, stack)
        measure.Measurement._start(measurement, stack)
        raise KeyboardInterrupt
    assert killed == [3, 3]


@pytest.mark.parametrize("moment", ["as a worker starts", "as a worker takes requests"])
def test_ctrl_c_ends_the_command_and_all_its_workers(tmp_path, moment):
    command = [sys.executable, "-m", "diptych", "bench", "mlp_vae", "--quick"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--rounds", "100000", "--json", str(tmp_path / "speed.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
        text=True,
        start_new_session=True,
        # a suite that runs in the background ignores SIGINT, and its children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (no thread here)
    )
    assert wait_until(lambda: children(process.pid))
    if moment == "as a worker takes requests":
        assert wait_until(lambda: any(map(leaves_ctrl_c_to_the_command, children(process.pid))))
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process in front
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.endswith("error: interrupted\n"), error
    assert "Traceback" not in error and not list(tmp_path.iterdir())
    # a worker that was being started as Ctrl-C came ends with its input, after its imports
    assert wait_until(lambda: all(has_ended(pid) for pid in workers))
