"""An evaluation that is stopped goes on where it was, to the same numbers bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
from helpers.run_folders import KilledError, config

from diptych import pairs
from diptych.evaluation import checkpoint as partial
from diptych.evaluation.checkpoint import PartialFile, digest_of
from diptych.evaluation.importance import Sums, importance_weighted
from diptych.evaluation.memory import ARRAYS
from diptych.files import load_arrays, save_arrays
from diptych.panels import BACKENDS, make_panel
from diptych.training.train import train
from model_specs.common.key import Key
from model_specs.mlp_vae import MLPVAEConfig
from numpy_ref.nn import random

KEY = Key(5)
SMALL = MLPVAEConfig(input_dim=6, hidden_dim=7, latent_dim=3, init="torch")
X = np.round(random.uniform(KEY, (5, 6)))
WHO = {"samples": 13, "config": {"shape": (2, 3)}}


def rows(count):
    """The bound in MiB that just holds so many samples of SMALL in float64."""
    return count * ARRAYS * pairs.traits(SMALL).memory.widest * 8 / 2**20


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few_digits):
    """A run of each panel, one epoch long."""
    folder = tmp_path_factory.mktemp("runs")
    for backend in BACKENDS:
        train(config(backend=backend, epochs=1), few_digits, folder / backend)
    return folder


@pytest.fixture
def evaluate(run, trained, tmp_path, monkeypatch, few_digits):
    """evaluate("numpy", "--samples", 9) -> (exit status, stdout, stderr), in a copy of the run."""
    monkeypatch.setattr("diptych.data.load", lambda *_: few_digits)
    for backend in BACKENDS:
        shutil.copytree(trained / backend, tmp_path / backend)
    one = config().model_config["input_dim"] * ARRAYS * 4 / 2**20

    def invoke(backend, *options):
        given = ["--memory-mb", 20 * one, *options]
        return run("evaluate", tmp_path / backend, "--examples", 4, *given)

    return invoke


def stop_after(monkeypatch, pieces, how):
    """Let something happen in the middle of piece number `pieces`."""
    add, seen = Sums.add, []

    def counted(sums, *given):
        seen.append(sums.done)
        if len(seen) == pieces:
            how()
        add(sums, *given)

    monkeypatch.setattr(Sums, "add", counted)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def kill():
    raise KilledError


def result(folder):
    metrics = json.loads((folder / "evaluation.json").read_text())
    return {name: value for name, value in metrics.items() if "seconds" not in name}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fit", [4, 30])
def test_sums_go_on_from_every_piece(backend, fit, tmp_path):
    """Parts of an example, and two examples at a time."""
    panel = make_panel("mlp_vae", SMALL, backend, key=KEY, dtype="float64")
    whole = Sums.none(5)
    want = importance_weighted(panel, X, KEY, 13, rows(fit), sums=whole)
    dones = []
    importance_weighted(panel, X, KEY, 13, rows(fit), after=lambda s: dones.append(s.done))
    assert len(dones) == {4: 20, 30: 3}[fit]
    for at in dones:

        def after(sums, at=at):
            if sums.done == at:
                PartialFile(tmp_path, WHO, 5).save(sums, now=True)
                raise KilledError

        with pytest.raises(KilledError):
            importance_weighted(panel, X, KEY, 13, rows(fit), after=after)
        sums = PartialFile(tmp_path, WHO, 5).begin(resume=True)
        assert sums.done == at
        assert importance_weighted(panel, X, KEY, 13, rows(fit), sums=sums) == want
        for name in ("log_w", "log_sum", "log_squares"):
            np.testing.assert_array_equal(getattr(sums, name), getattr(whole, name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_bound_goes_on_from_the_same_sums(backend):
    """Every draw is made once, wherever the pieces begin and end."""
    panel = make_panel("mlp_vae", SMALL, backend, key=KEY, dtype="float64")
    want = importance_weighted(panel, X, KEY, 13)
    for at in range(1, 20):
        sums = Sums.none(5)

        def stop(sums, at=at):
            if sums.done >= 3 * at:
                raise KilledError

        with pytest.raises(KilledError):
            importance_weighted(panel, X, KEY, 13, rows(3), sums=sums, after=stop)
        got = importance_weighted(panel, X, KEY, 13, rows(30), sums=sums)
        assert got.nll == pytest.approx(want.nll, rel=1e-13)
        assert got.elbo == pytest.approx(want.elbo, rel=1e-13)
        assert got.effective_samples == pytest.approx(want.effective_samples, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", [interrupt, kill])
def test_a_stopped_evaluation_is_resumed(backend, how, evaluate, tmp_path, monkeypatch):
    """By the command line, after Ctrl-C and after a kill that leaves what was saved before."""
    folder, options = tmp_path / backend, ("--samples", 50)
    assert evaluate(backend, *options)[0] == 0
    want = result(folder)
    (folder / "evaluation.json").unlink()
    assert not list(folder.glob("*nll-*")), "a finished evaluation leaves nothing"
    with monkeypatch.context() as patch:
        stop_after(patch, 5, how)
        if how is kill:
            patch.setattr(partial, "EVERY", 0.0)
            with pytest.raises(KilledError):
                evaluate(backend, *options)
        else:
            status, message, _ = evaluate(backend, *options)
            assert status == 130 and "stopped; --resume goes on from" in message
    (kept,) = folder.glob("nll-*")
    done = load_arrays(kept)[1]["done"]
    assert done == (90 if how is interrupt else 70)  # 20, 20, 10 an image: the piece was finished
    status, _, error = evaluate(backend, *options)
    assert status == 1 and "holds a part of this evaluation; --resume it" in error
    status, message, _ = evaluate(backend, "--samples", 49, "--resume")
    assert status == 0 and "begins anew" in message and kept.exists()
    with monkeypatch.context() as patch:
        stop_after(patch, (200 - done) // 20 + 4, kill)  # it does not begin at the beginning
        status, message, _ = evaluate(backend, *options, "--resume")
    assert status == 0 and "begins anew" not in message
    assert result(folder) == want and not kept.exists()


def test_what_was_found_outlives_a_record_that_cannot_be_written(evaluate, tmp_path, run):
    folder = tmp_path / "numpy"
    (tmp_path / "file").touch()
    record = ("--record", tmp_path / "file" / "record.json")
    assert evaluate("numpy", "--samples", 9, *record)[0] == 1
    assert len(list(folder.glob("nll-*"))) == 1
    assert evaluate("numpy", "--samples", 9, "--resume")[0] == 0
    assert not list(folder.glob("nll-*"))


def test_a_file_is_of_one_evaluation_alone(tmp_path):
    ours, sums = PartialFile(tmp_path, WHO, 5), Sums.none(5)
    ours.save(sums, now=True)
    for other in ({**WHO, "samples": 12}, {"samples": 13}, {**WHO, "weights": "0"}):
        theirs = PartialFile(tmp_path, other, 5)
        assert theirs.path != ours.path and theirs.begin(resume=True).done == 0
        shutil.copy(ours.path, theirs.path)
        with pytest.raises(ValueError, match=r"of another evaluation, with other \w+"):
            theirs.begin(resume=True)
    with pytest.raises(ValueError, match=r"log_w has shape \(5,\), takes \(6,\)"):
        PartialFile(tmp_path, WHO, 6).begin(resume=True)
    ours.path.write_bytes(ours.path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        ours.begin(resume=True)
    with pytest.raises(ValueError, match="holds a part"):
        ours.begin(resume=False)


def test_all_that_decides_a_number_decides_the_name(evaluate, tmp_path, monkeypatch):
    """Weights, examples, split and panel; but not the bound."""
    monkeypatch.setattr(partial, "EVERY", 0.0)

    def names(backend, *options):
        with monkeypatch.context() as patch:
            stop_after(patch, 2, interrupt)
            assert evaluate(backend, "--samples", 50, *options)[0] == 130
        kept = [path.name for path in (tmp_path / backend).glob("nll-*")]
        for name in kept:
            (tmp_path / backend / name).unlink()
        return kept

    first = names("torch")
    assert names("torch") == first == names("torch", "--memory-mb", 0.2)
    seen = [first, names("torch", "--split", "valid"), names("torch", "--examples", 3)]
    best = tmp_path / "torch" / "best.safetensors"
    shutil.copy(best, tmp_path / "numpy" / best.name)
    seen += [names("numpy"), names("torch", "--samples", 49)]
    arrays, message = load_arrays(best)
    save_arrays(best, arrays | {"decoder_logits.bias": arrays["decoder_logits.bias"] + 1}, message)
    seen.append(names("torch"))
    assert len({name for (name,) in seen}) == 6


def test_it_is_saved_every_so_often(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(partial.time, "monotonic", lambda: now[0])
    file, sums = PartialFile(tmp_path, WHO, 5), Sums.none(5)
    for now[0], there in ((129, False), (131, True)):
        file.save(sums)
        assert file.path.exists() is there
    file.path.unlink()
    for now[0], there in ((160, False), (162, True)):
        file.save(sums)
        assert file.path.exists() is there
    again = PartialFile(tmp_path, WHO, 5)
    again.begin(resume=True)
    assert again.earlier_seconds == 62
    now[0] += 8
    again.save(sums, now=True)
    assert load_arrays(again.path)[1]["seconds"] == 70


def test_a_digest_is_of_names_types_shapes_and_values():
    x = np.arange(6.0)
    others = {"b": x}, {"a": x.astype("f4")}, {"a": x.reshape(2, 3)}, {"a": x + 1}, {"a": x, "b": x}
    assert len({digest_of(arrays) for arrays in ({"a": x}, *others)}) == 6
    assert digest_of({"a": x.copy()}) == digest_of({"a": x})


@pytest.mark.parametrize("name", ["copy:3", "text"])
def test_only_images_can_be_gone_on_with(name, run, tmp_path):
    if name == "text":
        (tmp_path / "words").write_text("one two three " * 60)
        name = f"text:{tmp_path / 'words'}"
    out = tmp_path / "run"
    few = ["--epochs", 1, "--set", "hidden_dim=3", "--batch-size", 2]
    assert run("train", "rnn", "--data", name, *few, "--out", out)[0] == 0
    status, _, error = run("evaluate", out, "--resume")
    assert status == 1 and "resume: got a run on" in error
