"""Files of other formats are named, and files that promise much take little memory."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from helpers.data_files import assert_refused, idx, npz, write
from helpers.image_files import grey, strokes, write_idx, write_text

IMAGES = "train-images-idx3-ubyte"
FOREIGN = {
    "gzip": (gzip.compress, "it is gzipped"),
    "zip": (lambda good: npz({"a": np.zeros(3)}), "a zip archive"),
    "pickle": (lambda good: b"\x80\x04\x95\x0b\0\0\0\0\0\0\0", "a pickle"),
    "page": (lambda good: b"<!DOCTYPE html><html>404</html>", "an HTML page"),
    "LFS": (lambda good: b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "HDF5": (lambda good: b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "UTF-16": (lambda good: "0,1,2\n3,4,5\n".encode("utf-16"), "UTF-16 text"),
    "csv": (lambda good: b"label,pixel1,pixel2\n5,0,0\n", "csv text"),
    "float32": (lambda good: b"\0\0\x0d\x03" + good[4:], "an IDX file of float32"),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_a_foreign_form_is_named(tmp_path, form):
    write_idx(tmp_path, grey(13), np.arange(13) % 10)
    change, name = FOREIGN[form]
    write(tmp_path, {IMAGES: change((tmp_path / IMAGES).read_bytes())})
    assert_refused("mnist", tmp_path, f"{tmp_path / IMAGES}: offset 0: found", name, "expected")


@pytest.mark.parametrize("form", [form for form in FOREIGN if form != "float32"])
def test_a_foreign_form_is_named_in_place_of_text(tmp_path, form):
    write_text(tmp_path, strokes(3))
    path = tmp_path / "binarized_mnist_train.amat"
    path.write_bytes(FOREIGN[form][0](path.read_bytes()))
    name = "a gzip file" if form == "gzip" else FOREIGN[form][1]
    assert_refused("static_mnist", tmp_path, f"{path}: found {name}", "expected a text file")


HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 100_000_000, 28, 28)


@pytest.fixture
def peak_memory():
    """(function) -> the most bytes that Python's and NumPy's allocations take during a call."""

    def measure(function):
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


BOMBS = {
    "huge header": (
        HUGE + bytes(99),
        "offset 4: found 100000000 x 28 x 28 bytes, expected at most",
    ),
    "endless zeros": (idx(np.zeros((6, 28, 28), np.uint8)) + bytes(1 << 26), "bytes"),
    "long line": (b"0" * (1 << 26), "line"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_little_memory_is_used_for_a_gzip_that_promises_much(tmp_path, peak_memory, bomb):
    content, fragment = BOMBS[bomb]
    write_idx(tmp_path, grey(13), np.arange(13) % 10)
    write_text(tmp_path, strokes(3))
    path = tmp_path / ("binarized_mnist_train.amat" if bomb == "long line" else IMAGES)
    path.unlink()
    path = path.with_name(f"{path.name}.gz")
    path.write_bytes(gzip.compress(content))
    content = None
    name = "static_mnist" if bomb == "long line" else "mnist"
    peak = peak_memory(lambda: assert_refused(name, tmp_path, f"{path}: ", fragment))
    assert peak < 2e6, peak
