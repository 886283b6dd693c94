"""Checks of the command line before torch is imported, and the names in its error messages."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest
import typer

from diptych import lab, names, pairs
from diptych.cli.commands import app
from diptych.runs.config import RunConfig

WITHOUT_TORCH = """
import sys
from diptych.cli import main
try:
    main({arguments})
except SystemExit as done:
    status = done.code
assert "torch" not in sys.modules, "torch is imported"
sys.exit(status)
"""


def in_a_process_without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT_TORCH.format(arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--help", "Commands:"),
        ("--version", "diptych "),
        ("train --help", "--batch-size"),
        ("list presets", "zaremba-small"),
        ("list data", "ptb.train.txt"),
        ("list fields lstm", "hidden_dim: int = 200"),
    ],
)
def test_what_only_prints_does_not_import_torch(arguments, text):
    result = in_a_process_without_torch(*arguments.split())
    assert result.returncode == 0 and text in result.stdout, result.stderr


CHEAP = [
    ("check mlp_vea", "model: got 'mlp_vea'"),
    ("check --dtype float16", "--dtype: got 'float16', takes one of 'float32', 'float64'"),
    ("check --json {folder}/report.txt", "--json: got '{folder}/report.txt', takes a name"),
    ("train mlp_vea", "did you mean 'mlp_vae'"),
    ("train lstm --preset zaremba-smal", "--preset: got 'zaremba-smal'"),
    ("train rnn --preset zaremba-small", "--preset: got 'zaremba-small' for rnn"),
    ("train mlp_vae --data digit", "--data: got 'digit', takes one of"),
    ("train mlp_vae --data digit", "did you mean 'digits'?"),
    ("train mlp_vae --data copyy:5", "did you mean 'copy"),
    ("train mlp_vae --dtype half", "--dtype: got 'half'"),
    ("train mlp_vae --device GPU", "--device: got 'GPU', takes cpu, cuda or cuda:N"),
    ("train mlp_vae --out {file}", "--out: got '{file}', cannot write there"),
    ("train mlp_vae --out {file}/below", "--out: got '{file}/below', cannot write there"),
    ("evaluate {folder} --split tset", "--split: got 'tset'"),
    ("evaluate {folder} --record {file}/r.json", "--record: got '{file}/r.json', cannot write"),
    ("evaluate {folder} --record {folder}/r.txt", "takes a name that ends in .json"),
    ("sample {folder} --out {folder}/s.jpg", "takes a name that ends in .png"),
    ("sample {folder} --out {folder}/a.png", "which is a folder, takes a file"),
    ("curves {folder} {folder} --out {folder}/c.pdf", "--out: got '{folder}/c.pdf'"),
    ("bench mlp_vea", "did you mean 'mlp_vae'"),
    ("bench mlp_vae --rounds 0", "--rounds: got 0"),
    ("bench mlp_vae --json there", "--json: got 'there', takes a name that ends in .json"),
    ("bench mlp_vae --threads 0", "--threads: got 0, takes an int >= 1"),
    ("bench mlp_vae --sizes 0", "--sizes: got '0', takes batch sizes >= 1, as in 1,16,256"),
    ("bench mlp_vae --sizes 1,,2", "--sizes: got '1,,2'"),
    ("bench mlp_vae --sizes 1,x", "--sizes: got '1,x'"),
    ("bench mlp_vae --sizes 99999999999999999999", "takes batch sizes >= 1"),
    ("bench mlp_vae --dtype half", "--dtype: got 'half'"),
    ("bench mlp_vae --device tpu", "--device: got 'tpu', takes cpu, cuda or cuda:N"),
    ("bench mlp_vae --out {file}", "--out: got '{file}', cannot write there"),
    ("lab bound --data digit", "--data: got 'digit'"),
    ("lab bound --data ./digits", "--data-root is the folder of its files, and text:PATH reads"),
    ("train mlp_vae --data {folder}", "--data-root is the folder of its files"),
    ("train mlp_vae --device mps", "--device: got 'mps', takes cpu, cuda or cuda:N"),
    ("train mlp_vae --device cuda:x", "--device: got 'cuda:x', takes cpu, cuda or cuda:N"),
    ("train mlp_vae --out {folder}/run", "where 'metrics.jsonl' is a folder, takes a file"),
    ("evaluate {folder}/run --record {folder}/run/run.json", "which the command uses itself"),
    ("evaluate {folder} --record {folder}/link.json", "which the command uses itself"),
    ("curves a b --record b/evaluation.json", "which the command uses itself"),
    ("bench mlp_vae --json {folder}/fifo.json", "which is no regular file"),
    ("bench mlp_vae --json /proc/x.json", "cannot write there"),
    ("bench mlp_vae --rounds 3000000000", "--rounds: got 3000000000, takes an int <= 2147483647"),
    ("check --json {folder}/" + "n" * 300 + ".json", "--json: got a name of 305 bytes"),
    ("study --out /dev/" + "n" * 300, "--out: got a name of 300 bytes"),
    ("lab bound --out out --record out/bound.json", "which the command uses itself"),
    ("study --out {folder}/run", "where 'check.json' is a folder, takes a file"),
    ("site --out {folder}/site", "'{folder}/site/pages' is no folder"),
    ("lab bound --out {file}", "--out: got '{file}', cannot write there"),
    ("site --out {file}", "--out: got '{file}', cannot write there"),
    ("site --out {file}/below", "--out: got '{file}/below', cannot write there"),
    ("study --workers 0", "--workers: got 0"),
    ("study --out {file}", "--out: got '{file}', cannot write there"),
    ("study --epochs 0", "--epochs: got 0"),
    ("list pair", "did you mean 'pairs'"),
    ("list fields", "`diptych list fields` takes a model"),
    ("list fields lstn", "did you mean 'lstm'"),
]


@pytest.fixture
def paths(tmp_path):
    """A folder with a file, and with names that are taken by something of another kind."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "a.png").mkdir()
    for name in ("metrics.jsonl", "check.json"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/pages").write_text("not a folder")
    (tmp_path / "link.json").symlink_to(tmp_path / "evaluation.json")
    os.mkfifo(tmp_path / "fifo.json")
    return {"folder": tmp_path, "file": tmp_path / "file"}


@pytest.mark.parametrize(("command", "message"), CHEAP, ids=[command for command, _ in CHEAP])
def test_a_wrong_option_is_one_line_that_names_it(run, paths, command, message):
    before = sorted(paths["folder"].rglob("*"))
    status, out, err = run(*(word.format(**paths) for word in command.split()))
    assert status == 1 and message.format(**paths) in err and not out
    assert err.startswith("error: ") and err.count("\n") == 1
    assert sorted(paths["folder"].rglob("*")) == before


def test_every_cheap_check_comes_before_torch(paths):
    """All in one process: each call of `main` ends with SystemExit."""
    calls = [[word.format(**paths) for word in command.split()] for command, _ in CHEAP]
    code = f"""
import sys
from diptych.cli import main
for arguments in {calls}:
    try:
        main(arguments)
    except SystemExit as done:
        assert done.code == 1, arguments
    assert "torch" not in sys.modules, arguments
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("\n") == result.stderr.count("error: ") == len(CHEAP)


def test_a_folder_without_permission_is_refused(run, tmp_path, monkeypatch):
    """The superuser may write everywhere, so that the answer of the system is made up here."""

    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    status, _, err = run("lab", "bound", "--out", tmp_path / "out")
    assert status == 1 and f"--out: got '{tmp_path / 'out'}', cannot write there" in err


EMPTY = ["train mlp_vae --out", "evaluate run --record", "sample", "lab bound --data-root"]


@pytest.mark.parametrize("command", EMPTY)
@pytest.mark.parametrize("joint", [" ", "="])
def test_an_empty_path_is_not_the_current_folder(run, command, joint):
    words = [*command.split(), ""]
    if joint == "=" and "--" in command:
        words = [*words[:-2], f"{words[-2]}="]
    status, out, err = run(*words)
    assert status == 2 and "got '', takes a path" in err and not out


def test_a_name_that_is_no_option_stays_as_it_is(run, tmp_path):
    arguments = ("train", "mlp_vae", "--set", "hidden_dim=3", "--out", tmp_path / "run")
    _, _, err = run(*arguments, "--set", "input_dim=32")
    assert err.startswith("error: --set input_dim: got 32, takes 64 for digits")
    _, _, err = run("evaluate", "nowhere")
    assert err.startswith("error: nowhere: not a run folder")


def test_the_names_that_are_known_without_torch_are_those_of_the_registries():
    assert list(names.MODELS) == list(pairs.PAIRS) and list(names.EXPERIMENTS) == list(
        lab.EXPERIMENTS
    )
    for model, config in names.MODELS.items():
        assert type(pairs.get(model).variants[""]) is config


def option_help(command: str) -> dict[str, str]:
    """The help text of each option of a command."""
    described = typer.main.get_command(app).commands[command]
    return {p.name: p.help for p in described.params if p.opts[0].startswith("--")}


def test_the_defaults_that_the_help_of_train_names_are_those_of_a_run():
    defaults = {}
    for name, text in option_help("train").items():
        match = re.search(r"\[default: (.*)\]", text)
        if match and name not in ("data", "data_root", "size", "resident"):
            defaults[name] = match[1]
    assert len(defaults) > 12
    for name, text in defaults.items():
        value = getattr(RunConfig, name)
        if isinstance(value, bool):
            assert text == ("yes" if value else "no"), name
        elif isinstance(value, float):
            assert float(text) == value, name
        else:
            assert text == str(value), name


@pytest.mark.parametrize(
    "command", ["check", "train", "evaluate", "sample", "curves", "bench", "site", "study"]
)
def test_each_option_is_described_by_a_sentence(command):
    for name, text in option_help(command).items():
        sentence = text.partition("  [default")[0]
        assert sentence[0].isupper() and sentence.endswith("."), name


@pytest.mark.parametrize("command", ["train", "evaluate", "lab", "list", "site", "study"])
def test_no_line_of_the_help_is_cut_or_longer_than_80_columns(command, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(command, "--help")
    assert "…" not in out and max(map(len, out.splitlines())) <= 80
