"""The values that an argument has where the caller gives none, as literals."""

from __future__ import annotations

import dataclasses
import inspect
import os
import stat

import numpy as np
import pytest
import torch
from helpers.short_runs import short_run
from helpers.small_text_runs import make_corpus, make_panel, make_run

import numpy_ref.nn.optim
from diptych import files, pairs, weights
from diptych.evaluation.elbo import elbo_terms, reconstruction_error
from diptych.evaluation.importance import importance_weighted
from diptych.panels import make_panel as build_panel
from diptych.panels.engine import Engine
from diptych.panels.ranks import Ranks
from diptych.runs import schedules
from diptych.runs.config import RunConfig
from diptych.tasks.base import Options
from diptych.tasks.language import average_nll, continue_text
from diptych.training import presets
from diptych.training.step import training_step
from diptych.training.train import train
from model_specs.common.key import Key
from model_specs.recurrent.dropout import Masks

RECURRENT = {"num_layers": 1, "scheme": "none", "rate": 0.0, "recurrent_rate": None}
FIELDS = {
    "mlp_vae": {
        "input_dim": 784, "hidden_dim": 400, "latent_dim": 20, "activation": "relu",
        "posterior": "logvar", "estimator": "analytic", "samples": 1, "beta": 1.0,
        "likelihood": "bernoulli", "gaussian_std": 1.0, "min_logvar": -9.0, "reduction": "mean",
        "init": "normal",
    },
    "conv_vae": {
        "latent_dim": 128, "base_channels": 64, "image_size": 64, "in_channels": 3,
        "height": None, "width": None, "out_activation": "sigmoid", "recon_type": "mse",
        "beta": 1.0, "gaussian_std": 1.0, "min_logvar": -9.0, "components": 10,
        "reduction": "mean", "init": "torch",
    },
    "vlae": {
        "height": 28, "width": 28, "channels": 1, "likelihood": "bernoulli", "components": 10,
        "maps": 16, "strides": 3, "latent_maps": 0, "hidden_dim": 450, "latent_dim": 64,
        "latent": "af_prior", "flow_steps": 4, "flow_hidden_dim": 640, "flow_hidden_layers": 3,
        "flow_mean_only": True, "context_maps": 4, "position_maps": 0,
        "context": "raster", "window_width": 3, "window_rows": 1, "context_channels": "all",
        "decoder_maps": 12, "decoder_blocks": 4, "masked_layers": 6, "tied": True,
        "free_bits": 0.01, "free_bits_of": "total",
    },
    "rnn": RECURRENT | {
        "hidden_dim": 128, "seq_len": 64, "input_dim": 16, "output_dim": 16,
        "likelihood": "cross_entropy", "weight_std": 0.01, "recurrent_gain": 0.0,
    },
    "lstm": RECURRENT | {
        "hidden_dim": 200, "num_layers": 2, "seq_len": 20, "vocab_size": 10000,
        "embedding_dim": 200, "word_rate": 0.0, "tied": False, "init_scale": 0.1,
        "forget_bias": 0.0,
    },
}  # fmt: skip
RUN = {
    "backend": "torch", "binarize": False, "fit": "train", "dtype": "float32", "device": "cpu",
    "epochs": 10, "batch_size": 128, "optimizer": "adam", "lr": 1e-3, "schedule": "constant",
    "constant_epochs": 5, "decay": 0.5, "weight_decay": 0.0, "polyak": None, "clip": None,
    "seed": 0, "checkpoint_every": 200, "log_every": 50, "patience": None, "pictures": None,
    "amp": "off", "channels_last": False, "compile": False, "sync_batchnorm": False,
}  # fmt: skip
OPTIONS = {
    "split": "test", "samples": None, "examples": None, "memory_mb": 64, "seed": 0,
    "count": None, "mean": None, "reconstruct": False, "latents": False,
    "manifold": False, "interpolate": False, "steps": None, "prompt": None, "temperature": 1.0,
    "out": None, "resume": False, "per_image": None, "folder": None,
}  # fmt: skip
FUNCTIONS = [
    (train, {"resume": False, "console": None, "ranks": Ranks(), "resident": None}),
    (training_step, {"clip": None, "measure_norm": False}),
    (importance_weighted, {"memory_mb": 256, "sums": None, "after": None}),
    (elbo_terms, {"batch_size": 500}),
    (reconstruction_error, {"batch_size": 500, "pixels": np.asarray, "after": None}),
    (average_nll, {"samples": 0, "progress": None}),
    (continue_text, {"temperature": 1.0}),
    (schedules.cosine_lr, {"lr_min": 0.0}),
    (
        build_panel,
        {
            "dtype": "float32", "device": "cpu", "optimizer": "adam", "lr": 1e-3,
            "weight_decay": 0.0, "engine": Engine(), "ranks": Ranks(),
        },
    ),
]  # fmt: skip
METHODS = {
    "mlp_vae": {
        "sample": {"mean": False},
        "draw_noise": {"samples": None, "first": 0},
        "reconstruct": {},
    },
    "conv_vae": {
        "sample": {"mean": True},
        "draw_noise": {"samples": None, "first": 0},
        "reconstruct": {},
        "forward": {"noise": None, "sample_posterior": True},
    },
    "vlae": {
        "sample": {"mean": True, "progress": None},
        "draw_noise": {"samples": None, "first": 0},
        "reconstruct": {"key": Key(0), "mean": False, "progress": None, "first": 0},
    },
    "rnn": {"draw_noise": {"length": None, "first": 0}, "predict": {"noise": Masks()}},
    "lstm": {"draw_noise": {"length": None, "first": 0}, "predict": {"noise": Masks()}},
}


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def field_defaults(config):
    fields = dataclasses.fields(config)
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}


