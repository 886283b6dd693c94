"""The command line on text and memory tasks: training, evaluation, samples and errors."""

import json
import math
import shlex
import shutil

import numpy as np
import pytest
import torch
from helpers.small_text_runs import TOLERANCE, WORDS, naive_nll, write_text

from diptych import data
from diptych.cli import main
from diptych.commands.open import open_run
from diptych.runs.folder import RunFolder, read_metrics
from diptych.runs.results import FIELDS

SMALL = "--epochs 2 --batch-size 4 --set hidden_dim=4 --set seq_len=5"
SHORT = "--epochs 1 --batch-size 8 --set hidden_dim=5"
TRAINED = {
    "one": "lstm --preset zaremba-small "
    f"{SMALL} --constant-epochs 1 --decay 0.25 --data text:{{a}}",
    "two": f"lstm --backend numpy --seed 3 {SMALL} --data text:{{a}}",
    "noisy": f"lstm --set scheme=per_step --set rate=0.4 {SMALL} --data text:{{a}}",
    "elsewhere": f"lstm {SMALL} --data text:{{b}}",
    "letters": f"rnn {SMALL} --data text/characters:{{a}}",
    "copy": f"rnn {SHORT} --data copy:5:3",
    "adding": f"rnn --backend numpy {SHORT} --data adding:6",
    "images": "mlp_vae --epochs 1 --set hidden_dim=3",
}
FILES = ("a", "b", "short", "empty", "latin", "none")


def words_of(command, folder):
    """The command as a list, with {name} for a run or a text file in the folder."""
    paths = {name: folder / name for name in TRAINED}
    paths |= {name: folder / f"{name}.txt" for name in FILES}
    return [word.format(**paths) for word in shlex.split(command)]


