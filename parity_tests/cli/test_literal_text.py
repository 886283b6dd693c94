"""Paths, names and messages are printed as they are: square brackets and colons are no markup."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import diptych
from diptych.display import Console

PACKAGE = Path(diptych.__file__).parent
SMALL = [
    *("--set", "hidden_dim=4", "--set", "embedding_dim=4", "--set", "seq_len=5"),
    *("--set", "num_layers=1", "--batch-size", "4", "--epochs", "1", "--seed", "1"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The folder of a run, and a text, whose names look like Rich's markup and emoji."""
    folder = tmp_path_factory.mktemp("names") / "a[/b]" / "[red]x[/red]:100:"
    (folder / "d[/q]").mkdir(parents=True)
    text = folder / "d[/q]" / "s  [bold].txt"
    text.write_text("the cat sat on a mat\na dog sat on the cat\n" * 60)
    return folder / "run", text


def test_a_run_with_markup_in_its_paths(run, places):
    out, text = places
    status, printed, error = run("train", "lstm", "--data", f"text:{text}", "--out", out, *SMALL)
    assert not status, error
    assert str(out) in printed and str(text) in printed
    status, printed, error = run("evaluate", out)
    assert not status, error
    assert str(out) in printed.replace("\n", "")
    status, printed, error = run("sample", out, "--count", "3")
    assert not status, error
    status, printed, _ = run("verify", out)
    assert status == 0 and str(out) in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "lstm", "--data", "text:{0}[/b]", "--out", "{0}/out"],
        ["train", "lstm", "--data", "[red]x[/red]:100:"],
        ["train", "lstm", "--set", "[/x]=1"],
        ["train", "[/x]:100:"],
        ["evaluate", "[red]{0}[/red]"],
        ["curves", "[/x]", "[/y]"],
        ["bench", "mlp_vae", "--json", "{0}/[/x]"],
        ["check", "[/x]", "--json", "{0}/x.json"],
        ["list", "[/x]"],
        ["compare", "[/x].py:f", "[/y].py:g"],
        ["[/x]"],
        ["--[/x]"],
    ],
    ids=" ".join,
)
def test_an_error_keeps_what_the_user_typed(run, tmp_path, arguments):
    typed = [argument.format(tmp_path) for argument in arguments]
    status, _, error = run(*typed)
    marked = next(a for a in typed if "[" in a).partition("=")[0].removeprefix("text:")
    assert status in (1, 2) and error.count("\n") == 1
    assert marked in error or marked.partition(".")[0] in error


def calls(path: Path) -> list[ast.Call]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]


def test_only_one_module_makes_consoles_that_print():
    """A Console of Rich reads markup in every string; that of diptych.display does not."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "from rich.markup" not in text and "from_markup" not in text, path
        if "from rich.console import Console" not in text:
            continue
        for call in calls(path):
            if isinstance(call.func, ast.Name) and call.func.id == "Console":
                assert [k.arg for k in call.keywords] == ["quiet"], f"{path}: {ast.unparse(call)}"


def test_a_console_prints_brackets_and_colons(capsys):
    console = Console(width=80)
    console.print("a[/b] [red]x[/red] :100:")
    console.rule("[/b]:100:")
    with console.status("[/b]"):
        pass
    out = capsys.readouterr().out
    assert "a[/b] [red]x[/red] :100:" in out and "[/b]:100:" in out
