"""Run folders that diptych 0.1.0 wrote are evaluated and resumed, or refused by one line.

settings_of_0_1_0.json has the run.json of one run of each model, as that version wrote it.
"""

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.short_runs import KillAt, KilledError, arrays_of, assert_same_arrays

import diptych
from diptych import data
from diptych.commands.open import open_run
from diptych.files import load_arrays, save_arrays
from diptych.runs.data_identity import data_digest
from diptych.runs.folder import RunFolder
from diptych.runs.old_versions import UNVERSIONED, upgraded, upgraded_position, version_of
from diptych.training.train import train

SETTINGS = json.loads((Path(__file__).parent / "settings_of_0_1_0.json").read_text())
CHANGED = {
    "mlp_vae": {"schedule": "constant-then-decay", "constant_epochs": 1},
    "vlae": {"context_maps": 3},
}
"""Settings that have other names now, as the folders of these models should be read."""
each_model = pytest.mark.parametrize("model", SETTINGS)


def write(folder, settings):
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.settings_file.write_text(json.dumps(settings))


def as_then(folder, settings):
    """Give the folder its run.json and its checkpoint as 0.1.0 wrote them."""
    write(folder, settings)
    arrays, metadata = load_arrays(folder.checkpoint_file)
    position = metadata["position"]
    position["seen"], position["count"] = position.pop("examples"), position.pop("units")
    save_arrays(folder.checkpoint_file, arrays, metadata)


@each_model
def test_settings_are_read_under_their_new_names(model, tmp_path):
    folder = RunFolder(tmp_path)
    write(folder, SETTINGS[model])
    assert "diptych" not in SETTINGS[model]["versions"]
    assert version_of(SETTINGS[model]) == UNVERSIONED
    config = folder.config()
    settings = vars(config) | config.model_config
    assert settings.items() >= CHANGED.get(model, {}).items()
    old = SETTINGS[model]["config"]
    same = {k: v for k, v in old.items() if k not in ("model_config", "schedule", "hold_epochs")}
    assert vars(config).items() >= same.items()
    assert not {"handed_over", "kernel"} & set(config.model_config)


@each_model
def test_current_settings_stay(model):
    new = upgraded(SETTINGS[model]["config"])
    assert upgraded(new) == new
    position = {"step": 3, "examples": 2, "units": 9}
    assert upgraded_position({"step": 3, "seen": 2, "count": 9}) == position
    assert upgraded_position(position) == position


@each_model
def test_an_old_folder_is_evaluated_and_resumed(model, tmp_path, monkeypatch, run):
    """Killed under the old version, it ends in the weights of an uninterrupted run."""
    writer = RunFolder(tmp_path / "settings")
    write(writer, SETTINGS[model])
    config = writer.config()
    dataset = data.load(config.data)
    monkeypatch.setattr("diptych.tasks.memory.STEPS_PER_EPOCH", 3)
    if SETTINGS[model]["data_digest"] != data_digest(dataset):
        pytest.skip("the text of topics depends on the version of Python")
    whole = train(config, dataset, tmp_path / "whole")
    cut = RunFolder(tmp_path / "cut")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        KillAt(patch, 2)
        train(dataclasses.replace(config, checkpoint_every=1), dataset, cut.path)
    as_then(cut, SETTINGS[model])
    resumed = train(config, dataset, cut.path, resume=True)
    assert resumed.steps == whole.steps > 1
    for ours, theirs in zip(arrays_of(cut), arrays_of(whole.folder), strict=True):
        assert_same_arrays(ours, theirs)
    as_then(cut, SETTINGS[model])
    again = train(config, dataset, cut.path, resume=True)
    assert again.already_finished
    _, _, panel = open_run(cut.path, last=True)
    theirs = open_run(tmp_path / "whole", last=True)[2]
    assert_same_arrays(panel.weights(), theirs.weights())
    assert run("evaluate", cut.path, "--examples", 4, "--split", "valid")[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup": 3}, "config: got the unknown field 'warmup' of a run"),
        ({"model_config": {"depth": 3}}, "got the unknown field 'depth' of "),
        ({"model_config": {"hidden_dim": -3}}, "hidden_dim: got -3"),
        ({"model": "gan"}, "model: got 'gan'"),
    ],
)
@pytest.mark.parametrize("version", [None, "9.3.1"])
def test_settings_that_this_version_lacks_are_one_line(change, message, version, tmp_path, run):
    """The line says which version wrote the folder."""
    settings = json.loads(json.dumps(SETTINGS["mlp_vae"]))
    settings["config"] |= change
    if version is not None:
        settings["versions"]["diptych"] = version
    folder = RunFolder(tmp_path / "run")
    write(folder, settings)
    status, _, error = run("evaluate", folder.path)
    assert status == 1 and error.count("\n") == 1 and message in error
    wrote = version or UNVERSIONED
    assert f"written by diptych {wrote}, read by {diptych.__version__}" in error