def training_of(name, folder):
    """The command that left the run `name`."""
    return words_of(f"train {TRAINED[name]} --dtype float64 --out {{{name}}}", folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Text files, and a run on each kind of data."""
    folder = tmp_path_factory.mktemp("sequences")
    write_text(folder / "a.txt"), write_text(folder / "b.txt", lines=90)
    for name in TRAINED:
        with pytest.raises(SystemExit) as done:
            main(training_of(name, folder))
        assert not done.value.code
    (folder / "short.txt").write_text("red blue cat\n" * 12)
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes("red blue café\n".encode("latin-1") * 40)
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


# What works


def test_the_options_of_the_user_take_precedence_over_the_preset(run, folder):
    config = RunFolder(folder / "one").config()
    published = {"lr": 1.0, "optimizer": "sgd", "clip": 5.0, "schedule": "constant-then-decay"}
    options = {"epochs": 2, "batch_size": 4, "constant_epochs": 1, "decay": 0.25}
    assert vars(config).items() >= (published | options).items()
    fields = {"hidden_dim": 4, "embedding_dim": 200, "seq_len": 5, "scheme": "none"}
    assert config.model_config.items() >= (fields | {"init_scale": 0.1, "num_layers": 2}).items()
    epochs = [x for x in read_metrics(folder / "one" / "metrics.jsonl") if x["kind"] == "epoch"]
    assert [line["lr"] for line in epochs] == [1.0, 0.25]


@pytest.mark.parametrize("command", ["the same", "train lstm --out {one}"])
def test_a_finished_run_is_resumed_without_a_change(run, folder, command):
    """By the same command, or without any of its settings."""
    before = contents(folder / "one")
    words = training_of("one", folder) if command == "the same" else words_of(command, folder)
    status, out, _ = run(*words, "--resume")
    assert status == 0 and "words, a vocabulary of" in out and "this run is finished already" in out
    assert contents(folder / "one") == before


def test_runs_are_evaluated_alone_and_together(run, folder, tmp_path):
    stream = data.load(f"text:{folder / 'a.txt'}").test
    panels = [open_run(folder / name)[2] for name in ("one", "two")]
    nll = np.array([naive_nll(panel, stream) for panel in panels])
    for names, expected in (
        (["one"], nll[0].mean()),
        (["two"], nll[1].mean()),
        (["one", "two"], -np.log(np.exp(-nll).mean(0)).mean()),
    ):
        record = tmp_path / "record.json"
        status, out, _ = run("evaluate", *(folder / n for n in names), "--record", record)
        out = " ".join(out.split())  # a long path breaks the title
        assert status == 0 and f"{math.exp(expected):.2f}" in out and "bits/word" in out
        assert ("probabilities of 2 runs averaged" in out) == (len(names) == 2)
        message = json.loads(record.read_text())
        assert list(message) == list(FIELDS) and len(message["metrics"]["history"]) == 2
        for metrics in (message["metrics"], evaluation(folder / names[0])):
            assert metrics["test_perplexity"] == pytest.approx(math.exp(expected), rel=TOLERANCE)
            assert metrics["runs"] == len(names) and metrics["test_tokens"] == len(stream) - 1
        folders = [RunFolder(folder / name) for name in names]
        seconds = [f.history().epochs[-1]["seconds"] for f in folders]
        assert message["time_s"] == message["metrics"]["train_seconds"] == sum(seconds)
        commands = [f.settings()["command"] for f in folders]
        settings = message["metrics"]["settings"]
        assert settings["command"].split("\n") == commands
        assert settings["trained"] == [
            {
                "seed": f.config().seed,
                "commit": f.settings()["commit"],
                "threads": torch.get_num_threads(),
            }
            for f in folders
        ]


def test_a_record_has_the_threads_of_the_training_not_of_the_evaluation(run, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder / "one", copy)
    settings = json.loads((copy / "run.json").read_text())
    settings["digest"], settings["conditions"]["torch threads"] = None, 7
    (copy / "run.json").write_text(json.dumps(settings))
    record = tmp_path / "record.json"
    assert run("evaluate", copy, "--record", record)[0] == 0
    (trained,) = json.loads(record.read_text())["metrics"]["settings"]["trained"]
    assert trained["threads"] == 7


def test_runs_of_different_lengths_have_the_smallest_number_of_epochs(run, folder, tmp_path):
    training = words_of(f"train {TRAINED['two']} --dtype float64", folder)
    assert run(*training, "--epochs", 3, "--out", tmp_path / "longer")[0] == 0
    status, out, _ = run("evaluate", tmp_path / "longer", folder / "one")
    assert status == 0 and "not finished" not in out
    assert evaluation(tmp_path / "longer")["epochs"] == 2


def test_samples_is_the_number_of_passes_with_dropout(run, folder):
    result = []
    for samples in (None, 1, 3):
        options = () if samples is None else ("--samples", samples)
        status, out, _ = run("evaluate", folder / "noisy", "--examples", 12, *options)
        metrics = evaluation(folder / "noisy")
        assert status == 0 and metrics["test_tokens"] == 12
        assert metrics["test_samples"] == (samples or 0)
        assert samples is None or f"{samples} passes with dropout" in " ".join(out.split())
        result.append(metrics["test_nll"])
    assert len({*result}) == 3


def test_text_goes_on_from_a_prompt(run, folder):
    texts = [
        run("sample", folder / "two", "--prompt", "Red cat", "--count", 9, *options)
        for options in ((), (), ("--seed", 1), ("--temperature", 0), ("--temperature", 1e-9))
    ]
    assert all(status == 0 and out.startswith("red cat") for status, out, _ in texts)
    assert all(set(out.split()) <= {*WORDS, "<unk>"} for _, out, _ in texts)
    default, same, seeded, greedy, cold = (out for _, out, _ in texts)
    assert default == same != seeded and greedy == cold != default
    status, out, _ = run("sample", folder / "letters", "--prompt", "dog", "--count", 5)
    assert status == 0 and out.startswith("dog") and len(out) == len("dog") + 5 + 1
    assert run("sample", folder / "letters")[0] == 0


@pytest.mark.parametrize("name", ["copy", "adding"])
def test_a_memory_task_is_trained_and_evaluated(run, folder, name):
    status, out, _ = run("evaluate", folder / name, "--examples", 40)
    assert status == 0 and "accuracy" in out and "40 sequences" in " ".join(out.split())
    result = evaluation(folder / name)
    assert result["test_sequences"] == 40 and 0 <= result["test_accuracy"] <= 1
    assert math.isfinite(result["test_error"])


def test_the_curves_of_both_panels_agree(run, folder, tmp_path):
    for backend in ("numpy", "torch"):
        command = f"train lstm --backend {backend} {SMALL} --data text:{{a}} --dtype float64"
        assert run(*words_of(command, folder), "--out", tmp_path / backend)[0] == 0
    record = tmp_path / "curves.json"
    runs = tmp_path / "numpy", tmp_path / "torch"
    status, _, err = run("curves", *runs, "--out", tmp_path / "curves.png", "--record", record)
    assert status == 0, err
    result = json.loads(record.read_text())["metrics"]
    apart = [value for name, value in result.items() if name.startswith("relative_difference")]
    assert len(apart) == 4 and max(apart) <= 1e-10
    assert (tmp_path / "curves.png").exists()


def test_a_run_is_not_evaluated_on_a_text_that_has_changed_but_needs_no_text_to_sample(
    run, tmp_path
):
    write_text(tmp_path / "a.txt")
    assert run(*words_of(f"train lstm {SMALL} --data text:{{a}} --out {{one}}", tmp_path))[0] == 0
    sample = run("sample", tmp_path / "one")
    assert sample[0] == run("evaluate", tmp_path / "one")[0] == 0
    write_text(tmp_path / "a.txt", lines=90)
    status, _, err = run("evaluate", tmp_path / "one")
    assert status != 0 and "trained on other data than the present ones" in err
    assert run("sample", tmp_path / "one") == sample


def test_check_agrees_for_both_recurrent_pairs(run, tmp_path):
    status, out, _ = run("check", "rnn", "lstm", "--json", tmp_path / "c.json")
    assert status == 0 and "DIVERGES" not in out
    message = json.loads((tmp_path / "c.json").read_text())["pairs"]
    names = {pair["name"] for pair in message}
    assert {"rnn", "rnn[recurrent,loop]", "lstm[tied]", "lstm[words]"} <= names
    for pair in message:
        variants = (
            "rnn",
            "lstm",
            "rnn[squared_error]",
            "lstm[tied]",
            "rnn[square]",
            "lstm[square]",
        )
        plain = pair["name"] in variants
        assert pair["masks_equal"] is (None if plain else True) and pair["tensors"] > 20


# What does not


ERRORS = [
    ("sample {images} --prompt red", "--prompt: got 'red' with a run on digits"),
    ("sample {images} --temperature 0.5", "--temperature: got 0.5 with a run on digits"),
    ("sample {copy} --prompt red", "sample: got a run on copy:5:3, takes one on images"),
    ("sample {one} --prompt 'red horse'", "--prompt: got 'horse' at position 1"),
    ("sample {one} --prompt ' '", "prompt: got 0 tokens"),
    ("sample {letters} --prompt Q", "--prompt: got 'Q' at position 0"),
    ("sample {one} --temperature -1", "temperature: got -1.0, takes a finite number >= 0"),
    ("sample {one} --temperature nan", "--temperature: got nan"),
    ("sample {one} --count 0", "--count: got 0"),
    ("evaluate {images} {one}", "one: trained on other data than"),
    ("evaluate {one} {copy} {elsewhere}", "elsewhere: trained on other data than"),
    ("evaluate {one} {letters}", "letters: trained on other data than"),
    ("evaluate {images} {images}", "runs: got 2, images takes one"),
    ("evaluate {copy} {copy}", "runs: got 2, memory takes one"),
    ("evaluate {one} --samples 0", "--samples: got 0, takes an int >= 1"),
    ("evaluate {one} --samples -1", "samples: got -1"),
    ("evaluate {images} --samples 0", "samples: got 0"),
    ("evaluate {one} --examples 0", "examples: got 0"),
    ("evaluate {copy} --examples 0", "--examples: got 0"),
    ("evaluate {one} --split tset", "--split: got 'tset', takes one of 'train', 'valid'"),
    ("train lstm --data text:{a} --preset zaremba-smal", "did you mean 'zaremba-small'"),
    ("train rnn --preset zaremba-small", "got 'zaremba-small' for rnn, it is one of lstm"),
    ("train mlp_vae --preset gal-large", "got 'gal-large' for mlp_vae, it is one of"),
    (
        "train lstm --data text:{short} --batch-size 4",
        "tokens: got 43, takes 84 or more for batch_size 4 x length",
    ),
    ("train lstm --data text:{empty}", "empty.txt: found an empty file, expected text"),
    ("train lstm --data text:{latin}", "latin.txt: offset 12: found e9, expected UTF-8"),
    ("train lstm --data text:{none}", "none.txt: No such file or directory"),
    ("train lstm --data digits", "data: got digits, lstm takes text or copy"),
    ("train lstm --data adding:9", "data: got adding:9, lstm takes text or copy"),
    ("train rnn --data digits", "data: got digits, rnn takes text, copy or adding"),
    ("train mlp_vae --data copy:5", "data: got copy:5, mlp_vae takes images"),
    ("train lstm --data copy:5 --set vocab_size=11", "--set vocab_size: got 11, takes 10 for copy"),
    ("train rnn --data copy:5 --set output_dim=9", "--set output_dim: got 9, takes 10 for copy:5"),
    ("train rnn --data copy:5 --set scheme=locked", "scheme: got 'locked'"),
    ("train lstm --data copy:5 --set rate=1", "rate: got 1.0, takes a number in [0, 1)"),
]


@pytest.mark.parametrize(("command", "message"), ERRORS, ids=[command for command, _ in ERRORS])
def test_errors_are_one_line_and_nothing_is_written(run, folder, tmp_path, command, message):
    words = words_of(command, folder)
    if words[0] in ("train", "sample"):
        kind = ".png" if "{images}" in command or "{copy}" in command else ".txt"
        words += ["--out", str(tmp_path / f"out{kind}")]
    before = contents(folder)
    status, out, err = run(*words)
    assert status == 1 and message in err
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in out + err
    assert contents(folder) == before and not any(tmp_path.iterdir())
