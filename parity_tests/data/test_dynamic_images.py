"""Grey values as probabilities: dynamic MNIST, OMNIGLOT, and what a run makes of them."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from helpers.data_files import assert_refused, assert_same, idx, npz, parts, write
from helpers.run_folders import assert_same_arrays, config, without_times

from diptych import data
from diptych.data import Dataset, Split, load
from diptych.panels import BACKENDS
from diptych.tasks.images import Images
from diptych.training.train import train
from model_specs.common.key import Key
from numpy_ref.nn import random

# OMNIGLOT

NPZ = "omniglot28_area.npz"


@pytest.fixture(scope="module")
def characters():
    """Three characters by twenty drawers and five of other alphabets, strokes on a dark ground."""
    rng = np.random.default_rng(5)
    shapes = {"background": (60, 28, 28), "evaluation": (5, 28, 28)}
    return {
        key: np.where(rng.random(shape) < 0.2, rng.integers(1, 256, shape), 0).astype(np.uint8)
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize("folder", [".", "omniglot"])
def test_the_last_two_drawers_of_each_character_are_valid(tmp_path, characters, folder):
    write(tmp_path / folder, {NPZ: npz(characters)})
    result = load("omniglot", tmp_path)
    by_drawer = characters["background"].reshape(3, 20, 784)
    expected = {
        "train": by_drawer[:, :18].reshape(-1, 784),
        "valid": by_drawer[:, 18:].reshape(-1, 784),
        "test": characters["evaluation"].reshape(-1, 784),
    }
    for split, part in parts(result).items():
        np.testing.assert_array_equal(part.x, expected[split] / np.float32(255))
        assert part.y is None
    assert result.dynamic and result.image_shape == (1, 28, 28)
    assert result.summary.startswith("omniglot: 54 train, 6 valid and 5 test images of 28x28")
    assert (
        str(tmp_path) in result.summary and "its nats compare with none published" in result.summary
    )


FAULTS = {
    "dark on bright": (
        lambda c: npz(c | {"background": 255 - c["background"]}),
        "key background: found a mean of 229",
        "bright strokes (255) on a dark ground (0)",
    ),
    "one part of it": (lambda c: npz(c | {"evaluation": 255 - c["evaluation"]}), "key evaluation"),
    "a drawer short": (
        lambda c: npz(c | {"background": c["background"][1:]}),
        "key background: found 59 images, expected a multiple of 20",
    ),
    "missing key": (
        lambda c: npz({"background": c["background"]}),
        "key evaluation: missing, found background, expected background, evaluation",
    ),
    "105 x 105": (
        lambda c: npz(c | {"evaluation": np.zeros((2, 105, 105), np.uint8)}),
        "key evaluation: found uint8 (2, 105, 105), expected uint8 (N, 28, 28) with N >= 1",
    ),
    "rows": (lambda c: npz(c | {"evaluation": np.zeros((2, 784), np.uint8)}), "(2, 784)"),
    "no images": (lambda c: npz(c | {"background": c["background"][:0]}), "(0, 28, 28)"),
    "floats": (lambda c: npz(c | {"background": c["background"] / 255}), "found float64"),
    "cut": (lambda c: npz(c)[:-30], "expected an .npz archive"),
    "folder for a file": (lambda c: None, "expected an .npz archive"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_omniglot_fault_is_named(tmp_path, characters, fault):
    change, *said = FAULTS[fault]
    write(tmp_path, {NPZ: change(characters)})
    assert_refused("omniglot", tmp_path, str(tmp_path / NPZ), *said)


def test_omniglot_missing_file_is_named(tmp_path):
    assert_refused("omniglot", tmp_path, str(tmp_path), f"found no {NPZ}")


def test_memory_is_that_of_float32_rows(tmp_path, characters):
    """The file's bytes, a copy of them cut into splits and the rows; a double would be 2 more."""
    many = {"background": np.repeat(characters["background"], 60, axis=0)}
    write(tmp_path, {NPZ: npz(characters | many)})
    tracemalloc.start()
    try:
        result = load("omniglot", tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * sum(part.x.nbytes for part in parts(result).values())


def test_real_omniglot(real):
    result = real("omniglot")
    assert [len(split) for split in parts(result).values()] == [17352, 1928, 13180]
    inked = [(part.x > 0.5).mean() for part in parts(result).values()]
    assert min(inked) > 0.05 and max(inked) < 0.1  # strokes are 1, and thin


def test_real_rows_are_by_drawer(real):
    """A hand that draws large draws the next character large too: rows 20 apart are one hand's."""
    result = real("omniglot")
    for part, drawers in ((result.train, 18), (result.valid, 2)):
        ink = part.x.sum(1, dtype=float).reshape(-1, drawers)
        ink -= ink.mean(1, keepdims=True)
        power = (ink**2).mean()
        own = (ink[1:] * ink[:-1]).mean() / power
        other = (ink[1:] * np.roll(ink[:-1], 1, axis=1)).mean() / power
        assert own > 0.3 and other < 0.05


# Dynamic MNIST


def test_dynamic_mnist_is_mnist_but_for_the_flag(tmp_path):
    rng = np.random.default_rng(6)
    for part, n in (("train", 13), ("t10k", 4)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n)
        files = {"images-idx3": idx(images), "labels-idx1": idx(labels.astype(np.uint8))}
        write(tmp_path, {f"{part}-{name}-ubyte": content for name, content in files.items()})
    grey, dynamic = load("mnist", tmp_path), load("dynamic_mnist", tmp_path)
    assert_same(grey, dynamic)
    assert (grey.dynamic, dynamic.dynamic) == (False, True)
    assert dynamic.name == "dynamic_mnist" and dynamic.image_shape == (1, 28, 28)
    assert dynamic.summary.startswith("dynamic_mnist: 11 train, 2 valid and 4 test images of 28x28")
    assert str(tmp_path) in dynamic.summary and "drawn anew" in dynamic.summary


def test_real_dynamic_mnist_has_the_splits_of_mnist(real):
    assert_same(real("dynamic_mnist"), real("mnist"))


# What a run makes of a dynamic data set


@pytest.fixture(scope="module")
def dynamic():
    """600 times one grey image of 64 pixels, from 0 to 1, in each split."""
    grey = np.linspace(0, 1, 64, dtype=np.float32)
    part = Split(np.tile(grey, (600, 1)))
    return Dataset("toy", part, part, part, (1, 8, 8), "", dynamic=True)


class Rows:
    """A panel of which a task needs no more than this to prepare rows for the MLP VAE."""

    class model:
        config = None

    permutation = staticmethod(random.permutation)


def prepared(result, key, **run):
    task = Images(config(batch_size=600, **run), result)
    return task.prepare(Rows, task.batch(Rows, 0, 0), key, None)


def test_pixels_are_drawn_with_their_grey_value_as_the_probability(dynamic):
    x = prepared(dynamic, Key(1))
    assert x.dtype == np.float32 and set(np.unique(x)) == {0, 1}
    grey = dynamic.train.x[0]
    error = np.abs(x.mean(0) - grey)
    assert (error <= 5 * np.sqrt(grey * (1 - grey) / 600)).all()
    assert len(np.unique(x, axis=0)) == 600  # each image of a batch by itself


def test_pixels_are_drawn_anew_by_the_key_of_the_step(dynamic):
    first, again, next_step = (prepared(dynamic, Key(1).fold_in(step)) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    grey = dynamic.train.x[0]
    differ = (first != next_step).mean(0)
    assert np.abs(differ - 2 * grey * (1 - grey)).max() < 0.1  # as two independent draws do


@pytest.mark.parametrize("split", ["valid", "test"])
def test_held_out_images_are_drawn_once_for_good(dynamic, split):
    """The same for every call, every run, and a run that asks for it of grey images."""
    x = Images(config(seed=1), dynamic).held_out(split)
    assert set(np.unique(x)) == {0, 1}
    static = dataclasses.replace(dynamic, dynamic=False)
    for run, result in (({"seed": 2}, dynamic), ({"binarize": True}, static)):
        np.testing.assert_array_equal(Images(config(**run), result).held_out(split), x)
    other = Images(config(), dynamic).held_out("test" if split == "valid" else "valid")
    assert (other != x).any()


def test_grey_data_stay_grey(dynamic):
    static = dataclasses.replace(dynamic, dynamic=False)
    np.testing.assert_array_equal(prepared(static, Key(1)), static.train.x)
    assert Images(config(), static).held_out("valid") is static.valid.x


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_on_dynamic_data_is_one_that_binarizes(few_digits, tmp_path, backend):
    dynamic = dataclasses.replace(few_digits, dynamic=True)
    run = config(backend=backend, epochs=2)
    asked = train(dataclasses.replace(run, binarize=True), few_digits, tmp_path / "asked")
    said = train(run, dynamic, tmp_path / "said")
    assert_same_arrays(asked.panel.weights(), said.panel.weights())
    assert without_times(asked.folder.metrics) == without_times(said.folder.metrics)
    grey = train(run, few_digits, tmp_path / "grey")
    assert without_times(grey.folder.metrics) != without_times(said.folder.metrics)


def test_data_sets_say_whether_they_are_dynamic(real):
    images = ("digits", "binary_digits", "mnist", "static_mnist", "caltech101_silhouettes")
    dynamic = {name for name in (*images, "dynamic_mnist", "omniglot") if real(name).dynamic}
    assert dynamic == {"dynamic_mnist", "omniglot"}
    assert data.DATASETS.keys() >= {*images, *dynamic}
