"""The reader of MNIST: IDX files, their spellings, and errors of bad files."""

import gzip

import numpy as np
import pytest
from helpers.data_files import assert_refused, assert_same, idx, parts, write

from diptych.data import load

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def mnist_files():
    """Bytes of plain IDX files by name: 13 training images, 2 of them valid, and 4 test images."""
    rng = np.random.default_rng(1)
    files = {}
    for images, labels, n in ((IMAGES, LABELS, 13), (TEST_IMAGES, TEST_LABELS, 4)):
        files[images] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[labels] = idx(rng.integers(0, 10, n, np.uint8))
    return files


def test_images_and_labels_are_those_of_the_files(tmp_path, mnist_files):
    write(tmp_path, mnist_files)
    data = load("mnist", tmp_path)
    assert [len(split) for split in parts(data).values()] == [11, 2, 4]
    x, y = (np.concatenate([getattr(data.train, f), getattr(data.valid, f)]) for f in "xy")
    for array, name, start, scale in (
        (x, IMAGES, 16, 255),
        (y, LABELS, 8, 1),
        (data.test.x, TEST_IMAGES, 16, 255),
        (data.test.y, TEST_LABELS, 8, 1),
    ):
        assert np.rint(array * scale).astype(np.uint8).tobytes() == mnist_files[name][start:]
    assert data.image_shape == (1, 28, 28)
    assert data.summary.startswith(
        "mnist: 11 train, 2 valid and 4 test images of 28x28 with labels"
    )
    assert str(tmp_path) in data.summary


@pytest.mark.parametrize("folder", [".", "mnist"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("dotted", [False, True], ids=["dash", "dot"])
def test_all_spellings_of_the_file_names_are_read(tmp_path, mnist_files, folder, packed, dotted):
    files = {
        (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else ""): (
            gzip.compress(content) if packed else content
        )
        for name, content in mnist_files.items()
    }
    write(tmp_path / "expected", mnist_files)
    write(tmp_path / "read" / folder, files)
    assert_same(load("mnist", tmp_path / "read"), load("mnist", tmp_path / "expected"))


def size(n):
    return np.array(n, ">u4").tobytes()


# fault: (file, change to its bytes, fragments of the message in order)
MNIST_FAULTS = {
    "bad magic": (IMAGES, lambda b: b"\0\0\x0d" + b[3:], "offset 0: found 00 00 0d 03", "08 03"),
    "labels for images": (IMAGES, lambda b: b"\0\0\x08\x01" + b[4:], "offset 0", "00 00 08 01"),
    "empty file": (LABELS, lambda b: b"", "offset 0: found nothing", "00 00 08 01"),
    "header cut": (IMAGES, lambda b: b[:9], "offset 4", "ends at 9", "expected sizes to 16"),
    "27 rows": (IMAGES, lambda b: b[:8] + size(27) + b[12:], "offset 8: found size 27", "28"),
    "29 columns": (TEST_IMAGES, lambda b: b[:12] + size(29) + b[16:], "offset 12", "29", "28"),
    "no images": (IMAGES, lambda b: b[:4] + size(0) + b[8:16], "offset 4", "0", "at least 1"),
    "short payload": (IMAGES, lambda b: b[:-1], "offset 16", "10191 bytes", "10192", "13 x 28"),
    "trailing bytes": (LABELS, lambda b: b + b"\0\0", "offset 8: found 15 bytes", "expected 13"),
    "huge promise": (LABELS, lambda b: b[:4] + size(2**32 - 1) + b[8:], "13 bytes", "4294967295"),
    "label 10": (LABELS, lambda b: b[:10] + b"\x0a" + b[11:], "offset 10: found label 10", "9"),
    "counts differ": (LABELS, lambda b: b[:4] + size(12) + b[8:-1], "12 labels", "13", IMAGES),
    "test counts differ": (TEST_LABELS, lambda b: b[:4] + size(3) + b[8:-1], "3 labels", "4"),
    "folder for a file": (LABELS, lambda b: None, "directory", "expected an IDX file"),
    "truncated gzip": (f"{IMAGES}.gz", lambda b: gzip.compress(b)[:-9], "ended", "whole gzip"),
    "not a gzip": (f"{LABELS}.gz", lambda b: b, "Not a gzipped file", "expected a whole gzip"),
    "gzip, wrong sum": (f"{LABELS}.gz", lambda b: gzip.compress(b)[:-8] + bytes(8), "CRC", "gzip"),
    "gzip, bad deflate": (f"{LABELS}.gz", lambda b: gzip.compress(b)[:10] + b"\xff" * 9, "gzip"),
    "gzip of nothing": (f"{LABELS}.gz", lambda b: gzip.compress(b""), "offset 0: found nothing"),
    "gzip, trailing": (f"{LABELS}.gz", lambda b: gzip.compress(b + b"\0"), "14 bytes", "13"),
}


@pytest.mark.parametrize("fault", MNIST_FAULTS)
def test_an_error_names_the_fault(tmp_path, mnist_files, fault):
    name, change, *fragments = MNIST_FAULTS[fault]
    files = dict(mnist_files)
    good = files.pop(name.removesuffix(".gz"))
    write(tmp_path / "mnist", {**files, name: change(good)})
    assert_refused("mnist", tmp_path, str(tmp_path / "mnist" / name), *fragments)


def test_at_least_6_training_images_are_required(tmp_path, mnist_files):
    few = {IMAGES: idx(np.zeros((5, 28, 28), np.uint8)), LABELS: idx(np.zeros(5, np.uint8))}
    write(tmp_path, {**mnist_files, **few})
    assert_refused("mnist", tmp_path, IMAGES, "found 5 images", "expected 6 or more")


@pytest.mark.parametrize("missing", [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS])
def test_an_error_names_the_missing_file(tmp_path, mnist_files, missing):
    write(tmp_path, {name: content for name, content in mnist_files.items() if name != missing})
    assert_refused("mnist", tmp_path, str(tmp_path), f"found no {missing}", f"{missing}.gz")


def test_real_mnist(real):
    data = real("mnist")
    assert [len(split) for split in parts(data).values()] == [50000, 10000, 10000]
    n = len(data.train) + len(data.valid)
    moments = [
        sum(float(np.sum(s.x**power, dtype=float)) for s in (data.train, data.valid)) / n / 784
        for power in (1, 2)
    ]
    assert moments[0] == pytest.approx(0.13066, abs=5e-6)
    assert (moments[1] - moments[0] ** 2) ** 0.5 == pytest.approx(0.30811, abs=5e-6)
    counts = np.bincount(data.test.y).tolist()
    assert counts == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
