"""Files are found where users have them, and nothing that is no file hides one that is."""

import gzip
import os
import socket

import numpy as np
import pytest
from helpers.data_files import assert_refused, assert_same, idx, npz, write

from diptych.data import load
from diptych.data.dataset import find_file, find_files

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def files():
    """The four IDX files of 13 training and 4 test images."""
    rng = np.random.default_rng(8)
    return {
        TRAIN: idx(rng.integers(0, 200, (13, 28, 28), np.uint8)),
        TRAIN_LABELS: idx(rng.integers(0, 10, 13, np.uint8)),
        TEST: idx(rng.integers(0, 200, (4, 28, 28), np.uint8)),
        TEST_LABELS: idx(rng.integers(0, 10, 4, np.uint8)),
    }


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory):
    """What each set of the family is, read from its usual place."""
    root = tmp_path_factory.mktemp("expected")
    write(root, files)
    return load("mnist", root)


def dotted(files):
    return {name.replace("-idx", ".idx"): content for name, content in files.items()}


def packed(files):
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


PLACES = {
    "mnist": ("mnist", "MNIST/raw", "MNIST", ".", "raw"),
    "dynamic_mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "FashionMNIST/raw", "fashion-mnist", "data/fashion", "."),
    "kmnist": ("kmnist", "KMNIST/raw", "KMNIST", ".", "raw"),
}


@pytest.mark.parametrize("spelling", [dict, dotted, packed], ids=["plain", "dotted", "gz"])
@pytest.mark.parametrize(
    "name, place", [(name, place) for name, places in PLACES.items() for place in places]
)
def test_the_sets_like_mnist_are_found_in_each_place(
    tmp_path, files, expected, name, place, spelling
):
    write(tmp_path / place, spelling(files))
    assert_same(load(name, tmp_path), expected)


def test_each_set_is_read_from_its_own_folder(tmp_path, files, expected):
    """Torchvision's folders of three sets lie beside each other, all with the same file names."""
    for folder in ("MNIST", "FashionMNIST", "KMNIST"):
        own = {**files, TEST_LABELS: idx(np.full(4, len(folder) % 10, np.uint8))}
        write(tmp_path / folder / "raw", own)
    for name, folder in (
        ("mnist", "MNIST"),
        ("fashion_mnist", "FashionMNIST"),
        ("kmnist", "KMNIST"),
    ):
        data = load(name, tmp_path)
        assert set(data.test.y) == {len(folder) % 10}
        assert data.name == name and data.summary.startswith(f"{name}: 11 train")
        assert str(tmp_path / folder / "raw") in data.summary


def test_folders_named_like_the_files_hide_nothing(tmp_path, files, expected):
    """An archive of MNIST has folders with dashes beside files with dots."""
    write(tmp_path, {**dict.fromkeys(files), **dotted(files)})
    assert_same(load("mnist", tmp_path), expected)


def test_files_in_folders_of_their_own_names_are_found(tmp_path, files, expected):
    for name, content in files.items():
        write(tmp_path / "mnist" / name, {name: content})
    assert_same(load("mnist", tmp_path), expected)
    assert str(tmp_path / "mnist") in load("mnist", tmp_path).summary


def test_half_a_copy_hides_no_whole_one(tmp_path, files, expected):
    write(tmp_path / "mnist", {TRAIN: files[TRAIN], TRAIN_LABELS: files[TRAIN_LABELS]})
    write(tmp_path / "MNIST" / "raw", packed(files))
    assert_same(load("mnist", tmp_path), expected)


def test_an_empty_file_hides_no_full_one(tmp_path, files, expected):
    """An interrupted gunzip leaves empty files beside the .gz files."""
    write(tmp_path, {**dict.fromkeys(files, b""), **packed(files)})
    assert_same(load("mnist", tmp_path), expected)


def test_keras_mnist_npz_is_read(tmp_path, files, expected):
    arrays = {
        "x_train": np.frombuffer(files[TRAIN], np.uint8, offset=16).reshape(-1, 28, 28),
        "y_train": np.frombuffer(files[TRAIN_LABELS], np.uint8, offset=8),
        "x_test": np.frombuffer(files[TEST], np.uint8, offset=16).reshape(-1, 28, 28),
        "y_test": np.frombuffer(files[TEST_LABELS], np.uint8, offset=8),
    }
    write(tmp_path, {"mnist.npz": npz(arrays)})
    assert_same(load("mnist", tmp_path), expected)
    assert str(tmp_path / "mnist.npz") in load("mnist", tmp_path).summary
    write(tmp_path, {"mnist.npz": npz({**arrays, "y_test": arrays["y_test"][1:]})})
    assert_refused("mnist", tmp_path, "mnist.npz: key y_test: found 3 labels, expected 4")
    write(tmp_path, {"mnist.npz": npz({**arrays, "y_train": arrays["y_train"] + np.uint8(9)})})
    assert_refused("mnist", tmp_path, "mnist.npz: key y_train: row", "found label", "0 to 9")


