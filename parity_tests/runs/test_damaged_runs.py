"""Damage to any file of a run folder is one line that names the file, never another result."""

import json
import os
import shutil

import numpy as np
import pytest
from helpers.short_runs import short_run
from rich.console import Console
from safetensors.numpy import load_file, save_file

from diptych import data
from diptych.commands.evaluate import evaluate_runs
from diptych.commands.open import open_run
from diptych.commands.verify import verify
from diptych.files import load_arrays, save_arrays
from diptych.runs import schema
from diptych.runs.folder import RunFolder
from diptych.tasks import Options
from diptych.training.train import train
from model_specs.common.key import Key
from numpy_ref.nn import random

FILES = ("run.json", "metrics.jsonl", "checkpoint.safetensors", "best.safetensors")


@pytest.fixture(scope="module")
def original(few_digits, tmp_path_factory):
    """A finished run of two epochs, on all digits as `diptych evaluate` reads them."""
    path = tmp_path_factory.mktemp("damaged") / "original"
    train(short_run(backend="numpy", epochs=2, batch_size=500), data.load("digits"), path)
    return path


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def numbers(folder, console):
    """The result of `diptych evaluate`, without its duration."""
    metrics = evaluate_runs([folder.path], Options(console, samples=2, examples=4))
    return {name: value for name, value in metrics.items() if name != "evaluation_seconds"}


def resumed(folder):
    """The weights and the lines of metrics after one more epoch."""
    run = short_run(backend="numpy", epochs=3, batch_size=500)
    outcome = train(run, data.load("digits"), folder.path, resume=True)
    lines = [{k: v for k, v in x.items() if k != "seconds"} for x in outcome.folder.metrics]
    return {n: a.tobytes() for n, a in load_arrays(folder.last_file)[0].items()}, lines


def verified(folder):
    wrong = [claim for claim in verify(folder) if claim.ok is False]
    if wrong:
        raise ValueError(f"{folder.path / wrong[0].file}: {wrong[0].message}")


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_never_another_result(original, folder, name, quiet):
    """`evaluate`, `--resume` and `verify`, for 15 bits of each file."""
    good = (original / name).read_bytes()
    readers = (lambda: numbers(folder, quiet), lambda: resumed(folder), lambda: verified(folder))
    expected = []
    for reader in readers:
        expected.append(reader())
        shutil.rmtree(folder.path)
        shutil.copytree(original, folder.path)
    places = random.uniform(Key(5).fold_in(name), (15, 2), dtype="float64")
    told = 0
    for place, bit in places:
        contents = bytearray(good)
        contents[int(place * len(good))] ^= 1 << int(8 * bit)
        for reader, result in zip(readers, expected, strict=True):
            (folder.path / name).write_bytes(contents)
            try:
                assert reader() == result
            except ValueError as error:
                told += 1
                assert str(folder.path) in str(error) and "\n" not in str(error)
            shutil.rmtree(folder.path)
            shutil.copytree(original, folder.path)
    assert told >= 15


@pytest.fixture
def quiet():
    return Console(quiet=True)


def edited(folder, change):
    settings = folder.settings()
    change(settings)
    folder.settings_file.write_text(json.dumps(settings))


DEEP = "[" * 100_000
CONTENTS = {
    "empty": b"",
    "not UTF-8": b'{"config": "\xff"}',
    "UTF-16": '{"config": {}}'.encode("utf-16"),
    "nested too deeply": DEEP.encode(),
    "an int of 5000 digits": b'{"config": {"epochs": ' + b"9" * 5000 + b"}}",
    "null": b"null",
    "a list": b"[1, 2]",
    "a number": b"3.5",
    "an empty object": b"{}",
    "config is null": b'{"config": null}',
    "config is a text": b'{"config": "mlp_vae"}',
    "a later form": b'{"schema": 99, "config": {}}',
    "a form that is a text": b'{"schema": "2", "config": {}}',
    "ranks are a text": b'{"ranks": "two", "config": {}}',
    "versions are a list": b'{"versions": [1], "config": {}}',
    "a version is a number": b'{"versions": {"diptych": 3}, "config": {}}',
}


@pytest.mark.parametrize("contents", CONTENTS)
@pytest.mark.parametrize("command", ["evaluate", "sample", "verify"])
def test_a_run_json_of_any_contents_is_one_line_with_its_name(folder, run, contents, command):
    folder.settings_file.write_bytes(CONTENTS[contents])
    status, out, error = run(command, folder.path)
    assert status == 1 and "Traceback" not in out + error
    if command == "verify":
        assert "run.json" in out and "WRONG" in out
    else:
        assert error.count("\n") == 1 and str(folder.settings_file) in error


FIELDS = {
    "model_config is null": {"model_config": None},
    "a field of another version": {"model_config": {"nope": 1}},
    "a list for a number": {"model_config": {"hidden_dim": [3]}},
    "a model of another version": {"model": "gan"},
    "a model that is a list": {"model": ["mlp_vae"]},
    "epochs are a text": {"epochs": "3"},
    "epochs are huge": {"epochs": 10**400},
    "a fraction of an epoch": {"epochs": 1.5},
    "lr is a list": {"lr": [0.1]},
    "lr is infinite": {"lr": float("inf")},
    "binarize is a text": {"binarize": "yes"},
    "data are null": {"data": None},
    "seed is a fraction": {"seed": 0.5},
    "an unknown setting": {"warmup": 3},
    "a schedule that is a list": {"schedule": []},
}


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("signed", [True, False])
def test_a_setting_that_cannot_be_is_one_line_with_its_file(folder, run, fields, signed):
    """With a digest that is right, and without any, as older versions wrote the file."""

    def change(settings):
        settings["config"] |= FIELDS[fields]
        if signed:
            settings |= schema.signed(settings)
        else:
            del settings["schema"], settings["digest"]

    edited(folder, change)
    status, _, error = run("evaluate", folder.path)
    assert status == 1 and error.count("\n") == 1 and str(folder.settings_file) in error


