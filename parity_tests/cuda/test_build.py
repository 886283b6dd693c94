"""The library of the pretended device is built once; a machine that cannot build it says why."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.pretended_cuda import build


def test_two_processes_that_ask_at_once_get_one_whole_library(pretended, tmp_path, monkeypatch):
    commands = []

    def compiled(command, **options):
        commands.append(command)
        output = command[command.index("-o") + 1]
        with open(output, "wb") as file:
            file.write(b"library")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(build.subprocess, "run", compiled)
    with ThreadPoolExecutor() as pool:
        paths = set(pool.map(lambda _: build.library(tmp_path), range(4)))
    (path,) = paths
    assert len(commands) == 1 and path.read_bytes() == b"library"
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, "build.lock"}


def test_another_version_of_torch_and_another_source_are_another_library(monkeypatch, tmp_path):
    names = {build.library_name()}
    monkeypatch.setattr(build.importlib.metadata, "version", lambda name: "9.9")
    names.add(build.library_name())
    source = tmp_path / "other.cpp"
    source.write_text("int x;")
    monkeypatch.setattr(build, "SOURCES", [source])
    names.add(build.library_name())
    assert len(names) == 3


def test_a_source_that_does_not_compile_is_an_error_with_the_compilers_words(
    pretended, tmp_path, monkeypatch
):
    source = tmp_path / "broken.cpp"
    source.write_text("int x = ;")
    monkeypatch.setattr(build, "SOURCES", [source])
    with pytest.raises(RuntimeError, match=r"g\+\+ cannot build[\s\S]*broken\.cpp:1"):
        build.library(tmp_path)
    assert not list(tmp_path.glob("*.so"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, tmp: m.setattr(build.shutil, "which", lambda name: None), "g++ is needed"),
        (lambda m, tmp: m.setattr(build, "HEADERS", ("no folder",)), "headers of torch"),
        (lambda m, tmp: m.setattr(build, "torch_folder", lambda: tmp), "shared libraries"),
    ],
)
def test_a_machine_that_cannot_build_it_says_why(pretended, change, words, monkeypatch, tmp_path):
    change(monkeypatch, tmp_path)
    assert words in build.reason_to_skip()


def test_torch_may_not_be_imported_before_the_device():
    script = "import sys; sys.modules['torch'] = None\n"
    script += "from helpers.pretended_cuda.load import activate; activate()"
    environment = {"PYTHONPATH": str(build.SOURCES[0].parents[3])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "torch: imported already, the pretended device comes before it" in done.stderr
