"""An interrupted evaluation resumes and gives the same result bit for bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
from helpers.short_runs import KilledError, short_run

from diptych import pairs
from diptych.evaluation import checkpoint
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
IDENTITY = {"samples": 13, "config": {"shape": (2, 3)}}


def bound_for(count):
    """Return the memory bound in MiB for so many samples of SMALL in float64."""
    return count * ARRAYS * pairs.traits(SMALL).memory.widest * 8 / 2**20


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few_digits):
    """Folder with a run of each panel, one epoch long."""
    folder = tmp_path_factory.mktemp("runs")
    for backend in BACKENDS:
        train(short_run(backend=backend, epochs=1), few_digits, folder / backend)
    return folder


@pytest.fixture
def evaluate(run, trained, tmp_path, monkeypatch, few_digits):
    """evaluate("numpy", "--samples", 9) -> (exit status, stdout, stderr), in a copy of the run."""
    monkeypatch.setattr("diptych.data.load", lambda *_: few_digits)
    for backend in BACKENDS:
        shutil.copytree(trained / backend, tmp_path / backend)
    sample_mib = short_run().model_config["input_dim"] * ARRAYS * 4 / 2**20

    def invoke(backend, *options):
        bound = ["--memory-mb", 20 * sample_mib]
        return run("evaluate", tmp_path / backend, "--examples", 4, *bound, *options)

    return invoke


def stop_after(monkeypatch, pieces, stop):
    """Call `stop` during piece number `pieces`."""
    add, progress = Sums.add, []

    def counted_add(sums, *arguments):
        progress.append(sums.done)
        if len(progress) == pieces:
            stop()
        add(sums, *arguments)

    monkeypatch.setattr(Sums, "add", counted_add)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def kill():
    raise KilledError


def result(folder):
    """Return the metrics of an evaluation without its duration."""
    metrics = json.loads((folder / "evaluation.json").read_text())
    return {name: value for name, value in metrics.items() if "seconds" not in name}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [4, 30])
def test_an_evaluation_resumes_after_every_piece(backend, count, tmp_path):
    """A piece is a part of an example, or two examples."""
    panel = make_panel("mlp_vae", SMALL, backend, key=KEY, dtype="float64")
    bound, all_sums = bound_for(count), Sums.empty(5)
    expected = importance_weighted(panel, X, KEY, 13, bound, sums=all_sums)
    progress = []
    importance_weighted(panel, X, KEY, 13, bound, after=lambda s: progress.append(s.done))
    assert len(progress) == {4: 20, 30: 3}[count]
    for done in progress:

        def after(sums, done=done):
            if sums.done == done:
                PartialFile(tmp_path, IDENTITY, 5).save(sums, now=True)
                raise KilledError

        with pytest.raises(KilledError):
            importance_weighted(panel, X, KEY, 13, bound, after=after)
        sums = PartialFile(tmp_path, IDENTITY, 5).begin(resume=True)
        assert sums.done == done
        assert importance_weighted(panel, X, KEY, 13, bound, sums=sums) == expected
        for name in ("log_w", "log_sum", "log_squares"):
            np.testing.assert_array_equal(getattr(sums, name), getattr(all_sums, name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_evaluation_resumes_under_another_bound(backend):
    """Every sample is drawn once, wherever pieces begin and end."""
    panel = make_panel("mlp_vae", SMALL, backend, key=KEY, dtype="float64")
    expected = importance_weighted(panel, X, KEY, 13)
    for pieces in range(1, 20):
        sums = Sums.empty(5)

        def stop(sums, pieces=pieces):
            if sums.done >= 3 * pieces:
                raise KilledError

        with pytest.raises(KilledError):
            importance_weighted(panel, X, KEY, 13, bound_for(3), sums=sums, after=stop)
        resumed = importance_weighted(panel, X, KEY, 13, bound_for(30), sums=sums)
        assert resumed.nll == pytest.approx(expected.nll, rel=1e-13)
        assert resumed.elbo == pytest.approx(expected.elbo, rel=1e-13)
        assert resumed.effective_samples == pytest.approx(expected.effective_samples, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stop", [interrupt, kill])
def test_the_command_resumes_an_evaluation(backend, stop, evaluate, tmp_path, monkeypatch):
    """After Ctrl-C, and after a kill, which loses the sums since the last save."""
    folder, options = tmp_path / backend, ("--samples", 50)
    assert evaluate(backend, *options)[0] == 0
    expected = result(folder)
    (folder / "evaluation.json").unlink()
    assert not list(folder.glob("*nll-*")), "a finished evaluation leaves nothing"
    with monkeypatch.context() as patch:
        stop_after(patch, 5, stop)
        if stop is kill:
            patch.setattr(checkpoint, "EVERY", 0.0)
            with pytest.raises(KilledError):
                evaluate(backend, *options)
        else:
            status, message, _ = evaluate(backend, *options)
            assert status == 130 and "stopped; --resume goes on from" in message
    (file,) = folder.glob("nll-*")
    done = load_arrays(file)[1]["done"]
    # pieces are 20, 20 and 10 samples of an image; Ctrl-C finishes the current one
    assert done == (90 if stop is interrupt else 70)
    status, _, error = evaluate(backend, *options)
    assert status == 1 and "holds a part of this evaluation; --resume it" in error
    status, message, _ = evaluate(backend, "--samples", 49, "--resume")
    assert status == 0 and "starts from the beginning" in message and file.exists()
    with monkeypatch.context() as patch:
        stop_after(patch, (200 - done) // 20 + 4, kill)  # fails if it starts over
        status, message, _ = evaluate(backend, *options, "--resume")
    assert status == 0 and "starts from the beginning" not in message
    assert result(folder) == expected and not file.exists()


def test_the_sums_survive_a_record_that_cannot_be_written(evaluate, tmp_path, monkeypatch):
    """A disk may be full by the time an evaluation ends, whatever was checked before it began."""

    def full(path, **fields):
        raise ValueError(f"{path}: cannot write there (No space left on device)")

    folder, record = tmp_path / "numpy", ("--record", tmp_path / "record.json")
    with monkeypatch.context() as context:
        context.setattr("diptych.runs.results.write", full)
        assert evaluate("numpy", "--samples", 9, *record)[0] == 1
    assert len(list(folder.glob("nll-*"))) == 1
    assert evaluate("numpy", "--samples", 9, "--resume")[0] == 0
    assert not list(folder.glob("nll-*"))


def test_a_file_belongs_to_one_evaluation(tmp_path):
    first, sums = PartialFile(tmp_path, IDENTITY, 5), Sums.empty(5)
    first.save(sums, now=True)
    for identity in ({**IDENTITY, "samples": 12}, {"samples": 13}, {**IDENTITY, "weights": "0"}):
        second = PartialFile(tmp_path, identity, 5)
        assert second.path != first.path and second.begin(resume=True).done == 0
        shutil.copy(first.path, second.path)
        with pytest.raises(ValueError, match=r"of another evaluation, with other \w+"):
            second.begin(resume=True)
    with pytest.raises(ValueError, match=r"log_w has shape \(5,\), takes \(6,\)"):
        PartialFile(tmp_path, IDENTITY, 6).begin(resume=True)
    first.path.write_bytes(first.path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        first.begin(resume=True)
    with pytest.raises(ValueError, match="holds a part"):
        first.begin(resume=False)


def test_the_file_name_depends_on_the_identity(evaluate, tmp_path, monkeypatch):
    """It depends on weights, examples, split and panel, but not on the memory bound."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)

    def file_names(backend, *options):
        with monkeypatch.context() as patch:
            stop_after(patch, 2, interrupt)
            assert evaluate(backend, "--samples", 50, *options)[0] == 130
        names = [path.name for path in (tmp_path / backend).glob("nll-*")]
        for name in names:
            (tmp_path / backend / name).unlink()
        return names

    first = file_names("torch")
    assert file_names("torch") == first == file_names("torch", "--memory-mb", 0.2)
    names = [first, file_names("torch", "--split", "valid")]
    names.append(file_names("torch", "--examples", 3))
    best = tmp_path / "torch" / "best.safetensors"
    shutil.copy(best, tmp_path / "numpy" / best.name)
    names += [file_names("numpy"), file_names("torch", "--samples", 49)]
    arrays, metadata = load_arrays(best)
    save_arrays(best, arrays | {"decoder_logits.bias": arrays["decoder_logits.bias"] + 1}, metadata)
    names.append(file_names("torch"))
    assert len({name for (name,) in names}) == 6