def test_an_edit_by_hand_is_told_and_can_be_declared(folder, few_digits):
    """Where and by what a run was computed is not part of the digest."""
    edited(folder, lambda s: s["versions"].update(torch="1.0"))
    edited(folder, lambda s: s["config"].update(device="cuda"))
    folder.config()
    edited(folder, lambda s: s["config"].update(lr=0.5))
    with pytest.raises(ValueError, match=r'run\.json: damaged, or edited.* set "digest" to null'):
        folder.config()
    edited(folder, lambda s: s.update(digest=None))
    assert folder.config().lr == 0.5
    edited(folder, lambda s: s.pop("digest"))
    with pytest.raises(ValueError, match=r"run\.json: damaged, or edited"):
        folder.config()


LINES = {
    "null": "null",
    "an empty object": "{}",
    "a number": "7",
    "a step that is a text": '{"kind": "step", "step": "3"}',
    "an epoch without seconds": '{"kind": "epoch", "step": 3, "valid": {"a": 1}}',
    "an epoch with an empty validation": '{"kind": "epoch", "step": 3, "seconds": 1, '
    '"train": {"a": 1}, "valid": {}}',
    "an epoch without validation": '{"kind": "epoch", "step": 3, "seconds": 1, "train": {"a": 1}}',
    "a term that is a text": '{"kind": "step", "step": 3, "total": "low"}',
    "a NaN": '{"kind": "step", "step": 3, "total": NaN}',
    "nested too deeply": DEEP,
    "an int of 5000 digits": '{"step": ' + "9" * 5000 + "}",
    "other terms": '{"kind": "step", "step": 3, "mse": 1.0}',
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("old", [True, False])
def test_a_line_of_metrics_that_cannot_be_is_one_line_with_its_file(folder, run, line, old):
    """Of a run with digests, and of an older one, whose checkpoint counts no lines."""
    if old:
        folder.checkpoint_file.unlink()
    lines = folder.metrics_file.read_text().splitlines()
    lines[1] = LINES[line]
    folder.metrics_file.write_text("\n".join(lines) + "\n")
    for command in (("evaluate", folder.path), ("curves", folder.path, folder.path)):
        status, _, error = run(*command)
        assert status == 1 and error.count("\n") == 1 and str(folder.metrics_file) in error


@pytest.mark.parametrize("name", FILES[2:])
def test_a_tensor_file_that_lost_its_digest_is_noticed(folder, name):
    """As after a rewrite by another program; the run says that there was one."""
    file = folder.path / name
    save_file(load_file(file), file)
    with pytest.raises(ValueError, match=rf"{name}: .*no BLAKE2b digest"):
        open_run(folder.path) if name.startswith("best") else resumed(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_a_pipe_or_a_broken_link_in_place_of_a_file_is_named(folder, name, run):
    """And none of them is waited for."""
    file = folder.path / name
    file.unlink()
    for make in (file.mkdir, lambda: os.mkfifo(file)):
        make()
        status, out, error = run("verify", folder.path)
        assert status == 1 and name in out + error and "Traceback" not in out + error
        file.rmdir() if file.is_dir() else file.unlink()


# verify


def test_verify_finds_nothing_wrong_in_a_good_run(folder, run, tmp_path):
    before = {file: file.read_bytes() for file in folder.path.iterdir()}
    status, out, _ = run("verify", folder.path, folder.path, "--json", tmp_path / "verify.json")
    assert status == 0 and "WRONG" not in out and out.count("the run is finished") == 2
    (first, second) = json.loads((tmp_path / "verify.json").read_text())["runs"]
    assert first == second and first["ok"] is True
    names = {(row["file"], row["claim"]) for row in first["claims"] if row["ok"]}
    assert {(name, "digest, finite") for name in FILES[2:]} <= names
    assert ("data", "test images") in names and ("metrics.jsonl", "lines") in names
    assert {file: file.read_bytes() for file in folder.path.iterdir()} == before


def test_verify_says_what_it_could_not_check(folder, run):
    """The data of a run may be on another machine."""
    edited(folder, lambda s: s["config"].update(data="mnist") or s.update(schema.signed(s)))
    status, out, _ = run("verify", folder.path)
    assert (
        status == 0
        and "not checked" in out
        and "the data of the run are not there" in " ".join(out.split())
    )


def test_verify_tells_other_data_and_non_finite_weights(folder, run):
    edited(
        folder, lambda s: s["data_digests"].update({"test images": "0"}) or s.update(digest=None)
    )
    arrays, metadata = load_arrays(folder.best_file)
    first = next(iter(arrays))
    arrays[first].flat[0] = np.nan
    save_arrays(folder.best_file, arrays, metadata)
    status, out, _ = run("verify", folder.path)
    assert status == 1 and "edited by hand" in out
    assert f"NaN or inf in {first}" in out and "not those of the run" in out
    assert "the data of the run are not there" in " ".join(out.split()), "position on other data"
