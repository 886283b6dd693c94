"""The reader of Caltech-101 Silhouettes: orientation, polarity, and errors of bad files."""

import io
import tracemalloc

import numpy as np
import pytest
from helpers.data_files import assert_refused, parts, write
from scipy.io import savemat
from scipy.sparse import csc_array

from diptych.data import caltech101, load

NAME, MAT = "caltech101_silhouettes", "caltech101_silhouettes_28_split1.mat"
PARTS = {"train": "train", "valid": "val", "test": "test"}
KEYS = tuple(f"{part}_{kind}" for part in PARTS.values() for kind in ("data", "labels"))
SIZES = {"train": 5, "valid": 3, "test": 2}


@pytest.fixture(scope="module")
def silhouettes():
    """Expected (images (N, 28, 28) of {0, 1}, labels) by split."""
    rng = np.random.default_rng(3)
    splits = {
        split: (rng.integers(0, 2, (n, 28, 28), np.uint8), rng.integers(1, 102, n))
        for split, n in SIZES.items()
    }
    for images, _ in splits.values():
        images[:, ::27, ::27] = 0  # the corners are background
    return splits


@pytest.fixture(scope="module")
def arrays(silhouettes):
    """Arrays of the file: inverted, in column-major order."""
    stored = {}
    for split, (images, labels) in silhouettes.items():
        columns = [image.flatten(order="F") for image in images]
        stored[f"{PARTS[split]}_data"] = np.where(np.stack(columns), 0, 1).astype(np.uint8)
        stored[f"{PARTS[split]}_labels"] = labels[:, None].astype(np.uint8)
    return stored


def mat(arrays, **options):
    file = io.BytesIO()
    savemat(file, arrays, **options)
    return file.getvalue()


LAYOUTS = {
    "compressed": lambda a: mat(a, do_compression=True),
    "not compressed": mat,
    "doubles": lambda a: mat({key: array.astype(float) for key, array in a.items()}),
    "logical": lambda a: mat(a | {"val_data": a["val_data"].astype(bool)}),
    "with more": lambda a: mat({"classnames": np.array(["chair"], object)} | a),
}