def test_sums_are_saved_every_30_seconds(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    file, sums = PartialFile(tmp_path, IDENTITY, 5), Sums.empty(5)
    for now[0], saved in ((129, False), (131, True)):
        file.save(sums)
        assert file.path.exists() is saved
    file.path.unlink()
    for now[0], saved in ((160, False), (162, True)):
        file.save(sums)
        assert file.path.exists() is saved
    resumed = PartialFile(tmp_path, IDENTITY, 5)
    resumed.begin(resume=True)
    assert resumed.earlier_seconds == 62
    now[0] += 8
    resumed.save(sums, now=True)
    assert load_arrays(resumed.path)[1]["seconds"] == 70


def test_a_digest_depends_on_names_dtypes_shapes_and_values():
    x = np.arange(6.0)
    others = {"b": x}, {"a": x.astype("f4")}, {"a": x.reshape(2, 3)}, {"a": x + 1}, {"a": x, "b": x}
    assert len({digest_of(arrays) for arrays in ({"a": x}, *others)}) == 6
    assert digest_of({"a": x.copy()}) == digest_of({"a": x})


@pytest.mark.parametrize("name", ["copy:3", "text"])
def test_only_evaluations_of_images_can_be_resumed(name, run, tmp_path):
    if name == "text":
        (tmp_path / "words").write_text("one two three " * 60)
        name = f"text:{tmp_path / 'words'}"
    out = tmp_path / "run"
    few = ["--epochs", 1, "--set", "hidden_dim=3", "--batch-size", 2]
    assert run("train", "rnn", "--data", name, *few, "--out", out)[0] == 0
    status, _, error = run("evaluate", out, "--resume")
    assert status == 1 and "resume: got a run on" in error


DAMAGES = {
    "a negative count": (lambda a, m: m.update(done=-1), "done: got -1"),
    "more than all samples": (lambda a, m: m.update(done=66), "done: got 66, takes .* up to 65"),
    "a count that is a text": (lambda a, m: m.update(done="3"), "done: got '3'"),
    "no count": (lambda a, m: m.pop("done"), "damaged"),
    "no duration": (lambda a, m: m.pop("seconds"), "damaged"),
    "a NaN duration": (lambda a, m: m.update(seconds=math.nan), "seconds: got nan"),
    "an identity that is a list": (lambda a, m: m.update(identity=[1]), "damaged"),
    "a NaN sum": (lambda a, m: a["log_w"].fill(math.nan), "log_w: damaged"),
    "sums in single precision": (
        lambda a, m: a.update(log_sum=a["log_sum"].astype("f4")),
        "log_sum: damaged",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_sums_that_cannot_be_are_one_line_with_their_file(tmp_path, damage):
    """Their digest is right: another program wrote them."""
    file = PartialFile(tmp_path, IDENTITY, 5)
    file.save(Sums.empty(5), now=True)
    arrays, metadata = load_arrays(file.path)
    change, message = DAMAGES[damage]
    change(arrays, metadata)
    save_arrays(file.path, arrays, metadata)
    with pytest.raises(ValueError, match=message) as caught:
        PartialFile(tmp_path, IDENTITY, 5).begin(resume=True)
    assert str(caught.value).startswith(str(file.path)) and "\n" not in str(caught.value)
