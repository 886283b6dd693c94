"""The embedded digits; names and folders of data sets; checks of Split and Dataset."""

from pathlib import Path

import numpy as np
import pytest
from helpers.data_files import assert_refused, assert_same, parts, write
from sklearn.datasets import load_digits

from diptych.data import DATASETS, PARAMETRIC, Dataset, Split, load
from diptych.data.dataset import data_root, find_file, reading

# The embedded digits


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_those_of_scikit_learn(digits):
    assert [len(split) for split in parts(digits).values()] == [1297, 200, 300]
    x, y = (np.concatenate([getattr(s, f) for s in parts(digits).values()]) for f in "xy")
    assert x.shape == (1797, 64) and digits.image_shape == (1, 8, 8)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (x * 16).sum(dtype=int) == 561718  # the sum of all of scikit-learn's pixels
    assert set(np.unique(x * 16)) == set(range(17))


def test_digits_split_is_fixed(digits):
    firsts = {split: part.y[:10].tolist() for split, part in parts(digits).items()}
    assert firsts == {
        "train": [5, 1, 1, 6, 0, 4, 6, 9, 1, 9],
        "valid": [1, 1, 7, 7, 2, 7, 3, 8, 4, 7],
        "test": [3, 1, 6, 0, 5, 5, 9, 6, 3, 1],
    }
    assert_same(digits, load("digits"))


def test_digits_splits_are_disjoint_and_keep_their_labels(digits):
    pixels, labels = load_digits(return_X_y=True)
    original = {row.tobytes(): y for row, y in zip(pixels, labels, strict=True)}
    assert len(original) == 1797  # no image occurs twice
    split = [
        (np.float64(row * 16).tobytes(), y)
        for part in parts(digits).values()
        for row, y in zip(part.x, part.y, strict=True)
    ]
    assert len(split) == 1797 and dict(split) == original


@pytest.mark.parametrize(("name", "grey"), [("", "digits"), ("16", "digits16")])
def test_binary_digits_are_1_where_the_grey_value_is_at_least_a_half(name, grey):
    binary, grey = load(f"binary_digits{name}"), load(grey)
    ink = {"": 37151, "16": 141403}[name]
    assert sum(part.x.sum(dtype=int) for part in parts(binary).values()) == ink
    assert binary.image_shape == grey.image_shape and binary.name == f"binary_digits{name}"
    for split, part in parts(binary).items():
        np.testing.assert_array_equal(part.x, getattr(grey, split).x >= 0.5)


def test_binary_digits_are_1_where_the_count_is_at_least_8(digits):
    """scikit-learn's pixels are counts 0 .. 16."""
    binary = load("binary_digits")
    for split, part in parts(binary).items():
        grey = getattr(digits, split)
        np.testing.assert_array_equal(part.x, np.rint(grey.x * 16).astype(int) >= 8)
        np.testing.assert_array_equal(part.y, grey.y)
    assert sum(part.x.sum(dtype=int) for part in parts(binary).values()) == 37151
    assert binary.image_shape == (1, 8, 8) and not binary.dynamic
    assert binary.summary.startswith("binary_digits: 1297 train, 200 valid and 300 test images")


# Names and folders


@pytest.mark.parametrize(
    "name, suggestion",
    [
        ("minst", "mnist"),
        ("MNIST", "mnist"),
        ("digit", "digits"),
        ("static-mnist", "static_mnist"),
        ("silhouettes", "caltech101_silhouettes"),
        ("fashion", "fashion_mnist"),
        ("FashionMNIST", "fashion_mnist"),
        ("zzz", None),
    ],
)
def test_an_unknown_name_gets_a_suggestion(name, suggestion):
    hint = f", did you mean {suggestion!r}?" if suggestion else ""
    with pytest.raises(ValueError) as caught:
        load(name)
    assert str(caught.value) == (
        f"name: got {name!r}, takes one of {', '.join(map(repr, (*DATASETS, *PARAMETRIC)))}{hint}"
    )


