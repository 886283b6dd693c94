"""What a rank reads from the reports of the others: lost, or ended by itself."""

import signal
import socket
import subprocess
import sys
import threading

import pytest
import torch.distributed as dist

from diptych.panels import liveness

TRANSPORT = RuntimeError("gloo: connection closed by peer")


@pytest.fixture
def ranks(monkeypatch):
    """Two ranks of one store. The process of rank 1 has ended, as if it was killed.

    A rank without its others ignores SIGTERM; the processes of later tests would inherit that.
    """
    handler = signal.getsignal(signal.SIGTERM)
    store = dist.HashStore()
    monkeypatch.setattr(liveness, "_connect", lambda: store)
    zero, one = liveness.Liveness(0, 2), liveness.Liveness(1, 2)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    store.set("process/1", f"{socket.gethostname()} {process.pid}")
    yield zero, one
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def ends(ranks, monkeypatch):
    """The status with which a rank ended at once, and its last report."""
    seen = []

    def end(status):
        seen.append((status, ranks[1].store.get("beat/1")))
        raise SystemExit

    monkeypatch.setattr(liveness, "end_at_once", end)
    return seen


def test_a_process_that_has_ended_is_gone_unless_it_told_so(ranks):
    zero, one = ranks
    assert zero.gone() == [1] and one.gone() == []
    one._thread.start()
    one._ended.set()
    one._report_end()
    assert zero.gone() == []


def test_a_rank_that_leaves_the_message_to_another_reports_its_end_first(ranks, ends):
    zero, one = ranks
    assert zero._claim_message()
    with pytest.raises(SystemExit), one.watching():
        raise TRANSPORT
    assert ends == [(1, b"ended")]


def test_the_thread_of_a_rank_reports_its_end_before_it_ends_the_process(ranks, ends):
    zero, one = ranks
    assert zero._claim_message()
    one._thread = threading.current_thread()
    with pytest.raises(SystemExit):
        one._end([0])
    assert ends == [(1, b"ended")]
