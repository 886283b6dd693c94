"""The data sets of colour images: colour_digits, and the sizes of colour_digits and cifar10."""

import hashlib

import numpy as np
import pytest
from helpers.cifar_files import cifar_files

from diptych.commands.train import prepare
from diptych.data import canonical, check_root, cifar10, colour_digits, load
from diptych.data.colour_digits import OFFSETS, load_factors
from diptych.runs.data_identity import is_same_source

SIZES = (16, 32)
SPLITS = ("train", "valid", "test")


def levels(split, size):
    """The images of a split as levels 0 .. 255, (N, 3, S, S)."""
    x = 255 * split.x.astype(np.float64)
    assert np.abs(x - np.rint(x)).max() < 1e-4
    return np.rint(x).astype(int).reshape(-1, 3, size, size)


@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_a_digit_a_texture_and_a_colour(size):
    """Y = 90 + round(72 m) + t, m the enlarged digit; x = Y + i u + j v."""
    data, factors = load(f"colour_digits:{size}"), load_factors(size)
    grey = load("digits16") if size == 16 else None
    for name in SPLITS:
        split, (digit, colour, texture) = getattr(data, name), factors[name]
        np.testing.assert_array_equal(digit, split.y)
        x = levels(split, size)
        u, v = np.array(OFFSETS)
        luma = x - (colour[:, :1] * u + colour[:, 1:] * v)[:, :, None, None]
        assert (luma == luma[:, :1]).all()
        strokes = luma[:, 0] - 90 - texture
        assert strokes.min() == 0 and strokes.max() == 72
        if grey is not None:
            shape = getattr(grey, name).x.reshape(-1, size, size)
            np.testing.assert_array_equal(strokes, np.floor(72 * shape + 0.5))


def test_the_luma_of_a_pixel_does_not_depend_on_its_colour():
    weights = np.array([299, 587, 114])
    assert [int(weights @ offset) for offset in OFFSETS] == [0, 0]


