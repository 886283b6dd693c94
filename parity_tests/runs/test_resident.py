"""The resident path of training ends in the bits of the ordinary path, whatever the model.

On the CPU it runs in its eager form: the function that a CUDA device captures as a graph.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import small_image_runs
from helpers.short_runs import arrays_of, assert_same_arrays, short_run, without_times
from helpers.small_text_runs import make_corpus, make_run

from diptych import data
from diptych.training.presets import settings
from diptych.training.train import train

VLAE = {"maps": 2, "hidden_dim": 6, "latent_dim": 3, "decoder_maps": 4, "masked_layers": 2}
VLAE |= {"flow_hidden_dim": 8, "flow_steps": 1}
DROPOUT = {"scheme": "variational_recurrent", "rate": 0.4}


def digits_run(**options):
    return short_run(epochs=2, checkpoint_every=30, **options), data.load("digits")


def image_run(shape=(3, 16, 16), **options):
    images = small_image_runs.dataset(shape)
    return small_image_runs.config_for(images, epochs=2, **options), images


def vlae_run(**options):
    images = small_image_runs.dataset((1, 5, 4))
    options |= {"epochs": 2, "binarize": True, "batch_size": 10, "dtype": "float64"}
    return settings("vlae", images.name, images, None, VLAE, options), images


def text_run(cell, fields, **options):
    corpus = make_corpus()
    return make_run(cell, corpus, fields, epochs=2, **options), corpus


def memory_run(cell, name, **fields):
    task = data.load(name)
    options = {"epochs": 1, "batch_size": 3, "dtype": "float64", "log_every": 7}
    return settings(cell, name, task, None, fields | {"hidden_dim": 5}, options), task


RUNS = {
    "mlp_vae": digits_run,
    "mlp_vae, float64, all options": lambda: digits_run(
        dtype="float64", optimizer="adamax", polyak=0.9, clip=0.5, weight_decay=1e-3, binarize=True
    ),
    "mlp_vae, rmsprop, new rate each epoch": lambda: digits_run(
        optimizer="rmsprop", schedule="cosine", polyak=0.9, clip=0.5, weight_decay=1e-2
    ),
    "mlp_vae, sgd, new rate each epoch": lambda: digits_run(
        optimizer="sgd", schedule="cosine", lr=1e-3, weight_decay=1e-2
    ),
    "conv_vae": image_run,
    "conv_vae, NHWC": lambda: image_run(channels_last=True),
    "conv_vae with a margin": lambda: image_run((1, 13, 9)),
    "conv_vae with a margin, binarised": lambda: image_run((1, 13, 9), binarize=True),
    "vlae": lambda: vlae_run(polyak=0.9),
    "rnn": lambda: text_run("rnn", DROPOUT, clip=1.0),
    "lstm": lambda: text_run("lstm", DROPOUT | {"word_rate": 0.3}),
    "lstm, sgd": lambda: text_run(
        "lstm", {"scheme": "per_step", "rate": 0.3}, optimizer="sgd", lr=0.5, schedule="step"
    ),
    "lstm, rmsprop": lambda: text_run("lstm", DROPOUT, optimizer="rmsprop", dtype="float64"),
    "rnn, copy": lambda: memory_run("rnn", "copy:7:2"),
    "rnn, adding": lambda: memory_run("rnn", "adding:9"),
    "lstm, copy": lambda: memory_run("lstm", "copy:7:2", scheme="per_step", rate=0.2),
}


def assert_same_run(ours, theirs):
    """Equal weights, averages, moments, states, positions and lines of metrics, to the bit."""
    for left, right in zip(arrays_of(ours.folder), arrays_of(theirs.folder), strict=True):
        assert_same_arrays(left, right)
    assert without_times(ours.folder.metrics) == without_times(theirs.folder.metrics)
    positions = [outcome.folder.load_checkpoint()[1]["position"] for outcome in (ours, theirs)]
    assert without_times(positions[:1]) == without_times(positions[1:])


@pytest.mark.parametrize("name", RUNS)
def test_resident_run_has_the_bits_of_the_ordinary_run(tmp_path, name):
    run, dataset = RUNS[name]()
    ordinary = train(run, dataset, tmp_path / "ordinary")
    resident = train(run, dataset, tmp_path / "resident", resident=True)
    assert (ordinary.resident, resident.resident) == ("", "resident")
    assert_same_run(resident, ordinary)
    assert np.isfinite(resident.folder.metrics[-1]["train"]["total"])
