"""Commands for a shell under test, without the seconds that each of them takes to import torch.

One server process imports everything once; the programs that `install` puts into a folder pass
their arguments, folder, environment and open files to it, and it runs the command in a fork.

Under SHORTENED=1 a command does less of the same work: options are added at its end (the last one
wins), and of data that is read from files the first examples are taken.
"""

from __future__ import annotations

import array
import json
import os
import runpy
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

SHORT = {
    ("check",): ["mlp_vae"],
    ("train",): ["--epochs", "1"],
    ("evaluate",): ["--examples", "8"],
    ("bench", "mlp_vae"): ["--quick", "--sizes", "1", "--rounds", "1"],
    # their quick forms take up to a minute each and have tests of their own: parsed, not run
    ("bench",): ["--help"],
    ("lab",): ["--help"],
    ("study",): ["--help"],
    ("site",): ["--no-check"],
}
"""By the words that a command begins with, what is added at its end to make it short."""
IMAGES, TOKENS = 48, 2000
"""Examples and tokens of each split that are left of data from files."""

CLIENT = """#!{python} -SE
import array, json, os, socket, sys
request = [os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    server.sendmsg([b"f"], files)
    server.sendall(json.dumps(request).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(4) or b"1"))
"""
PROGRAM = """#!/bin/sh
exec {command} "$@"
"""


def install(folder: Path, address: str) -> None:
    """Write the programs that a page may call: diptych, pytest, run_block, python, torchrun."""
    programs = dict.fromkeys(
        ("diptych", "pytest", "run_block"), CLIENT.format(python=sys.executable, address=address)
    )
    programs["python"] = PROGRAM.format(command=sys.executable)
    programs["torchrun"] = PROGRAM.format(command=f"{sys.executable} -m torch.distributed.run")
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def serve(address: str) -> None:
    """Answer requests one after the other, until the process is ended."""
    import pytest  # noqa: F401, PLC0415
    import sklearn.datasets  # noqa: F401, PLC0415

    import diptych.bench  # noqa: PLC0415
    import diptych.lab  # noqa: PLC0415
    import diptych.training.train  # noqa: F401, PLC0415

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(str(_answer(connection)).encode())


def _answer(connection: socket.socket) -> int:
    _, ancillary, *_ = connection.recvmsg(1, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", ancillary[0][2])
    message = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    program, arguments, folder, environment = json.loads(message)
    child = os.fork()
    if not child:
        status = 1
        try:
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            status = run(program, arguments)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256


def run(program: str, arguments: list[str]) -> int:
    """Run diptych, pytest or a Python file in this process; returns the exit status."""
    from diptych import cli, data  # noqa: PLC0415

    sys.argv = [program, *arguments]
    try:
        if program == "pytest":
            import pytest  # noqa: PLC0415

            return int(pytest.main(["-p", "no:cacheprovider", *arguments]))
        if program == "run_block":
            sys.path.insert(0, os.getcwd())  # a program may import what its page has saved
            runpy.run_path(arguments[0], run_name="__main__")
            return 0
        if os.environ.get("SHORTENED"):
            arguments = shortened(arguments)
            load = data.load
            data.load = lambda *args: _first(load(*args))
        cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def shortened(arguments: list[str]) -> list[str]:
    """The arguments of a `diptych` command, with options that make it do less."""
    options = SHORT.get(tuple(arguments[:2])) or SHORT.get(tuple(arguments[:1]), [])
    if "--samples" in arguments:  # only then, for it is refused for text without dropout
        options = [*options, "--samples", "2"]
    return [a for a in arguments if a != "--compile"] + options


def _first(dataset: Any) -> Any:
    """The first examples of data that were read from files; embedded data as they are."""
    from diptych.data import Corpus, Dataset, Split  # noqa: PLC0415

    if "read from" not in dataset.summary:
        return dataset
    splits = {name: getattr(dataset, name) for name in ("train", "valid", "test")}
    if isinstance(dataset, Corpus):
        return replace(dataset, **{name: ids[:TOKENS].copy() for name, ids in splits.items()})
    assert isinstance(dataset, Dataset)
    parts = {
        name: Split(part.x[:IMAGES], None if part.y is None else part.y[:IMAGES])
        for name, part in splits.items()
    }
    return replace(dataset, **parts)


if __name__ == "__main__":
    serve(sys.argv[1])