def test_the_factors_are_uniform_and_independent():
    """Frequencies within 5 standard errors; correlations of neighbours and colours near 0."""
    factors = load_factors()["train"]
    cells = 5 * (factors.colour[:, 0] + 2) + factors.colour[:, 1] + 2
    counts, N = np.bincount(cells, minlength=25), len(cells)
    assert np.abs(counts - N / 25).max() < 5 * np.sqrt(N / 25)
    values, frequencies = np.unique(factors.texture, return_counts=True)
    assert values.tolist() == list(range(-8, 9))
    total = factors.texture.size
    assert np.abs(frequencies - total / 17).max() < 5 * np.sqrt(total / 17)
    t = factors.texture.astype(float)
    for a, b in ((t[:, :, 1:], t[:, :, :-1]), (t[:, 1:], t[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
    assert abs(np.corrcoef(factors.colour.T)[0, 1]) < 5 / np.sqrt(N)
    assert np.isclose(colour_digits.COLOUR_NATS, np.log(25))
    assert np.isclose(colour_digits.TEXTURE_NATS, np.log(17))


@pytest.mark.parametrize(
    ("size", "digest"), [(16, "c2008810c646"), (32, "fc2a6b9aa3d1")], ids=["16", "32"]
)
def test_the_images_are_the_same_on_every_machine(size, digest):
    data = load(f"colour_digits:{size}")
    assert data.image_shape == (3, size, size)
    assert hashlib.sha256(data.train.x.tobytes()).hexdigest()[:12] == digest


def test_the_size_is_16_if_none_is_named():
    first, second = load("colour_digits"), load("colour_digits:16")
    np.testing.assert_array_equal(first.test.x, second.test.x)
    assert first.summary.startswith(
        "colour_digits: 1297 train, 200 valid and 300 test images of 3x"
    )


def test_cifar10_of_16_has_the_means_of_2_x_2_pixels_rounded_to_levels(tmp_path):
    for name, content in cifar_files().items():
        (tmp_path / name).write_bytes(content)
    large, small = load("cifar10", tmp_path), load("cifar10:16", tmp_path)
    assert small.image_shape == (3, 16, 16) and "3x16x16 (means of 2x2 pixels)" in small.summary
    for name in SPLITS:
        pixels, means = levels(getattr(large, name), 32), levels(getattr(small, name), 16)
        expected = pixels.reshape(-1, 3, 16, 2, 16, 2).mean((3, 5))
        assert np.abs(means - expected).max() <= 0.5
        np.testing.assert_array_equal(means, np.floor(expected + 0.5))
    np.testing.assert_array_equal(load("cifar10:32", tmp_path).test.x, large.test.x)
    check_root("cifar10:16", tmp_path)


def test_a_size_is_part_of_the_name_of_the_data(tmp_path):
    options = {"resume": False, "preset": None, "data_root": None, "fields": [], "options": {}}
    for data, size, name, side in (
        ("colour_digits", 32, "colour_digits:32", 32),
        ("colour_digits:32", 32, "colour_digits:32", 32),
        ("colour_digits", None, "colour_digits", 16),
        ("colour_digits", 16, "colour_digits", 16),
        ("colour_digits:16", None, "colour_digits", 16),
    ):
        run, dataset = prepare("vlae", tmp_path / "run", data=data, size=size, **options)
        assert run.data == name and dataset.image_shape == (3, side, side)
        assert run.model_config["channels"] == 3 and run.model_config["height"] == side


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        ("digits", 16, "size: got 16 with data 'digits', takes none; colour_digits and cifar10"),
        ("colour_digits", 20, "size: got 20 with data 'colour_digits', takes 16 or 32"),
        ("colour_digits:32", 16, "size: got 16 with data 'colour_digits:32', which names its size"),
        ("cifar10:8", None, "name: got 'cifar10:8', takes cifar10:16 or cifar10:32"),
        ("colour_digits:x", None, "name: got 'colour_digits:x', takes colour_digits:16 or"),
        ("colour_digits:", None, "name: got 'colour_digits:', takes colour_digits:16 or"),
        ("colour_digits:16:16", None, "name: got 'colour_digits:16:16', takes colour_digits:16"),
    ],
)
def test_an_impossible_size_is_one_clear_line(tmp_path, data, size, message):
    options = {"resume": False, "preset": None, "data_root": None, "fields": [], "options": {}}
    with pytest.raises(ValueError, match=f"^{message}"):
        prepare("vlae", tmp_path / "run", data=data, size=size, **options)


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        ("digits", ["channels=3"], "channels: got 3, takes 1 for digits"),
        ("colour_digits", ["channels=1"], "channels: got 1, takes 3 for colour_digits"),
        ("colour_digits", ["likelihood=bernoulli"], "likelihood: got 'bernoulli' with channels 3"),
        ("colour_digits", ["height=8"], "height: got 8, takes 16 for colour_digits"),
    ],
)
def test_data_that_do_not_fit_the_model_are_one_clear_line(tmp_path, data, fields, message):
    options = {"resume": False, "preset": None, "data_root": None, "options": {}}
    with pytest.raises(ValueError, match=f"^{message}"):
        prepare("vlae", tmp_path / "run", data=data, fields=fields, **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "data: got 'digits' with channels 1, preset 'vlae-colour-digits' takes 3"),
        (["channels=3"], "channels: got 3, takes 1 for digits"),
    ],
)
def test_a_preset_of_colour_refuses_grey_images(tmp_path, fields, message):
    """The error names what the user typed: the field, or the data and the preset."""
    options = {"resume": False, "data_root": None, "fields": fields, "options": {}}
    with pytest.raises(ValueError, match=f"^{message}$"):
        prepare("vlae", tmp_path / "r", data="digits", preset="vlae-colour-digits", **options)


def test_a_size_replaces_the_size_of_the_presets_data(tmp_path):
    for name, content in cifar_files().items():
        (tmp_path / name).write_bytes(content)
    options = {"resume": False, "data": None, "data_root": tmp_path, "fields": [], "options": {}}
    for size, name in ((None, "cifar10:16"), (16, "cifar10:16"), (32, "cifar10")):
        run, _ = prepare("vlae", tmp_path, preset="vlae-cifar10-small", size=size, **options)
        assert run.data == name


@pytest.mark.parametrize("size", [17, 24, 8, 0, -16, 64, 16.0, "16", True, None])
@pytest.mark.parametrize("reader", [colour_digits.load, cifar10.load, load_factors])
def test_a_reader_refuses_other_sizes(reader, size):
    with pytest.raises(ValueError, match=rf"^size: got {size!r}, takes 16 or 32$"):
        reader(size=size)


@pytest.mark.parametrize(
    ("name", "shortest"),
    [
        ("colour_digits:16", "colour_digits"),
        ("colour_digits:32", "colour_digits:32"),
        ("cifar10:32", "cifar10"),
        ("cifar10:16", "cifar10:16"),
        ("copy:100:10", "copy"),
        ("copy:100", "copy"),
        ("copy:50:10", "copy:50"),
        ("copy:10:100", "copy:10:100"),
        ("adding:100", "adding"),
        ("adding:100:10", "adding:100:10"),
        ("text:16", "text:16"),
        ("digits", "digits"),
    ],
)
def test_a_name_without_the_default_numbers_is_that_of_the_same_data(name, shortest):
    assert canonical(name) == shortest and is_same_source(name, shortest)
