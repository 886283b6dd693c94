"""A checkpoint whose contents cannot be those of its run is refused, and named."""

import json
import math
import re

import numpy as np
import pytest
from helpers.short_runs import KillAt, KilledError, short_run
from helpers.small_text_runs import make_corpus, make_run

from diptych import data
from diptych.files import load_arrays, save_arrays
from diptych.runs.folder import RunFolder
from diptych.training.position import Position
from diptych.training.step import NonFiniteError, training_step
from diptych.training.train import train


@pytest.fixture(scope="module")
def killed(few_digits, tmp_path_factory):
    """The arrays and the metadata after step 4, the first of the second epoch, and the folder."""
    path = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 5)
        train(short_run(backend="numpy"), few_digits, path)
    return *load_arrays(path / "checkpoint.safetensors"), RunFolder(path)


def position(**changes):
    def change(arrays, metadata):
        metadata["position"] |= changes

    return change


def array(name, value):
    def change(arrays, metadata):
        arrays[name] = value(arrays[name])

    return change


def _at(value):
    def change(a):
        b = a.copy()
        b.flat[0] = value
        return b

    return change


def without(name):
    def change(arrays, metadata):
        del metadata[name]

    return change


FIRST = "encoder_hidden.weight"
DAMAGES = {
    "a step far after the end": (position(step=10**12), "step: got 1000000000000, takes 0 to 12"),
    "a negative step": (position(step=-5), "step: got -5"),
    "a step that is no int": (position(step=4.0), "step: got 4.0, takes an int"),
    "a step before the optimiser's": (position(step=3, examples=0, sums={}), "step: got 3"),
    "a step after the optimiser's": (position(step=5, examples=64), "the optimiser is at 4"),
    "no examples": (position(examples=0), "examples: got 0, takes 32"),
    "negative seconds": (position(seconds=-1.0), "seconds: got -1.0"),
    "endless seconds": (position(seconds=math.inf), "seconds: got inf"),
    "too few units": (position(units=-4), "units: got -4"),
    "sums that are no numbers": (position(sums={"total": "a"}), "sums: got"),
    "sums of no term": (position(sums={}), "sums: got {}"),
    "a NaN sum": (position(sums={"total": math.nan}), "sums: got"),
    "best_loss is NaN": (position(best_loss="nan"), "best_loss: got nan, takes a finite number"),
    "best_loss is no text": (position(best_loss=1.0), "best_loss: got 1.0"),
    "best_loss is a word": (position(best_loss="good"), "could not convert"),
    "a best epoch to come": (position(best_epoch=1), "best_epoch: got 1, takes 0 to 0"),
    "a field that this version lacks": (position(speed=3), "missing or unknown speed"),
    "metadata without a position": (without("position"), "not a checkpoint"),
    "metadata without a key": (without("key"), "key: got None"),
    "metadata without metrics": (without("metrics"), "metrics: got None"),
    "another key": (lambda a, m: m["key"].update(seed=7), "key: got .*'seed': 7"),
    "a position that is a list": (lambda a, m: m.update(position=[3]), "no position"),
    "lines that are no count": (lambda a, m: m["metrics"].update(lines=-1), "metrics: got"),
    "a float step of the optimiser": (
        array("optimizer.step", lambda a: np.array(4.5)),
        "optimizer.step is float64, takes int64",
    ),
    "a step of the optimiser below 0": (array("optimizer.step", lambda a: a - 9), "takes a count"),
    "integer weights": (
        array(f"model.{FIRST}", lambda a: a.astype("i4")),
        "is int32, takes float32",
    ),
    "double weights": (array(f"model.{FIRST}", lambda a: a.astype("f8")), "is float64, takes"),
    "integer moments": (array(f"optimizer.{FIRST}.exp_avg", lambda a: a.astype("i4")), "int32"),
    "a NaN weight": (array(f"model.{FIRST}", _at(math.nan)), f"NaN or inf in model.{FIRST}"),
    "an infinite moment": (array(f"optimizer.{FIRST}.exp_avg", _at(math.inf)), "NaN or inf"),
    "a negative mean of squares": (
        array(f"optimizer.{FIRST}.exp_avg_sq", _at(-1.0)),
        "has a negative value",
    ),
    "another shape": (array(f"model.{FIRST}", lambda a: a[:-1]), "has shape"),
    "no moments": (lambda a, m: a.pop(f"optimizer.{FIRST}.exp_avg"), "missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_cannot_be_is_refused(killed, few_digits, tmp_path, damage):
    """Its digest is right: another program wrote it, or an error in this one."""
    arrays, metadata, folder = killed
    before, (change, message) = folder.checkpoint_file.read_bytes(), DAMAGES[damage]
    arrays, metadata = dict(arrays), json.loads(json.dumps(metadata))
    change(arrays, metadata)
    try:
        save_arrays(folder.checkpoint_file, arrays, metadata)
        with pytest.raises(ValueError, match=message) as caught:
            train(short_run(backend="numpy"), few_digits, folder.path, resume=True)
    finally:
        folder.checkpoint_file.write_bytes(before)
    text = str(caught.value)
    assert text.startswith(str(folder.checkpoint_file)) and "\n" not in text


@pytest.mark.parametrize(
    ("optimizer", "buffer"), [("adamax", "exp_inf"), ("rmsprop", "square_avg")]
)
def test_a_negative_buffer_of_squares_is_refused(few_digits, tmp_path, optimizer, buffer):
    options = {"backend": "numpy", "optimizer": optimizer}
    run = short_run(epochs=1, **options)
    file = train(run, few_digits, tmp_path / "run").folder.checkpoint_file
    arrays, metadata = load_arrays(file)
    array(f"optimizer.{FIRST}.{buffer}", _at(-1.0))(arrays, metadata)
    save_arrays(file, arrays, metadata)
    with pytest.raises(ValueError, match=f"{buffer} has a negative value"):
        train(short_run(epochs=2, **options), few_digits, tmp_path / "run", resume=True)


def test_a_text_run_needs_the_state_that_it_carries(tmp_path):
    """Without it the text would go on from the zero state; of another batch size it is refused."""
    corpus = make_corpus()
    run = make_run("lstm", corpus, epochs=1)
    file = train(run, corpus, tmp_path / "run").folder.checkpoint_file
    arrays, metadata = load_arrays(file)
    for change, message in (
        (lambda a: None, "state: got 0 arrays"),
        (lambda a: a[:, :-1].copy(), "takes a batch of"),
    ):
        changed = {
            n: change(a) if n.startswith("state.") else a
            for n, a in arrays.items()
            if not n.startswith("state.") or change(a) is not None
        }
        save_arrays(file, changed, metadata)
        with pytest.raises(ValueError, match=message) as caught:
            train(run, corpus, tmp_path / "run", resume=True)
        assert str(caught.value).startswith(str(file))


def test_every_position_of_a_whole_run_is_accepted(few_digits, tmp_path, monkeypatch):
    checked = []
    original = Position.check
    monkeypatch.setattr(
        Position, "check", lambda *arguments: (checked.append(1), original(*arguments))
    )
    run = short_run(backend="numpy", epochs=2, checkpoint_every=1)
    for steps in range(1, 6):
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            KillAt(patch, steps + 1)
            train(run, few_digits, tmp_path / "run", resume=True)
    assert train(run, few_digits, tmp_path / "run", resume=True).steps == 6
    assert len(checked) == 5


# Metrics


def cut_lines(data, part):
    return data[: int(len(data) * part)]


@pytest.mark.parametrize("part", [k / 10 for k in range(10)])
def test_metrics_that_were_cut_are_told(few_digits, tmp_path, run, part):
    """On --resume, and in evaluate and curves, whose numbers come from these lines."""
    folder = train(short_run(backend="numpy", epochs=2), few_digits, tmp_path / "run").folder
    whole = folder.metrics_file.read_bytes()
    folder.metrics_file.write_bytes(cut_lines(whole, part))
    longer = short_run(backend="numpy", epochs=3)
    with pytest.raises(ValueError, match=r"lines are lost: it has [0-7] of the 8") as caught:
        train(longer, few_digits, folder.path, resume=True)
    assert str(caught.value).startswith(str(folder.metrics_file))
    assert folder.metrics_file.read_bytes() == cut_lines(whole, part)
    for reader in (folder.history, folder.check_metrics):
        with pytest.raises(ValueError, match=re.escape(str(folder.metrics_file))):
            reader()
    folder.metrics_file.write_bytes(whole)
    assert train(longer, few_digits, folder.path, resume=True).steps == 9


def test_a_digit_that_changed_in_the_metrics_is_told(few_digits, tmp_path):
    folder = train(short_run(backend="numpy", epochs=1), few_digits, tmp_path / "run").folder
    text = folder.metrics_file.read_text()
    digit = text.index('"total": ') + len('"total": ')
    folder.metrics_file.write_text(f"{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: damaged: its first 4 lines"):
        folder.history()


def test_lines_after_the_checkpoint_are_dropped(few_digits, tmp_path, monkeypatch):
    """A killed run logged them, perhaps in part; the steps are taken again."""
    run = short_run(backend="numpy", epochs=2, checkpoint_every=2)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 6)
        train(run, few_digits, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    counted = folder.counted().lines
    with folder.metrics_file.open("a") as file:
        file.write('{"kind": "step", "st')
    assert len(folder.history().steps) > counted - 1
    outcome = train(run, few_digits, tmp_path / "run", resume=True)
    whole = train(run, few_digits, tmp_path / "whole")
    counts = [len(o.folder.history().steps) for o in (outcome, whole)]
    assert counts == [6, 6]


def test_a_finished_run_without_its_checkpoint_is_not_begun_anew(few_digits, tmp_path):
    """It would drop all metrics."""
    folder = train(short_run(backend="numpy", epochs=1), few_digits, tmp_path / "run").folder
    folder.checkpoint_file.unlink()
    lines = folder.metrics_file.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: no such file, though"):
        train(short_run(backend="numpy", epochs=2), few_digits, tmp_path / "run", resume=True)
    assert folder.metrics_file.read_bytes() == lines


def test_a_run_that_stopped_at_nan_says_so(few_digits, tmp_path, monkeypatch, run):
    """Its folder has no weights, and evaluate and sample tell why."""
    original = "diptych.training.trainer.training_step"

    def broken(panel, *arguments):
        for parameter in panel.model.parameters():
            parameter.data[...] = math.nan
        return training_step(panel, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(original, broken)
        with pytest.raises(ValueError, match="loss term total is nan"):
            train(short_run(backend="numpy"), few_digits, tmp_path / "run")
    for command in ("evaluate", "sample"):
        status, _, error = run(command, tmp_path / "run")
        assert status == 1 and error.count("\n") == 1
        assert "this run stopped: step 0: loss term total is nan" in error
    assert train(short_run(backend="numpy"), few_digits, tmp_path / "run", resume=True).steps == 12


def test_the_best_weights_of_a_run_that_stopped_are_evaluated_with_a_note(
    few_digits, tmp_path, monkeypatch, run
):
    """The first epoch was good; a user of its weights should know of the end."""
    original = "diptych.training.trainer.training_step"

    def broken(panel, *arguments):
        raise NonFiniteError("loss term total is nan")

    folder = train(short_run(backend="numpy", epochs=1), data.load("digits"), tmp_path / "r").folder
    with monkeypatch.context() as patch:
        patch.setattr(original, broken)
        with pytest.raises(NonFiniteError):
            train(short_run(backend="numpy"), data.load("digits"), folder.path, resume=True)
    status, out, _ = run("evaluate", folder.path, "--samples", 2, "--examples", 4)
    assert status == 0 and "this run stopped: step 41: loss term total is nan" in out


def test_a_run_that_is_not_finished_is_evaluated_with_its_number_of_epochs(
    tmp_path, monkeypatch, run
):
    """Killed in its second epoch, it has weights that look like any others."""
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 50)
        train(short_run(backend="numpy"), data.load("digits"), tmp_path / "r")
    status, out, _ = run("evaluate", tmp_path / "r", "--samples", 2, "--examples", 4)
    assert status == 0 and "this run is not finished: it has 1 of 4 epochs" in out