def test_the_fields_of_configs_runs_and_options():
    for name, fields in FIELDS.items():
        assert field_defaults(pairs.get(name).config) == fields
    assert field_defaults(RunConfig) == RUN
    assert field_defaults(Options) == OPTIONS
    assert (Engine(), Ranks()) == (Engine("off", False, False, False), Ranks(0, 1))


@pytest.mark.parametrize(
    ("function", "expected"), FUNCTIONS, ids=lambda v: getattr(v, "__name__", "")
)
def test_the_arguments_of_functions(function, expected):
    assert defaults(function) == expected


@pytest.mark.parametrize("name", METHODS)
def test_the_arguments_of_methods_on_both_panels(name):
    for model in (pairs.get(name).left, pairs.get(name).right):
        for method, expected in METHODS[name].items():
            assert defaults(getattr(model, method)) == expected


@pytest.mark.parametrize("name", pairs.PAIRS)
def test_a_model_is_built_with_key_0_in_float64(name):
    pair = pairs.get(name)
    config = pair.variants[""]
    for make in (pair.left, pair.right):
        model, expected = make(config), make(config, Key(0), dtype="float64")
        other = make(config, Key(1))
        ours, theirs = (weights.to_arrays(m.state_dict()) for m in (model, expected))
        assert ours.keys() == theirs.keys()
        for entry, array in ours.items():
            assert array.dtype == (np.int64 if "num_batches" in entry else np.float64)
            np.testing.assert_array_equal(array, theirs[entry], err_msg=entry)
        others = weights.to_arrays(other.state_dict())
        assert any((array != others[entry]).any() for entry, array in ours.items())
        assert model.training


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adam", "Adamax"])
def test_the_left_optimisers_have_torchs_defaults(kind):
    ours = defaults(getattr(numpy_ref.nn.optim, kind))
    theirs = defaults(getattr(torch.optim, kind))
    assert ours and ours == {name: theirs[name] for name in ours}
    if kind == "Adamax":  # passes the rest on to Adam
        adam = defaults(numpy_ref.nn.optim.Adam)
        assert {n: adam[n] for n in ("betas", "eps", "weight_decay")} == {
            n: theirs[n] for n in ("betas", "eps", "weight_decay")
        }


def test_a_run_is_not_resumed_unless_asked(few_digits, tmp_path):
    run = short_run(epochs=1)
    train(run, few_digits, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match="run"):
        train(run, few_digits, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert train(run, few_digits, tmp_path / "run", resume=True).already_finished


def test_text_is_continued_at_temperature_1():
    corpus = make_corpus()
    panel = make_panel(make_run("lstm", corpus))
    prompt = corpus.train[:3]
    ids = continue_text(panel, prompt, 30, Key(1))
    np.testing.assert_array_equal(ids, continue_text(panel, prompt, 30, Key(1), 1.0))
    assert (ids != continue_text(panel, prompt, 30, Key(1), 0.5)).any()


def test_a_preset_is_no_default():
    assert presets.default_data("mlp_vae", None) == "digits"
    assert presets.default_data("lstm", None) == "topics"


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_leaves(tmp_path, umask):
    """A private folder of a shared machine stays private: 600 under the umask 077."""
    before = os.umask(umask)
    try:
        files.write_json(tmp_path / "a.json", {"a": 1})
        files.save_arrays(tmp_path / "a.safetensors", {"a": np.ones(2)})
        files.write_atomically(tmp_path / "a", b"a")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("a.json", "a.safetensors", "a"), 0o666 & ~umask)
