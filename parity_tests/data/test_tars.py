"""Hostile and damaged tar archives: bounded memory and time, and one line that says why."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from helpers.cifar_files import cifar_files, tar_gz
from helpers.data_files import assert_refused, write
from helpers.fuzz.mutations import mutants
from helpers.refusals import refuses

from diptych.data import load
from diptych.data.bounded import Gunzip
from diptych.data.cifar10 import ARCHIVE
from diptych.data.tars import read_files

MIB = 1 << 20


@pytest.fixture(scope="module")
def files():
    return cifar_files()


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
    "a damaged pax header": (
        [member("h", 10, b"x"), b"99 path=a\n".ljust(512)],
        "damaged pax header",
    ),
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


def test_of_a_large_file_one_byte_more_than_allowed_is_kept(tmp_path):
    archive = tar_gz([("a.bin", bytes(5000)), ("b.bin", b"b" * 10)])
    files = read_files("a.tar", io.BytesIO(gzip.decompress(archive)), ["a.bin", "b.bin"], 700)
    assert files.contents == {"a.bin": bytes(701), "b.bin": b"b" * 10}


def test_a_link_with_a_size_has_no_content():
    """Some programs store the size of a file with each hard link to it."""
    archive = gzip.decompress(tar_gz([("a.bin", b"content")]))
    archive = member("link", 5000, tarfile.LNKTYPE) + archive
    files = read_files("a.tar", io.BytesIO(archive), ["a.bin"], 700)
    assert files.contents == {"a.bin": b"content"} and files.others == ["link"]


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
