"""The reader of MATLAB 5 matrices, against scipy's, on damaged files and on hostile ones."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers.fuzz.mutations import mutants
from scipy.io import loadmat, savemat, whosmat

from diptych.data.mat import read_matrices

MATLABS_FILES = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def saved(arrays, **options):
    file = io.BytesIO()
    savemat(file, arrays, **options)
    return file.getvalue()


def refuses(path, keys, *fragments, limit=10**6):
    with pytest.raises(ValueError) as caught:
        read_matrices(path, keys, limit)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    for fragment in fragments:
        assert fragment in message, message


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_dtypes_are_those_of_scipys_reader(tmp_path, dtype, compressed):
    """Sizes from 0 to 6 values of 1 byte reach small elements and every padding."""
    rng = np.random.default_rng(1)
    shapes = [(0, 3), (1, 1), (1, 2), (3, 1), (2, 2), (5, 1), (2, 3), (3, 4, 2)]
    arrays = {f"a{i}": rng.integers(0, 100, shape).astype(dtype) for i, shape in enumerate(shapes)}
    path = tmp_path / "a.mat"
    path.write_bytes(saved(arrays, do_compression=compressed))
    ours, witness = read_matrices(path, list(arrays), 100), loadmat(path)
    for key, array in arrays.items():
        np.testing.assert_array_equal(ours[key], witness[key], strict=True)
        np.testing.assert_array_equal(ours[key], array)


@pytest.mark.filterwarnings("ignore")
def test_files_that_matlab_wrote_are_read_as_scipy_reads_them():
    """Files of MATLAB 5 to 7.4 on Solaris (big-endian), Linux and Windows, where scipy has them."""
    read = 0
    for path in sorted(MATLABS_FILES.glob("*.mat")):
        try:
            names = [name for name, _, _ in whosmat(path)]
        except (ValueError, NotImplementedError, TypeError, zlib.error):
            names = ["x"]
        for name in names:
            try:
                ours = read_matrices(path, [name], 10**6)[name]
            except ValueError as error:
                assert str(path) in str(error)
                continue
            witness = loadmat(path, variable_names=[name])[name]
            np.testing.assert_array_equal(ours, witness)
            assert ours.dtype == witness.dtype.newbyteorder("=")
            read += 1
    if not read:
        pytest.skip("scipy was installed without the files of its tests")
    assert read >= 25


def swapped(array, name=b"x"):
    """Return a big-endian file of one uint16 matrix."""
    values = array.astype(">u2").tobytes(order="F")
    body = struct.pack(">IIII", 6, 8, 11, 0) + struct.pack(">II2i", 5, 8, *array.shape)
    body += struct.pack(">HH4s", len(name), 1, name) + struct.pack(">II", 4, len(values)) + values
    body += bytes(-len(values) % 8)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI"
    return header + struct.pack(">II", 14, len(body)) + body


def test_a_big_endian_file_is_read(tmp_path):
    array = np.arange(7, 13).reshape(2, 3)
    (tmp_path / "a.mat").write_bytes(swapped(array))
    matrix = read_matrices(tmp_path / "a.mat", ["x"], 6)["x"]
    np.testing.assert_array_equal(matrix, array)
    np.testing.assert_array_equal(matrix, loadmat(tmp_path / "a.mat")["x"])
    assert matrix.dtype == np.uint16


X = np.arange(12.0).reshape(3, 4) + 0.5
PLAIN = saved({"x": X})
"""Offsets: 128 tag, 136 flags, 152 dimensions, 168 name, 176 tag of the values, 184 values."""


def changed(offset, form, *values):
    data = bytearray(PLAIN)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


def compressed(data):
    packed = zlib.compress(data)
    return PLAIN[:128] + struct.pack("<II", 15, len(packed)) + packed


DAMAGED = {
    "type of the element": (changed(128, "<I", 9), "offset 128: found an element of type 9"),
    "size beyond the file": (changed(132, "<I", 1 << 31), "offset 128: found an element of 21"),
    "size too small": (changed(132, "<I", 90), "key x: found 42 bytes to the end, 96 are declared"),
    "type of the flags": (changed(136, "<I", 1), "offset 128: found flags of type 1"),
    "class": (changed(144, "<I", 1), "key x: found a cell array, expected a matrix of real"),
    "unknown class": (changed(144, "<I", 99), "key x: found class 99"),
    "complex": (changed(144, "<I", 6 | 1 << 11), "key x: found a complex matrix"),
    "type of the dimensions": (changed(152, "<I", 7), "found dimensions of type 7 and 8 bytes"),
    "many dimensions": (changed(156, "<I", 1 << 20), "found an element of 1048576 bytes"),
    "negative dimension": (changed(160, "<i", -3), "found dimensions (-3, 4), expected none below"),
    "huge dimensions": (
        changed(160, "<ii", 2**31 - 1, 2**31 - 1),
        "key x: found (2147483647, 2147483647), 4611686014132420609 values, expected at most",
    ),
    "other dimensions": (changed(160, "<i", 2), "key x: found an element of 96 bytes, expected 64"),
    "type of the name": (changed(168, "<H", 9), "found a name of type 9"),
    "length of the name": (changed(170, "<H", 5), "found an element of 5 bytes"),
    "another name": (changed(172, "<B", ord("y")), "key x: missing"),
    "type of the values": (changed(176, "<I", 40), "key x: found values of type 40"),
    "half the values": (changed(180, "<I", 48), "key x: found 48 bytes of float64, expected 96"),
    "cut": (PLAIN[:-1], "offset 128: found an element of 144 bytes, 1 too many"),
    "cut in a tag": (PLAIN + b"\0" * 5, "offset 280: found 5 bytes to the end, 8 are declared"),
    "twice": (PLAIN + PLAIN[128:], "key x: found it twice, expected it once"),
    "no zlib stream": (PLAIN[:128] + struct.pack("<II", 15, 9) + b"no stream", "damaged deflate"),
    "zlib cut": (compressed(PLAIN[128:])[:-4] + bytes(4), "CRC or length differs"),
    "zlib of half": (compressed(PLAIN[128:200]), "key x: found 16 bytes to the end"),
    "zlib goes on": (compressed(PLAIN[128:] + b"\0"), "key x: found a matrix that does not end"),
    "zlib of another size": (
        compressed(PLAIN[128:132] + struct.pack("<I", 999) + PLAIN[136:]),
        "key x: found a matrix that does not end after 999 bytes",
    ),
    "zlib of zlib": (compressed(compressed(PLAIN[128:])[128:]), "found an element of type 15"),
    "10001 elements": (PLAIN[:128] + PLAIN[128:280].replace(b"x", b"y") * 10_001, "10000 elements"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_every_field_is_checked_before_it_is_used(tmp_path, fault):
    data, reason = DAMAGED[fault]
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    refuses(path, ["x"], reason)


def test_a_byte_that_kills_scipys_reader_is_one_line(tmp_path):
    """The type of an element is changed to 40, which scipy takes as an index of a table in C."""
    pixels = np.zeros((4, 784), np.uint8)
    data = bytearray(saved({"train_data": pixels}))
    data[192] = 40
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    refuses(path, ["train_data"], "key train_data: found values of type 40")


def test_objects_without_dimensions_are_passed_over(tmp_path):
    """MATLAB stores strings, tables and dates as such objects: three names, and no values."""
    names = [struct.pack("<HH4s", 1, len(name), name) for name in (b"s", b"MCOS", b"a")]
    body = struct.pack("<IIII", 6, 8, 17, 0) + b"".join(names)
    path = tmp_path / "a.mat"
    path.write_bytes(PLAIN[:128] + struct.pack("<II", 14, len(body)) + body + PLAIN[128:])
    np.testing.assert_array_equal(read_matrices(path, ["x"], 12)["x"], X)


def test_a_small_file_cannot_fill_the_memory(tmp_path):
    """20 MB of zeros, wanted or not, are 20 KB in the file."""
    path = tmp_path / "a.mat"
    path.write_bytes(
        saved({"other": np.zeros((20, 1 << 20), np.uint8), "x": X}, do_compression=True)
    )
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_matrices(path, ["x"], 100)["x"], X)
        refuses(path, ["other"], "found (20, 1048576), 20971520 values", limit=10**7)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_random_damage_is_a_matrix_or_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "a.mat"
    arrays = {"x": X, "y": np.arange(5, dtype=np.uint8), "z": np.float32([[1]])}
    for packed in (False, True):
        for data in mutants(saved(arrays, do_compression=packed), 150, seed=packed):
            path.write_bytes(data)
            try:
                for key, matrix in read_matrices(path, list(arrays), 100).items():
                    assert matrix.size <= 100, key
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
