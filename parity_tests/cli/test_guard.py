"""The end of a command: whatever happens in it, the user reads one line, and no work is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from diptych.cli import errors, guard, listing, main

FAILURES = [
    (KeyError("x"), "KeyError: 'x': a bug: rerun with --debug"),
    (TypeError("no\nsuch\nthing"), "TypeError: no such thing: a bug: rerun with --debug"),
    (AssertionError(), "AssertionError: no message: a bug: rerun with --debug"),
    (ValueError(), "ValueError: no message: a bug: rerun with --debug"),
    (EOFError("cut"), "EOFError: cut: a bug: rerun with --debug"),
    (RecursionError("too deep"), "RecursionError: too deep: a bug: rerun with --debug"),
    (NotImplementedError("x"), "NotImplementedError: x: a bug: rerun with --debug"),
    (MemoryError(), "not enough memory"),
    (
        MemoryError("Unable to allocate 745. GiB for an array with shape (9, 9)"),
        "not enough memory (allocate 745. GiB for an array with shape (9, 9))",
    ),
    (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 400 bytes. Error code 12 (Cannot allocate memory)"
        ),
        "not enough memory (allocate 400 bytes)",
    ),
    (
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
        "not enough memory (Tried to allocate 2.00 GiB)",
    ),
    (FileNotFoundError(errno.ENOENT, "No such file", "a/b"), "a/b: No such file"),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "x.tmp", None, "x"), "x: Is a directory"),
    (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe", "fifo"), "fifo: Broken pipe"),
    (ValueError("a  b[/x]: got '\x1b[31m'\n  and  more"), r"a  b[/x]: got '\x1b[31m' and  more"),
]


def failing(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setitem(listing.LISTS, "pairs", fail)


@pytest.mark.parametrize(("error", "line"), FAILURES, ids=[line[:40] for _, line in FAILURES])
def test_each_error_is_one_line(run, monkeypatch, error, line):
    failing(monkeypatch, error)
    status, out, err = run("list", "pairs")
    assert status == 1 and not out and err == f"error: {line}\n"


def test_debug_shows_the_traceback(monkeypatch):
    failing(monkeypatch, KeyError("x"))
    with pytest.raises(KeyError):
        main(["list", "pairs", "--debug"])


def test_a_bug_in_a_comparison_does_not_look_like_a_divergence():
    with pytest.raises(errors.BadInputError, match="TypeError: x: a bug"), errors.bad_input():
        raise TypeError("x")


def test_the_handler_of_ctrl_c_is_given_back():
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with pytest.raises(SystemExit):
        main(["list", "pairs"])
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def command(
    preparation: str, *arguments: str, redirect: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own, after `preparation`."""
    code = textwrap.dedent(preparation) + "\nfrom diptych.cli import main\nmain()\n"
    words = [sys.executable, "-c", code, *arguments]
    if redirect:
        words = ["sh", "-c", f'"$@" {redirect}', "sh", *words]
    return subprocess.run(
        words,
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
        # a shell starts a program in the background with SIGINT ignored, and it is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


INTERRUPT = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"


def test_ctrl_c_during_an_import_is_quiet(tmp_path):
    """A package may catch the exception, or print a traceback of its own, as torch does."""
    (tmp_path / "torch.py").write_text(
        f"import traceback\ntry:\n    {INTERRUPT}\n"
        "except BaseException:\n    traceback.print_exc()\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    result = command("", "check", "mlp_vae", PYTHONPATH=path)
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"error: interrupted\n")


def test_ctrl_c_before_the_command_line_is_imported_is_quiet(tmp_path):
    """Typer is the first package of any size that is imported."""
    (tmp_path / "typer.py").write_text(INTERRUPT)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    result = command("", "list", PYTHONPATH=path)
    assert (result.returncode, result.stderr) == (130, b"error: interrupted\n")


@pytest.mark.parametrize(
    "place",
    [
        f"def work(): {INTERRUPT}",
        f"class Careless:\n    def __del__(self): {INTERRUPT}\ndef work():\n    Careless()",
        f"from diptych.cli import guard\ndef work(): ...\nimport typer\n"
        f"def build(app): {INTERRUPT}\ntyper.main.get_command = build",
    ],
    ids=["in the work", "in a __del__", "before the work"],
)
def test_ctrl_c_in_the_work_is_quiet(place):
    code = f"{place}\nfrom diptych.cli import listing\nlisting.LISTS['pairs'] = work"
    result = command(code, "list", "pairs")
    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"error: interrupted\n")


def test_next_to_nothing_is_imported_before_ctrl_c_is_quiet():
    code = "import sys; old = set(sys.modules); import diptych.cli; print(*set(sys.modules) - old)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert len(result.stdout.split()) < 8, result.stdout


SIGNS = """
from diptych.cli import listing
from diptych.display import Table
def signs():
    table = Table("sign", title="mean ± deviation")
    table.add_row("… ✓ − × ≤ é 漢 a\\udcffb")
    return table
listing.LISTS["pairs"] = signs
"""


@pytest.mark.parametrize(
    ("encoding", "title", "row"),
    [
        ("ascii", "mean +- deviation", r"... + - x <= ? ? a\xffb"),
        ("latin-1", "mean ± deviation", r"... + - × <= é ? a\xffb"),
        ("cp1252", "mean ± deviation", r"… + - × <= é ? a\xffb"),
        ("utf-8", "mean ± deviation", r"… ✓ − × ≤ é 漢 a\xffb"),
    ],
)
def test_any_encoding_of_the_output_will_do(encoding, title, row):
    result = command(SIGNS, "list", "pairs", PYTHONIOENCODING=encoding)
    assert result.returncode == 0 and not result.stderr
    text = result.stdout.decode(encoding)
    assert title in text and row in text


LINES = """
from diptych.cli import listing, terminal
def work():
    for line in range(20000):
        terminal.console.print("a line")
    print("done", file=__import__("sys").stderr)
    return ""
listing.LISTS["pairs"] = work
"""


def test_the_work_goes_on_when_the_reader_of_a_pipe_has_gone():
    result = command(LINES, "list", "pairs", redirect="| head -n 1")
    assert result.stdout == b"a line\n" and result.stderr == b"done\n"


def test_a_full_disk_below_the_output_is_told_after_the_work():
    result = command(LINES, "list", "pairs", redirect="> /dev/full")
    told = b"done\nerror: standard output: No space left on device\n"
    assert result.returncode == 1 and result.stderr == told


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_takes_everything(redirect):
    assert command(LINES, "list", "pairs", redirect=redirect).returncode == 0


def test_the_memory_of_a_command_is_limited_to_what_is_available():
    """numpy.zeros takes addresses alone: without the limit Linux hands out nearly all of them."""
    code = """
    import numpy
    from diptych import limits
    from diptych.cli import listing
    limits.available_memory = lambda: 2**28
    listing.LISTS["pairs"] = lambda: str(numpy.zeros(2**29, numpy.uint8).sum())
    """
    result = command(code, "list", "pairs")
    line = b"error: not enough memory (allocate 512. MiB for an array with shape (536870912,) and"
    assert result.returncode == 1 and result.stderr.startswith(line)


def test_the_guard_is_what_the_command_line_runs(monkeypatch):
    calls = []
    monkeypatch.setattr(guard, "run", calls.append)
    main(["list"])
    assert calls == [["list"]]


def test_help_without_a_command_keeps_its_lines(run):
    status, _, err = run()
    assert status == 2 and err.count("\n") > 10
