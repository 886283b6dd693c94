"""Places and forms of CIFAR-10's files, and files that are those of another data set."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from helpers.cifar_files import assert_holds, cifar_files, tar_gz
from helpers.data_files import assert_refused, write

from diptych.data import load
from diptych.data.cifar10 import ARCHIVE, FOLDER, NAMES, RECORD


@pytest.fixture(scope="module")
def files():
    return cifar_files()


@pytest.mark.parametrize("parent", ["cifar10", "CIFAR10", "cifar-10"])
@pytest.mark.parametrize("folder", [".", FOLDER])
@pytest.mark.parametrize("archived", [False, True], ids=["files", "archive"])
def test_a_folder_of_the_data_sets_name_is_searched(tmp_path, files, parent, folder, archived):
    contents = {ARCHIVE: tar_gz(files.items())} if archived else files
    write(tmp_path / parent / folder, contents)
    assert_holds(load("cifar10", tmp_path), files)


def test_an_archive_without_compression_is_read(tmp_path, files):
    """Some browsers unpack the gzip part of a download and drop .gz from its name."""
    write(tmp_path, {"cifar-10-binary.tar": gzip.decompress(tar_gz(files.items()))})
    assert_holds(load("cifar10", tmp_path), files)
    (tmp_path / "cifar-10-binary.tar").rename(tmp_path / ARCHIVE)
    assert_holds(load("cifar10", tmp_path), files)


HALVES = {
    "three files": lambda files: {name: files[name] for name in NAMES[:3]},
    "the last file": lambda files: {name: files[name] for name in NAMES[5:]},
    "a folder for the last file": lambda files: {**files, "test_batch.bin": None},
    "an empty folder": lambda files: {},
}


@pytest.mark.parametrize("half", HALVES)
def test_an_archive_is_read_beside_a_half_unpacked_folder(tmp_path, files, half):
    write(tmp_path, {ARCHIVE: tar_gz(files.items())})
    write(tmp_path / FOLDER, HALVES[half](files))
    data = load("cifar10", tmp_path)
    assert_holds(data, files)
    assert f"read from {tmp_path / ARCHIVE}" in data.summary


def test_a_whole_folder_is_read_beside_a_half_unpacked_one(tmp_path, files):
    write(tmp_path / FOLDER, {name: files[name] for name in NAMES[:3]})
    write(tmp_path / "cifar10", files)
    assert_holds(load("cifar10", tmp_path), files)


def test_a_file_that_was_cut_while_it_was_unpacked_points_to_the_archive(tmp_path, files):
    write(tmp_path, {ARCHIVE: tar_gz(files.items())})
    write(tmp_path / FOLDER, {**files, "test_batch.bin": files["test_batch.bin"][:-9]})
    archive = str(tmp_path / ARCHIVE)
    message = "test_batch.bin: offset 15365: found 3064 bytes to the end"
    assert_refused("cifar10", tmp_path, message, f"{archive} is read if", FOLDER, "is moved away")


def members(archive):
    """Return the (name, content) pairs of an archive in memory."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as contents:
        return [(member.name, contents.extractfile(member).read()) for member in contents]


def fine(n):
    """Return `n` records of CIFAR-100, with a coarse and a fine label."""
    return b"".join(bytes([7, 9]) + bytes(range(256)) * 12 for _ in range(n))


def binary(content):
    return (np.frombuffer(content, np.uint8) // 129).tobytes()


FOREIGN = {
    "folder of CIFAR-100": (
        lambda files: {"cifar-100-binary": None},
        "found cifar-100-binary, CIFAR-100, expected the binary version of CIFAR-10",
    ),
    "archive of CIFAR-100": (
        lambda files: {"cifar-100-binary.tar.gz": b""},
        "found cifar-100-binary.tar.gz, CIFAR-100,",
    ),
    "archive of CIFAR-100 under the name": (
        lambda files: {ARCHIVE: tar_gz([("train.bin", fine(2))], "cifar-100-binary")},
        f"{ARCHIVE}: found cifar-100-binary, CIFAR-100",
    ),
    "archive of pickles under the name": (
        lambda files: {ARCHIVE: tar_gz([("data_batch_1", b"\x80\2}q")], "cifar-10-batches-py")},
        "found cifar-10-batches-py, the python version of CIFAR-10",
    ),
    "records of CIFAR-100": (
        lambda files: {**files, "data_batch_2.bin": fine(3)},
        "data_batch_2.bin: found records of 3074 bytes, as CIFAR-100 has them",
    ),
    "a pickle": (
        lambda files: {**files, "data_batch_2.bin": b"\x80\2}q\0" + bytes(RECORD - 5)},
        "data_batch_2.bin: found a pickle",
    ),
    "a gzip file": (
        lambda files: {**files, "data_batch_3.bin": gzip.compress(files["data_batch_3.bin"])},
        "data_batch_3.bin: found a gzip file, expected records of 3073 bytes",
    ),
    "a zip archive": (
        lambda files: {ARCHIVE: b"PK\3\4" + bytes(900)},
        "found a zip archive (.zip, .npz or torch.save), not a gzip file",
    ),
    "a pointer": (
        lambda files: {ARCHIVE: b"version https://git-lfs.github.com/spec/v1\noid sha256:0"},
        "found a Git LFS pointer",
    ),
    "the same file twice": (
        lambda files: {**files, "test_batch.bin": files["data_batch_4.bin"]},
        "test_batch.bin: found the images of data_batch_4.bin again",
    ),
    "a part of a file": (
        lambda files: {**files, "test_batch.bin": files["data_batch_5.bin"][: 2 * RECORD]},
        "test_batch.bin: found the images of data_batch_5.bin again",
    ),
    "pixels 0 and 1": (
        lambda files: {
            name: (np.frombuffer(b, "u1") // 129).tobytes() for name, b in files.items()
        },
        "largest byte is 1, expected grey 0 .. 255",
    ),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_files_of_another_form_are_named(tmp_path, files, form):
    make, *fragments = FOREIGN[form]
    write(tmp_path, make(files))
    assert_refused("cifar10", tmp_path, str(tmp_path), *fragments)