@pytest.mark.parametrize("name", ["data/m1", "./data", "~/data", "book.txt", "..", "D:\\data", "~"])
def test_a_path_in_place_of_a_name_gets_a_hint(name):
    with pytest.raises(ValueError) as caught:
        load(name)
    message = str(caught.value)
    assert message.startswith(f"name: got {name!r}, which is a path, takes the name of a data set")
    assert "--data-root (root=...)" in message and "text:PATH" in message


FROM_FILES = ["mnist", "static_mnist", "dynamic_mnist", "omniglot", "caltech101_silhouettes"]
FROM_FILES += ["fashion_mnist", "kmnist", "cifar10", "ptb", "ptb/characters"]


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("environment", [None, ""], ids=["unset", "empty"])
def test_an_error_without_a_root_says_how_to_set_it(monkeypatch, name, environment):
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    if environment is not None:
        monkeypatch.setenv("DIPTYCH_DATA", environment)
    assert_refused(name, None, "no data folder given", "--data-root", "variable DIPTYCH_DATA")


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("by_argument", [True, False], ids=["root", "DIPTYCH_DATA"])
@pytest.mark.parametrize("kind", ["nothing", "a file"])
def test_the_root_must_be_a_folder(tmp_path, monkeypatch, name, by_argument, kind):
    root = tmp_path / "nowhere"
    if kind == "a file":
        root.touch()
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path if by_argument else root))
    source = "root" if by_argument else "DIPTYCH_DATA"
    message = f"{source}: found {kind} at {root}"
    assert_refused(name, root if by_argument else None, message, "expected a folder")


def test_the_root_argument_overrides_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "data").mkdir(parents=True)
    assert data_root() == tmp_path
    assert data_root(str(tmp_path / "home")) == tmp_path / "home"
    assert data_root("~/data") == tmp_path / "home" / "data"


def test_find_file_prefers_earlier_names_then_folders(tmp_path):
    for place in ("a/second", "b/first", "b/second"):
        write((tmp_path / place).parent, {Path(place).name: b""})
    assert find_file(tmp_path, ("first", "second"), ("a", "b")) == tmp_path / "b" / "first"
    assert find_file(tmp_path, ("second",), ("a", "b")) == tmp_path / "a" / "second"


@pytest.mark.parametrize(
    "error, message",
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (EOFError(), "EOFError"),
        (RuntimeError("two\n  lines"), "two lines"),
    ],
)
def test_errors_of_libraries_become_one_line(error, message):
    with pytest.raises(ValueError) as caught, reading(Path("a.npz"), "an archive", Exception):
        raise error
    assert str(caught.value) == f"a.npz: {message}, expected an archive"


# Split and Dataset

X = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X.astype(float), None, "x: got float64"),
        (X[0], None, r"x: got float32 \(4,\)"),
        (X[:0], None, r"x: got float32 \(0, 4\)"),
        (X.T, None, "in C order"),
        (X - 0.1, None, r"x: got values from -0.1 .*takes \[0, 1\]"),
        (X + 1.5, None, r"x: got values .*to 1.5"),
        (X + np.float32("nan"), None, "x: got values from nan"),
        (X, np.zeros(2, np.int64), r"y: got int64 \(2,\), takes int64 \(3,\)"),
        (X, np.zeros(3, np.int32), "y: got int32"),
    ],
)
def test_split_refuses_bad_arrays(x, y, message):
    with pytest.raises(ValueError, match=message):
        Split(x, y)


def test_dataset_refuses_splits_of_another_width():
    good, wide = Split(X), Split(np.zeros((3, 5), np.float32))
    Dataset("toy", good, good, good, (1, 2, 2), "")
    with pytest.raises(ValueError, match=r"valid: got 5 values an image, takes 4 .*\(1, 2, 2\)"):
        Dataset("toy", good, wide, good, (1, 2, 2), "")
