"""Hostile and damaged .npz archives: bounded memory and time, and one line that says why."""

import io
import struct
import zipfile

import numpy as np
import pytest
from helpers.data_files import npz
from helpers.fuzz.mutations import mutants
from helpers.refusals import refuses

from diptych.data.npz import read_npz

MIB = 1 << 20


def zipped(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(header, content=b"", version=1):
    """Return a .npy file with any header."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + content


def header(descr="'|u1'", order="False", shape="(2, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


X = np.arange(6, dtype=np.uint8).reshape(2, 3)
WHOLE = npz({"x": X})
DIRECTORY = WHOLE.index(b"PK\1\2")


def changed(offset, form, *values):
    data = bytearray(WHOLE)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


def doubled():
    """Return an archive whose directory has its one entry twice."""
    entry, end = WHOLE[DIRECTORY:-22], bytearray(WHOLE[-22:])
    struct.pack_into("<I", end, 12, 2 * len(entry))
    return WHOLE[:DIRECTORY] + entry * 2 + bytes(end)


def overlong():
    """Return a deflated member with more content than its size in the directory."""
    data = bytearray(zipped({"x.npy": npy(header(), bytes(50))}))
    size = len(npy(header(), bytes(6)))
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, size)
    return bytes(data)


ZIPS = {
    "40 MB of examples": (
        lambda: npz({"x": np.zeros((10**7, 3), np.uint8)}, np.savez_compressed),
        "found uint8 (10000000, 3) of more than 100000 examples",
    ),
    "less than declared": (
        lambda: zipped({"x.npy": npy(header(shape="(90000, 3)"), bytes(9))}),
        "found 9 bytes for (90000, 3)",
    ),
    "more than declared": (
        lambda: zipped({"x.npy": npy(header(), bytes(40 * MIB))}),
        "found a member that does not end after",
    ),
    "a long header": (
        lambda: zipped({"x.npy": npy(" " * (40 * MIB), version=2)}),
        "a header of 41943040 bytes",
    ),
    "a header of brackets": (
        lambda: zipped({"x.npy": npy("(" * 4000)}),
        "found the header '((((",
    ),
    "a huge size": (
        lambda: zipped({"x.npy": npy(header(shape=f"({'9' * 3000}, 3)"))}),
        "of more than 100000 examples",
    ),
    "many dimensions": (
        lambda: zipped({"x.npy": npy(header(shape=f"({'1, ' * 900})"))}),
        "found uint8 900 dimensions",
    ),
    "a header of nothing": (
        lambda: zipped({"x.npy": npy("") + bytes(9)}, zipfile.ZIP_STORED),
        "found the header",
    ),
    "a shape that is not one": (
        lambda: zipped({"x.npy": npy(header(shape="(2 3)"))}),
        "found the header",
    ),
    "a structured dtype": (
        lambda: zipped({"x.npy": npy(header("[('a', '|u1')]"))}),
        "found a structured dtype (2, 3)",
    ),
    "an unknown dtype": (
        lambda: zipped({"x.npy": npy(header("'|V7,(9999999,)f8'"))}),
        "found dtype '|V7,(9999999,)f8' (2, 3)",
    ),
    "half a float": (lambda: zipped({"x.npy": npy(header("'<f2'"))}), "found float16 (2, 3)"),
    "bzip2": (lambda: zipped({"x.npy": npy(header())}, zipfile.ZIP_BZIP2), "packed by bzip2"),
    "LZMA": (lambda: zipped({"x.npy": npy(header())}, zipfile.ZIP_LZMA), "packed by LZMA"),
    "encrypted": (lambda: changed(DIRECTORY + 8, "<H", 1), "an encrypted zip member"),
    "wrong CRC": (lambda: changed(DIRECTORY + 16, "<I", 1), "CRC differs"),
    "wrong size": (lambda: changed(DIRECTORY + 24, "<I", 99), "found 0 bytes for (2, 3)"),
    "wrong place": (lambda: changed(DIRECTORY + 42, "<I", 1), "no header of a zip member"),
    "another name": (lambda: changed(30, "<B", ord("y")), "another name than in the directory"),
    "a directory cut": (lambda: changed(DIRECTORY + 28, "<H", 999), "a damaged zip directory"),
    "a directory that is far away": (
        lambda: changed(len(WHOLE) - 6, "<I", 7),
        "a zip directory that does not end there",
    ),
    "a directory of 2 GB": (
        lambda: changed(len(WHOLE) - 10, "<I", 1 << 31),
        "a zip directory of 2147483648 bytes",
    ),
    "20000 members": (
        lambda: zipped({f"{i:08}": b"" for i in range(20_000)}, zipfile.ZIP_STORED),
        "found a zip directory of 1080000 bytes",
    ),
    "a member twice": (doubled, "found it twice"),
    "deflated bytes after the end": (overlong, "does not end after 76 bytes"),
    "no end": (lambda: WHOLE[:-10], "no end record, not a zip file"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_hostile_npz_is_refused_by_its_headers(tmp_path, kind):
    make, reason = ZIPS[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(make())
    assert refuses(lambda: read_npz(path, ["x"], (3,)), str(path), reason) < 4 * MIB


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path, version, save):
    rng = np.random.default_rng(2)
    path = tmp_path / "a.npz"
    arrays = {"c": rng.integers(0, 256, (50, 4, 3), np.uint8), "é": np.ones((1, 4, 3), np.uint8)}
    arrays["fortran"] = np.asfortranarray(arrays["c"])
    save(path, **arrays)
    if version > 1:
        contents = {}
        for key, array in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, array, (version, 0))
            contents[f"{key}.npy"] = file.getvalue()
        path.write_bytes(zipped(contents))
    with np.load(path) as witness:
        for key, array in zip(arrays, read_npz(path, list(arrays), (4, 3)), strict=True):
            np.testing.assert_array_equal(array, witness[key], strict=True)


def test_random_damage_to_an_npz_is_an_array_or_one_line(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"x": np.arange(300, dtype=np.uint8).reshape(100, 3), "y": X}
    for save in (np.savez, np.savez_compressed):
        for data in mutants(npz(arrays, save), 200):
            path.write_bytes(data)
            try:
                read_npz(path, ["x", "y"], (3,))
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
