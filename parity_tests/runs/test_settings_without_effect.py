"""A setting of a run that has no effect is refused, and every accepted one has an effect."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.short_runs import short_run, without_times
from helpers.small_text_runs import make_corpus, make_run

from diptych import data
from diptych.data import Split
from diptych.files import load_arrays
from diptych.panels import OPTIMIZERS
from diptych.runs.config import SCHEDULES, RunConfig
from diptych.runs.old_versions import upgraded
from diptych.tasks import Images, Language, Memory
from diptych.training.presets import settings
from diptych.training.train import Trainer, train

OTHER_VALUES = {
    "backend": ("numpy", "torch"),
    "binarize": (True,),
    "fit": ("train+valid",),
    "dtype": ("float32", "float64"),
    "device": ("cuda",),
    "epochs": (5,),
    "batch_size": (17,),
    "optimizer": OPTIMIZERS,
    "lr": (0.02,),
    "schedule": SCHEDULES,
    "constant_epochs": (3,),
    "decay": (0.25, 1.0),
    "weight_decay": (0.1,),
    "polyak": (0.9,),
    "clip": (1e-3,),
    "seed": (3,),
    "checkpoint_every": (7,),
    "log_every": (4,),
    "patience": (1, 3),
    "pictures": (2, 9),
    "amp": ("bf16", "fp16"),
    "channels_last": (True,),
    "compile": (True,),
    "sync_batchnorm": (True,),
}
NAMES = {"model", "model_config", "data"}
"""The names of the model and the data: other models and other data have tests of their own."""
OF_KIND = {
    "decaying rate": ("epochs", "schedule", "constant_epochs", "decay"),
    "convolutions": ("binarize", "amp", "channels_last", "compile", "sync_batchnorm"),
    "text": ("binarize", "fit", "amp", "channels_last", "patience", "pictures", "sync_batchnorm"),
    "memory task": ("binarize", "fit", "channels_last", "patience", "pictures", "log_every"),
}
"""The settings that may depend on the kind of run; the others act on all kinds alike."""
DECAY = {"schedule": "constant-then-decay", "constant_epochs": 2, "decay": 0.5}
CORPUS = make_corpus(valid=20, test=20)
CONV = {"base_channels": 1, "latent_dim": 2}


def small_images(name):
    """The first 70 images for training, and few to validate on."""
    images = data.load(name)
    train, valid = images.train, images.valid
    few = {"train": Split(train.x[:70], train.y[:70]), "valid": Split(valid.x[:9], valid.y[:9])}
    return dataclasses.replace(images, **few)


def bases():
    """Yield (title, settings, data)."""
    digits, digits16 = small_images("digits"), small_images("digits16")
    options = {"epochs": 4, "checkpoint_every": 5, "log_every": 1}
    yield "torch", short_run(checkpoint_every=5), digits
    yield "numpy", short_run(checkpoint_every=5, backend="numpy"), digits
    yield "decaying rate", short_run(checkpoint_every=5, **DECAY), digits
    conv = settings("conv_vae", "digits16", digits16, None, CONV, options | {"batch_size": 35})
    yield "convolutions", conv, digits16
    yield "text", make_run("lstm", CORPUS, checkpoint_every=5), CORPUS
    task = data.load("adding:6")
    yield "memory task", make_run("rnn", task, {"seq_len": 6}, checkpoint_every=5), task


BASES = {title: (config, dataset) for title, config, dataset in bases()}


@pytest.fixture
def outcome_of(monkeypatch, tmp_path):
    """outcome_of(settings, data): all that a run leaves, but for times."""
    events, count = [], iter(range(10**6))
    monkeypatch.setattr("diptych.training.trainer.LOG_EACH", 1)
    monkeypatch.setattr("diptych.tasks.memory.STEPS_PER_EPOCH", 3)
    monkeypatch.setattr(torch, "compile", lambda loss: events.append("compiled") or loss)
    save = Trainer.save
    monkeypatch.setattr(
        Trainer, "save", lambda self, *arrays: events.append("saved") or save(self, *arrays)
    )
    for kind in (Images, Language, Memory):  # the first epoch is the best, so that patience acts
        validate = kind.validate

        def worse(task, panel, validate=validate):
            terms = validate(task, panel)
            worst = {"worse": float(panel.optimizer_state()["step"])}
            return worst | terms

        monkeypatch.setattr(kind, "validate", worse)

    def run(config, dataset):
        events.clear()
        outcome = train(config, dataset, tmp_path / str(next(count)))
        folder = outcome.folder
        layouts = [
            getattr(p, "is_contiguous", lambda **_: None)(memory_format=torch.channels_last)
            for p in outcome.panel.model.parameters()
            if getattr(p, "ndim", 0) == 4
        ]
        return {
            "metrics": without_times(folder.metrics),
            "weights": load_arrays(folder.last_file)[0],
            "best": load_arrays(folder.best_file)[0] if folder.best_file.exists() else {},
            "files": sorted(str(f.relative_to(folder.path)) for f in folder.path.rglob("*.png")),
            "events": [*events],
            "layouts": layouts,
        }

    return run


def is_same(left, right):
    for name in ("weights", "best"):
        a, b = left[name], right[name]
        same = a.keys() == b.keys() and all(
            a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n]) for n in a
        )
        if not same:
            return False
    return all(left[n] == right[n] for n in ("metrics", "files", "events", "layouts"))


def test_every_setting_has_another_value_here():
    names = {field.name for field in dataclasses.fields(RunConfig)}
    assert names - NAMES == OTHER_VALUES.keys()


@pytest.mark.parametrize("title", BASES)
def test_another_value_of_any_setting_changes_the_run_or_is_refused(title, outcome_of):
    config, dataset = BASES[title]
    before, without_effect = outcome_of(config, dataset), []
    assert is_same(before, outcome_of(config, dataset))
    for name in OF_KIND.get(title, OTHER_VALUES):
        for value in OTHER_VALUES[name]:
            if value == getattr(config, name):
                continue
            # after the 5 constant epochs of the default it acts once the run goes on
            more = {"constant_epochs": 2} if value == "constant-then-decay" else {}
            try:
                changed = dataclasses.replace(config, **{name: value}, **more)
                after = outcome_of(changed, dataset)
            except ValueError:
                continue
            if is_same(before, after):
                without_effect.append((name, value))
    assert without_effect == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"decay": 0.1},
            "decay: got 0.1 with schedule 'constant', takes 0.5; it has an effect with",
        ),
        ({"constant_epochs": 1}, "constant_epochs: got 1 with schedule 'constant', takes 5"),
        ({"schedule": "cosine", "epochs": 1}, "schedule: got 'cosine' with epochs 1, takes"),
        (
            {"schedule": "constant-then-decay", "decay": 1.0},
            "schedule: got 'constant-then-decay' with decay 1, takes 'constant'",
        ),
        ({"backend": "numpy", "amp": "bf16"}, "amp: got 'bf16' with backend 'numpy', takes 'off'"),
        ({"backend": "numpy", "compile": True}, "compile: got True with backend 'numpy', takes"),
        ({"backend": "numpy", "device": "cuda"}, "device: got 'cuda' with backend 'numpy', takes"),
    ],
)
def test_settings_without_effect_are_refused_at_once(changes, message):
    with pytest.raises(ValueError) as error:
        short_run(**changes)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("title", "changes", "message"),
    [
        ("torch", {"patience": 3}, "patience: got 3 with epochs 4, takes at most 2"),
        ("torch", {"pictures": 5}, "pictures: got 5 with epochs 4, takes at most 4"),
        ("text", {"binarize": True}, "binarize: got True with data 'toy', takes grey images"),
        ("convolutions", {"sync_batchnorm": True}, "sync_batchnorm: got True with 1 process"),
    ],
)
def test_settings_without_effect_on_a_new_run_leave_no_folder(title, changes, message, tmp_path):
    config, dataset = BASES[title]
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(config, **changes), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: dataclasses.replace(d, dynamic=True), "which are drawn at every step anyway"),
        (
            lambda d: dataclasses.replace(d, train=Split(np.round(d.train.x), d.train.y)),
            "whose pixels are 0 or 1 already",
        ),
    ],
)
def test_binarize_is_refused_for_images_that_are_binary_without_it(change, message, tmp_path):
    with pytest.raises(ValueError, match=f"binarize: got True with data 'digits', {message}"):
        train(short_run(binarize=True), change(small_images("digits")), tmp_path / "run")


def test_a_seq_len_that_a_memory_task_does_not_read_is_refused(tmp_path):
    _, task = BASES["memory task"]
    with pytest.raises(ValueError, match=r"seq_len: got 9 with data 'adding:6'.* takes 6"):
        train(make_run("rnn", task, {"seq_len": 9}), task, tmp_path / "run")


def test_settings_of_older_versions_that_had_no_effect_are_read_as_defaults():
    """They were accepted then; the run is the same without them."""
    config = dataclasses.asdict(short_run())
    old = config | {"decay": 0.1, "constant_epochs": 2}
    old["model_config"] = config["model_config"] | {"gaussian_std": 0.3}
    assert RunConfig(**upgraded(old)) == short_run()


@pytest.mark.parametrize(
    "options",
    [
        ("--schedule", "constant-then-decay", "--epochs", 3),
        ("--schedule", "constant-then-decay", "--constant-epochs", 7, "--epochs", 7),
    ],
)
def test_a_decay_that_begins_after_the_last_epoch_is_refused(run, tmp_path, options):
    status, _, error = run("train", "mlp_vae", *options, "--out", tmp_path / "run")
    assert status == 1 and "constant-epochs: got" in error and "takes less than epochs" in error


def test_a_folder_of_data_that_is_not_read_is_refused(run, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("one two three\n" * 90)
    for name, reason in (("digits", "needs no files"), (f"text:{text}", "names its own place")):
        model = "mlp_vae" if name == "digits" else "lstm"
        words = ("train", model, "--data", name, "--data-root", tmp_path, "--out", tmp_path / "r")
        status, _, error = run(*words)
        assert status == 1 and "--data-root: got" in error and reason in error
    status, _, error = run("lab", "bound", "--data-root", tmp_path, "--out", tmp_path / "lab")
    assert status == 1 and "--data-root: got" in error
