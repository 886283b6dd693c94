"""Data with grey values as probabilities: dynamic MNIST, OMNIGLOT, and runs on them."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from helpers.data_files import assert_refused, assert_same, idx, npz, parts, write
from helpers.short_runs import assert_same_arrays, short_run, without_times

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
    """Images of three characters by twenty drawers, and five other characters."""
    rng = np.random.default_rng(5)
    shapes = {"background": (60, 28, 28), "evaluation": (5, 28, 28)}
    return {
        key: np.where(rng.random(shape) < 0.2, rng.integers(1, 256, shape), 0).astype(np.uint8)
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize("folder", [".", "omniglot"])
def test_the_last_two_drawers_of_each_character_are_valid(tmp_path, characters, folder):
    write(tmp_path / folder, {NPZ: npz(characters)})
    omniglot = load("omniglot", tmp_path)
    by_drawer = characters["background"].reshape(3, 20, 784)
    expected = {
        "train": by_drawer[:, :18].reshape(-1, 784),
        "valid": by_drawer[:, 18:].reshape(-1, 784),
        "test": characters["evaluation"].reshape(-1, 784),
    }
    for split, part in parts(omniglot).items():
        np.testing.assert_array_equal(part.x, expected[split] / np.float32(255))
        assert part.y is None
    assert omniglot.dynamic and omniglot.image_shape == (1, 28, 28)
    assert omniglot.summary.startswith("omniglot: 54 train, 6 valid and 5 test images of 28x28")
    assert str(tmp_path) in omniglot.summary
    assert "its nats cannot be compared with published ones" in omniglot.summary


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
    "folder for a file": (lambda c: None, "found a directory"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_names_the_fault(tmp_path, characters, fault):
    change, *fragments = FAULTS[fault]
    write(tmp_path, {NPZ: change(characters)})
    assert_refused("omniglot", tmp_path, str(tmp_path / NPZ), *fragments)


def test_an_error_names_the_missing_file(tmp_path):
    assert_refused("omniglot", tmp_path, str(tmp_path), f"found no {NPZ}")


def test_peak_memory_is_about_that_of_the_float32_images(tmp_path, characters):
    """It also has the bytes of the file twice; a copy in float64 would take twice the images."""
    many = {"background": np.repeat(characters["background"], 60, axis=0)}
    write(tmp_path, {NPZ: npz(characters | many)})
    tracemalloc.start()
    try:
        omniglot = load("omniglot", tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * sum(part.x.nbytes for part in parts(omniglot).values())


def test_real_omniglot(real):
    omniglot = real("omniglot")
    assert [len(split) for split in parts(omniglot).values()] == [17352, 1928, 13180]
    shares = [(part.x > 0.5).mean() for part in parts(omniglot).values()]
    assert min(shares) > 0.05 and max(shares) < 0.1  # strokes are 1, and thin


def test_real_images_are_ordered_by_drawer(real):
    """The amounts of ink of two characters correlate if the same person drew them."""
    omniglot = real("omniglot")
    for part, drawers in ((omniglot.train, 18), (omniglot.valid, 2)):
        ink = part.x.sum(1, dtype=float).reshape(-1, drawers)
        ink -= ink.mean(1, keepdims=True)
        power = (ink**2).mean()
        same_drawer = (ink[1:] * ink[:-1]).mean() / power
        other_drawer = (ink[1:] * np.roll(ink[:-1], 1, axis=1)).mean() / power
        assert same_drawer > 0.3 and other_drawer < 0.05


# Dynamic MNIST


def test_dynamic_mnist_is_mnist_with_the_dynamic_flag(tmp_path):
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
    assert str(tmp_path) in dynamic.summary and "drawn as 0 or 1" in dynamic.summary


def test_real_dynamic_mnist_has_the_splits_of_mnist(real):
    assert_same(real("dynamic_mnist"), real("mnist"))


# Runs on dynamic data


@pytest.fixture(scope="module")
def dynamic():
    """Data with 600 copies of one image of 64 grey values from 0 to 1 in each split."""
    grey = np.linspace(0, 1, 64, dtype=np.float32)
    part = Split(np.tile(grey, (600, 1)))
    return Dataset("toy", part, part, part, (1, 8, 8), "", dynamic=True)


class Rows:
    """The part of a panel that a task needs to prepare images."""

    class model:
        config = None

    permutation = staticmethod(random.permutation)


def first_batch(dataset, key, **run):
    task = Images(short_run(batch_size=600, **run), dataset)
    return task.prepare(Rows, task.batch(Rows, 0, 0), key, None)


def test_pixels_are_drawn_with_their_grey_value_as_the_probability(dynamic):
    x = first_batch(dynamic, Key(1))
    assert x.dtype == np.float32 and set(np.unique(x)) == {0, 1}
    grey = dynamic.train.x[0]
    error = np.abs(x.mean(0) - grey)
    assert (error <= 5 * np.sqrt(grey * (1 - grey) / 600)).all()
    assert len(np.unique(x, axis=0)) == 600  # each image is drawn independently


def test_pixels_are_drawn_anew_at_each_step(dynamic):
    first, again, next_step = (first_batch(dynamic, Key(1).fold_in(step)) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    grey = dynamic.train.x[0]
    differ = (first != next_step).mean(0)
    assert np.abs(differ - 2 * grey * (1 - grey)).max() < 0.1  # as for two independent samples


@pytest.mark.parametrize("split", ["valid", "test"])
def test_held_out_images_are_drawn_once(dynamic, split):
    """They are the same for every run, also for a run on grey images with `binarize`."""
    x = Images(short_run(seed=1), dynamic).held_out(split)
    assert set(np.unique(x)) == {0, 1}
    static = dataclasses.replace(dynamic, dynamic=False)
    for run, dataset in (({"seed": 2}, dynamic), ({"binarize": True}, static)):
        np.testing.assert_array_equal(Images(short_run(**run), dataset).held_out(split), x)
    other = Images(short_run(), dynamic).held_out("test" if split == "valid" else "valid")
    assert (other != x).any()


def test_images_that_are_not_dynamic_stay_grey(dynamic):
    static = dataclasses.replace(dynamic, dynamic=False)
    np.testing.assert_array_equal(first_batch(static, Key(1)), static.train.x)
    assert Images(short_run(), static).held_out("valid") is static.valid.x


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_on_dynamic_data_equals_one_with_binarize(few_digits, tmp_path, backend):
    dynamic = dataclasses.replace(few_digits, dynamic=True)
    run = short_run(backend=backend, epochs=2)
    binarized = train(dataclasses.replace(run, binarize=True), few_digits, tmp_path / "binarized")
    drawn = train(run, dynamic, tmp_path / "dynamic")
    assert_same_arrays(binarized.panel.weights(), drawn.panel.weights())
    assert without_times(binarized.folder.metrics) == without_times(drawn.folder.metrics)
    grey = train(run, few_digits, tmp_path / "grey")
    assert without_times(grey.folder.metrics) != without_times(drawn.folder.metrics)


def test_which_data_sets_are_dynamic(real):
    images = ("digits", "binary_digits", "mnist", "static_mnist", "caltech101_silhouettes")
    dynamic = {name for name in (*images, "dynamic_mnist", "omniglot") if real(name).dynamic}
    assert dynamic == {"dynamic_mnist", "omniglot"}
    assert data.DATASETS.keys() >= {*images, *dynamic}