@pytest.mark.parametrize("folder", [".", "caltech101_silhouettes"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_silhouettes_are_upright_and_have_the_value_1(
    tmp_path, silhouettes, arrays, layout, folder
):
    write(tmp_path / folder, {MAT: LAYOUTS[layout](arrays)})
    data = load(NAME, tmp_path)
    for split, part in parts(data).items():
        images, labels = silhouettes[split]
        np.testing.assert_array_equal(part.x.reshape(-1, 28, 28), images)
        np.testing.assert_array_equal(part.y, labels)
    assert data.summary.startswith(f"{NAME}: 5 train, 3 valid and 2 test images of 28x28")
    assert str(tmp_path) in data.summary and data.image_shape == (1, 28, 28) and not data.dynamic


def set_value(key, value, index=(1, 0)):
    def change(arrays):
        array = arrays[key].astype(float)
        array[index] = value
        return mat(arrays | {key: array})

    return change


def flip_bit(data):
    """Flip one bit of the compressed data."""
    return data[:400] + bytes([data[400] ^ 1]) + data[401:]


WHOLE = "expected a whole MATLAB 5 file"
FAULTS = {
    "cut": (lambda a: mat(a)[:-200], WHOLE),
    "cut, compressed": (lambda a: mat(a, do_compression=True)[:-50], WHOLE),
    "cut in its header": (lambda a: mat(a)[:60], WHOLE),
    "damaged": (lambda a: flip_bit(mat(a, do_compression=True)), WHOLE),
    "web page": (lambda a: b"<!DOCTYPE html>" * 20, "found an HTML page", WHOLE),
    "no file of MATLAB": (lambda a: b"something else" * 20, "found no MATLAB file", WHOLE),
    "of MATLAB 4": (lambda a: mat(a, format="4"), "found a file of MATLAB 4", WHOLE),
    "of another version": (
        lambda a: mat(a)[:124] + b"\0\3" + mat(a)[126:],
        "found version 0x0300 at offset 124, not 0x0100",
        WHOLE,
    ),
    "of MATLAB 7.3": (
        lambda a: b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(400),
        "v7.3",
        WHOLE,
    ),
    "empty file": (lambda a: b"", "found an empty file", WHOLE),
    "folder for a file": (lambda a: None, "found a directory"),
    "no arrays": (lambda a: mat({}), "key train_data: missing", "test_labels"),
    "missing key": (
        lambda a: mat({key: a[key] for key in KEYS if key != "val_labels"}),
        "key val_labels: missing, expected train_data, train_labels, val_data",
    ),
    "16 x 16": (
        lambda a: mat(a | {"val_data": a["val_data"][:, :256]}),
        "key val_data: found (3, 256), expected (N >= 1, 784) of whole numbers 0 to 1",
    ),
    "no images": (
        lambda a: mat(a | {"test_data": a["test_data"][:0]}),
        "key test_data: found (0, 784), expected (N >= 1, 784)",
    ),
    "cube": (
        lambda a: mat(a | {"val_data": a["val_data"].reshape(-1, 28, 28)}),
        "key val_data: found (3, 28, 28)",
    ),
    "counts differ": (
        lambda a: mat(a | {"train_labels": a["train_labels"][1:]}),
        "key train_labels: found (4, 1), expected (5, 1) of whole numbers 1 to 101",
    ),
    "grey": (set_value("test_data", 0.5, (1, 783)), "key test_data: row 1: found 0.5, expected"),
    "255": (set_value("train_data", 255), "key train_data: row 1: found 255"),
    "nan": (set_value("val_data", np.nan), "key val_data: row 1: found nan"),
    "label 0": (set_value("val_labels", 0), "key val_labels: row 1: found 0,", "1 to 101"),
    "label 102": (set_value("test_labels", 102), "key test_labels: row 1: found 102,"),
    "0 and 255": (
        lambda a: mat(a | {"val_data": a["val_data"] * 255.0}),
        "key val_data: row 0: found 255 for 1, all values are 0 or 255",
    ),
    "transposed": (
        lambda a: mat({key: array.T for key, array in a.items()}),
        "key train_data: found (784, 5), transposed?",
    ),
    "inverted": (
        lambda a: mat(a | {key: 1 - a[key] for key in KEYS if key.endswith("data")}),
        "key train_data: found 0 in most corners of the images, expected 1",
    ),
    "test is valid": (
        lambda a: mat(a | {"test_data": a["val_data"][:2]}),
        "key test_data: found the images of key val_data again",
    ),
    "complex": (
        lambda a: mat(a | {"train_data": a["train_data"] * 1j}),
        "key train_data: found a complex matrix, expected a matrix of real numbers",
    ),
    "text": (lambda a: mat(a | {"val_data": "zeros"}), "key val_data: found text"),
    "sparse": (
        lambda a: mat(a | {"val_data": csc_array(a["val_data"].astype(float))}),
        "key val_data: found a sparse matrix",
    ),
    "more than 10000 images": (
        lambda a: mat(a | {"train_data": np.zeros((10_001, 784), np.uint8)}, do_compression=True),
        "key train_data: found (10001, 784), 7840784 values, expected at most 7840000",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_names_the_fault(tmp_path, arrays, fault):
    change, *fragments = FAULTS[fault]
    write(tmp_path, {MAT: change(arrays)})
    assert_refused(NAME, tmp_path, str(tmp_path / MAT), *fragments)


def test_the_summary_tells_other_numbers_of_images(tmp_path, monkeypatch, arrays):
    write(tmp_path, {MAT: mat(arrays)})
    remark = "; not the 4100, 2264 and 2307 images of the published split"
    assert load(NAME, tmp_path).summary.endswith(remark)
    monkeypatch.setattr(caltech101, "COUNTS", (5, 3, 2))
    assert load(NAME, tmp_path).summary.endswith(MAT)


def test_an_error_names_the_missing_file(tmp_path):
    assert_refused(NAME, tmp_path, str(tmp_path), f"found no {MAT}", "caltech101_silhouettes")


def test_peak_memory_is_about_that_of_the_float32_images(tmp_path):
    """A copy of the data in float64 would take twice their size."""
    n = 4000
    bits = np.random.default_rng(4).integers(0, 2, (n, 784), np.uint8)
    bits[:, [0, 27, 756, 783]] = 1
    arrays = {f"{part}_data": bits if part == "train" else bits[:1] for part in PARTS.values()}
    counts = {key: len(pixels) for key, pixels in arrays.items()}
    arrays |= {key.replace("data", "labels"): np.ones((m, 1)) for key, m in counts.items()}
    write(tmp_path, {MAT: mat(arrays)})
    tracemalloc.start()
    try:
        data = load(NAME, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * data.train.x.nbytes


def test_real_silhouettes(real):
    data = real(NAME)
    assert [len(split) for split in parts(data).values()] == [4100, 2264, 2307]
    assert data.summary.endswith(MAT)
    means = {split: part.x.mean(dtype=float) for split, part in parts(data).items()}
    stored = {"train": 0.5510546, "valid": 0.5359594, "test": 0.5390150}  # means of the background
    assert means == pytest.approx({split: 1 - mean for split, mean in stored.items()}, abs=1e-7)
    images = data.train.x.reshape(-1, 28, 28)
    corners, middle = images[:, ::27, ::27].mean(), images[:, 12:16, 12:16].mean()
    assert corners == 0 and middle > 0.9  # silhouettes are in the middle of the image
    assert set(data.train.y) == set(range(1, 102))
    faces = data.test.x[np.isin(data.test.y, (2, 3))].reshape(-1, 28, 28)
    height, width = (faces.any(axis).sum(1).mean() for axis in (2, 1))
    assert height > 1.2 * width
