"""Hostile and damaged tar and zip archives: bounded memory and time, and one line that says why."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from helpers.cifar_files import cifar_files, tar_gz
from helpers.data_files import assert_refused, npz, write
from helpers.mutations import mutants

from diptych.data import load
from diptych.data.bounded import Gunzip
from diptych.data.cifar10 import ARCHIVE
from diptych.data.npz import read_npz
from diptych.data.tars import read_files

MIB = 1 << 20


@pytest.fixture(scope="module")
def files():
    return cifar_files()


def refuses(call, *fragments):
    """Assert that `call` raises a one-line ValueError with the fragments, and return the peak."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message
    return peak


def member(name, size, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def zeros(count):
    """Yield `count` MiB of zeros."""
    for _ in range(count):
        yield bytes(MIB)


HOSTILE = {
    "a pax header of 40 MB": ([member("h", 40 * MIB, b"x"), *zeros(40)], "bytes of a pax header"),
    "a long name of 40 MB": ([member("h", 40 * MIB, b"L"), *zeros(40)], "or a long name"),
    "a global header of 40 MB": ([member("h", 40 * MIB, b"g"), *zeros(40)], "of a pax header"),
    "a file of 8 GB": ([member("big", 1 << 33)], "members of more than"),
    "a file of 2^80 bytes": ([member("big", 1 << 80)], "members of more than"),
    "2000 members": ([member("a", 0)] * 2000, "found more than 1000 members"),
    "40 MB after the end": ([bytes(2 * 512), *zeros(40)], "bytes, far more than needed"),
    "no header": ([b"some text " * 100], "no header of a tar member"),
    "a damaged header": ([member("a", 0).replace(b"a", b"b", 1)], "a damaged one"),
    "letters for a size": (
        [member("a", 0)[:124] + b"many" + member("a", 0)[128:]],
        "a damaged one",
    ),
    "a damaged pax header": ([member("h", 9, b"x"), b"99 path=a".ljust(512)], "damaged pax header"),
    "a pax size of letters": (
        [member("h", 11, b"x"), b"11 size=ab\n".ljust(512, b"\0")],
        "found the size 'ab'",
    ),
    "a header cut": ([member("a", 0)[:100]], "ended early"),
    "content cut": ([member("test.bin", 600), bytes(100)], "ended early"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_archive_is_refused_early(tmp_path, kind):
    parts, reason = HOSTILE[kind]
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.writelines(parts)

    def read():
        with path.open("rb") as file:
            read_files(path, Gunzip(file, path), ["test.bin"], 1000)

    assert refuses(read, str(path), "offset", reason, "a whole .tar.gz archive") < 4 * MIB


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("form", FORMATS)
def test_contents_are_those_that_tarfile_wrote(tmp_path, form):
    """Long paths, names that are not ASCII and sizes in every form of the format."""
    rng = np.random.default_rng(4)
    deep = "/".join(["folder" * 5] * (7 if form == "ustar" else 60))
    names = {"a.bin": f"{deep}/a.bin", "b.bin": "b.bin", "c.bin": "é/c.bin", "d.bin": "d/../d.bin"}
    contents = {
        name: rng.bytes(size) for name, size in zip(names, (0, 1, 512, 70_000), strict=True)
    }
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=FORMATS[form]) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(names[name])
            info.size, info.mtime = len(content), 1.5
            archive.addfile(info, io.BytesIO(content))
    with path.open("rb") as file:
        files = read_files(path, file, names, 70_000)
    assert files.contents == contents and not files.others and not files.repeated


def test_a_sparse_member_is_no_regular_file(tmp_path, files):
    records = b"22 GNU.sparse.major=1\n"
    pax = [member("h", len(records), b"x"), records.ljust(512, b"\0")]
    name = "data_batch_1.bin"
    for parts in ([*pax, member(name, 512), bytes(512)], [member(name, 512, b"S"), bytes(512)]):
        rest = gzip.decompress(tar_gz([item for item in files.items() if item[0] != name]))
        write(tmp_path, {ARCHIVE: gzip.compress(b"".join(parts) + rest)})
        assert_refused("cifar10", tmp_path, f"{name}: found no regular file")


def test_random_damage_to_a_tar_archive_is_one_line(tmp_path, files):
    small = {name: content[:3073] for name, content in files.items()}
    path = tmp_path / ARCHIVE
    for packed in (True, False):
        archive = tar_gz(small.items())
        for data in mutants(archive if packed else gzip.decompress(archive), 60, seed=packed):
            path.write_bytes(data)
            try:
                load("cifar10", tmp_path)
            except ValueError as error:
                assert str(tmp_path) in str(error) and "\n" not in str(error)


# zip


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