def test_the_npz_files_of_kmnist_are_read(tmp_path, files, expected):
    names = ("kmnist-train-imgs", "kmnist-train-labels", "kmnist-test-imgs", "kmnist-test-labels")
    arrays = [
        np.frombuffer(data, np.uint8, offset=16 if "images" in name else 8)
        for name, data in files.items()
    ]
    shaped = [a.reshape(-1, 28, 28) if i % 2 == 0 else a for i, a in enumerate(arrays)]
    contents = {f"{n}.npz": npz({"arr_0": a}) for n, a in zip(names, shaped, strict=True)}
    write(tmp_path / "kmnist", contents)
    assert_same(load("kmnist", tmp_path), expected)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    "folder", ["static_mnist", "BinaryMNIST", "datasets/BinaryMNIST", "MNIST_static"]
)
def test_binarized_mnist_is_found_where_public_code_puts_it(tmp_path, folder, end):
    bits = np.random.default_rng(3).integers(0, 2, (3, 4, 784))
    for split, rows in zip(("train", "valid", "test"), bits, strict=True):
        text = "\n".join(" ".join(map(str, row)) for row in rows).encode()
        name = f"binarized_mnist_{split}.amat{end}"
        write(tmp_path / folder, {name: gzip.compress(text) if end else text})
    data = load("static_mnist", tmp_path)
    np.testing.assert_array_equal([data.train.x, data.valid.x, data.test.x], bits)


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


OTHERS = {
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a named pipe": os.mkfifo,
    "a socket": bind,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_is_passed_over_or_named(tmp_path, monkeypatch, kind):
    """To open a pipe would wait for ever, and a device may have no end."""
    monkeypatch.chdir(tmp_path)  # a socket's path may have no more than 107 bytes
    OTHERS[kind](tmp_path / "a")
    with pytest.raises(ValueError) as caught:
        find_file(tmp_path, ("a", "b"))
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: found {kind}, expected a file; "
        f"{tmp_path}: found no a, expected a or b in {tmp_path}"
    )
    write(tmp_path, {"b": b"content"})
    assert find_file(tmp_path, ("a", "b")) == tmp_path / "b"


NAMES = {
    "mnist": TRAIN,
    "static_mnist": "binarized_mnist_larochelle_packed.npz",
    "omniglot": "omniglot28_area.npz",
    "caltech101_silhouettes": "caltech101_silhouettes_28_split1.mat",
    "cifar10": "data_batch_1.bin",
}


@pytest.mark.parametrize("name", NAMES)
def test_no_reader_waits_for_a_named_pipe(tmp_path, name):
    os.mkfifo(tmp_path / NAMES[name])
    assert_refused(name, tmp_path, f"{NAMES[name]}: found a named pipe, expected a file")


def test_the_reader_of_texts_does_not_wait_for_a_named_pipe(tmp_path):
    for split in ("train", "valid", "test"):
        os.mkfifo(tmp_path / f"ptb.{split}.txt")
    pipe = "ptb.train.txt: found a named pipe, expected a file"
    assert_refused("ptb", tmp_path, pipe, "found no ptb.train.txt, expected")


def test_find_files_takes_the_first_folder_that_has_all(tmp_path):
    write(tmp_path / "one", {"a": b"1", "b.gz": None})
    write(tmp_path / "two", {"a": b"2", "b.gz": b"2"})
    write(tmp_path / "three", {"a": b"3", "b": b"3"})
    names, folders = [("a",), ("b", "b.gz")], ("one", "two", "three")
    assert find_files(tmp_path, names, folders) == [tmp_path / "two" / f for f in ("a", "b.gz")]
    with pytest.raises(ValueError, match=r"two: found no c, expected c or d in .*two"):
        find_files(tmp_path, [*names, ("c", "d")], folders)
    with pytest.raises(ValueError, match=r"found no c, expected c in .*one or .*two or .*three"):
        find_files(tmp_path, [("c",)], folders)


def test_files_of_another_form_are_named_where_mnist_is_missing(tmp_path):
    write(tmp_path, {"mnist.pkl.gz": b"\x1f\x8b"})
    assert_refused("mnist", tmp_path, "found no train-images", "mnist.pkl.gz, a pickle", "not read")
