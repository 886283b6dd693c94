"""Every reader accepts a changed input, or refuses it in one line that names the file.

    pytest parity_tests/fuzz --fuzz-inputs 20000

No reader may crash its process, hang, use half a gigabyte, or raise anything but ValueError.
"""

import signal

import pytest
from helpers.fuzz import campaign, reader, worker
from helpers.fuzz.campaign import GOOD, fuzz

READERS = sorted(worker.READERS)
GROUPS = 4
"""Processes over all readers: each takes two seconds to start."""


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_reader_accepts_or_refuses_each_changed_input(group, pytestconfig):
    inputs = pytestconfig.getoption("--fuzz-inputs")
    findings = []
    for result in fuzz(READERS[group::GROUPS], inputs):
        assert sum(result.counts.values()) == inputs or result.findings
        findings += result.findings
        assert result.counts["refused"] > 0, f"{result.reader}: no changed input was refused"
    assert not findings, "\n".join(map(str, findings[:20]))


def test_the_same_number_makes_the_same_input(tmp_path):
    contents = []
    for _ in range(2):
        made = reader.of_file(tmp_path / "x", [bytes(range(100))] * 2, lambda: None)
        made.change(worker.Random("x 7"))
        contents.append((tmp_path / "x").read_bytes())
    assert contents[0] == contents[1] != bytes(range(100))


@pytest.mark.parametrize(
    ("raises", "kind"),
    [
        (KeyError("x"), "undocumented KeyError"),
        (MemoryError(), "undocumented MemoryError"),
        (ValueError("no file is named"), "nameless message"),
        (ValueError("data.bin: two\nlines"), "nameless message"),
        (ValueError("data.bin: found 3, expected 4"), "refused"),
        (None, "accepted"),
    ],
)
def test_each_kind_of_outcome_is_told_apart(raises, kind):
    def read():
        if raises is not None:
            raise raises

    made = reader.Reader(lambda rng: None, read, ("data.bin",))
    assert worker.outcome(made)[0] == kind


def test_a_reader_that_crashes_is_a_finding_and_the_others_go_on(monkeypatch):
    def run(folder, jobs, original=campaign._run):
        if jobs[0][:2] == ("slices", 0):
            (folder / worker.PRESENT).write_text("slices 2")
            return type("P", (), {"returncode": -signal.SIGSEGV, "stdout": "", "stderr": ""})
        return original(folder, jobs)

    monkeypatch.setattr(campaign, "_run", run)
    first, second = fuzz(["slices", "prompt"], 5)
    assert [f["kind"] for f in first.findings] == ["SIGSEGV"] and first.counts["SIGSEGV"] == 1
    assert sum(first.counts.values()) == 5 and first.counts["before a signal"] == 2
    assert sum(second.counts[kind] for kind in GOOD) == 5
