"""The reader of CIFAR-10, from files and from the archive; and the enlarged digits."""

import gzip
import pickle
import tarfile

import numpy as np
import pytest
import torch
from helpers.cifar_files import assert_holds, cifar_files, tar_gz
from helpers.data_files import SPLITS, Trap, assert_refused, write
from torch.nn import functional as F

from diptych.data import cifar10, load
from diptych.data.cifar10 import ARCHIVE, FOLDER, NAMES, RECORD, RECORDS


@pytest.fixture(scope="module")
def files():
    """Bytes of the six files by name, with random records."""
    return cifar_files()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.type, info.linkname = kind, str(target)
    return info


def test_images_and_labels_are_those_of_the_files(tmp_path, files):
    write(tmp_path, files)
    data = load("cifar10", tmp_path)
    assert_holds(data, files)
    assert data.image_shape == (3, 32, 32)
    record = np.frombuffer(files["test_batch.bin"], np.uint8)[4 * RECORD :][:RECORD]
    image, green = data.test.x.reshape(-1, 3, 32, 32)[4], record[1 + 1024 + 32 * 7 + 5]
    assert image[1, 7, 5] == np.float32(green) / np.float32(255)
    assert data.summary == (
        "cifar10: 10 train, 5 valid and 6 test images of 3x32x32 with labels, read from "
        f"{tmp_path}; truncated, a full copy has 10000 images in each of its 6 files"
    )


PLACES = {
    "the folder in the root": lambda files: {FOLDER: files},
    "the root": lambda files: {".": files},
    "an archive in the root": lambda files: {".": {ARCHIVE: tar_gz(files.items())}},
    "an archive in the folder": lambda files: {FOLDER: {ARCHIVE: tar_gz(files.items())}},
    "an archive without a folder": lambda files: {".": {ARCHIVE: tar_gz(files.items(), "")}},
    "an archive of more": lambda files: {
        ".": {ARCHIVE: tar_gz([("batches.meta.txt", b"cat\n"), *reversed(files.items())])}
    },
    "files before an archive": lambda files: {FOLDER: files, ".": {ARCHIVE: b"not looked at"}},
    "beside the python version": lambda files: {FOLDER: files, "cifar-10-batches-py": {}},
}


@pytest.mark.parametrize("place", PLACES)
def test_files_are_read_from_every_place(tmp_path, files, place):
    for folder, contents in PLACES[place](files).items():
        write(tmp_path / folder, contents)
    before = sorted(tmp_path.rglob("*"))
    assert_holds(load("cifar10", tmp_path), files)
    assert sorted(tmp_path.rglob("*")) == before, "the reader unpacked something"


@pytest.mark.parametrize("name", [ARCHIVE, "my copy.tar.gz"])
def test_the_archive_may_be_the_root(tmp_path, monkeypatch, files, name):
    write(tmp_path, {name: tar_gz(files.items())})
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / name))
    for root in (None, tmp_path / name):
        data = load("cifar10", root)
        assert_holds(data, files)
        assert str(tmp_path / name) in data.summary


def test_the_summary_does_not_call_a_full_copy_truncated(tmp_path, monkeypatch, files):
    monkeypatch.setattr(cifar10, "RECORDS", 2)
    write(tmp_path, {name: (b"\0" + bytes([200 + i]) * 3072) * 2 for i, name in enumerate(NAMES)})
    data = load("cifar10", tmp_path)
    assert data.summary.startswith("cifar10: 8 train, 2 valid and 2 test images")
    assert data.summary.endswith(f"read from {tmp_path}")
    write(tmp_path, {"data_batch_5.bin": bytes(RECORD)})
    assert load("cifar10", tmp_path).summary.endswith(
        "a full copy has 2 images in each of its 6 files"
    )


def test_a_file_holds_at_most_10000_records(tmp_path, files):
    full = bytes(10_000 * RECORD)
    write(tmp_path, {**files, "data_batch_5.bin": full})
    assert len(load("cifar10", tmp_path).valid) == 10_000
    write(tmp_path, {"data_batch_5.bin": full + bytes(RECORD)})
    message = "data_batch_5.bin: offset 30730000: found more than 10000 records"
    assert_refused("cifar10", tmp_path, message, "expected the file to end")


# fault: (change to the third file, which has two records; fragments of the message)
FAULTS = {
    "cut": (lambda b: b[:-1], "offset 3073: found 3072 bytes to the end", "3073 bytes"),
    "a byte more": (lambda b: b + b"\0", "offset 6146: found 1 bytes to the end", "3073 bytes"),
    "empty file": (lambda b: b"", "offset 0: found nothing", "at least 1"),
    "label 10": (
        lambda b: b[:RECORD] + b"\x0a" + b[RECORD + 1 :],
        "record 1: found label 10",
        "expected 0 to 9",
    ),
    "shifted by one": (lambda b: b"\xff" + b[:-1], "record 0: found label 255", "0 to 9"),
}


@pytest.mark.parametrize("archived", [False, True], ids=["file", "archive"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_names_the_fault(tmp_path, files, fault, archived):
    change, *fragments = FAULTS[fault]
    name = "data_batch_3.bin"
    broken = {**files, name: change(files[name])}
    write(tmp_path, {ARCHIVE: tar_gz(broken.items())} if archived else broken)
    assert_refused("cifar10", tmp_path, ARCHIVE if archived else str(tmp_path), name, *fragments)


@pytest.mark.parametrize("missing", NAMES)
def test_an_error_names_the_missing_file(tmp_path, files, missing):
    rest = {name: content for name, content in files.items() if name != missing}
    write(tmp_path / "files", rest)
    assert_refused("cifar10", tmp_path / "files", f"found no {missing}, expected {missing}")
    write(tmp_path / "archive", {ARCHIVE: tar_gz(rest.items())})
    assert_refused(
        "cifar10", tmp_path / "archive", ARCHIVE, f"{missing}: missing, expected data_batch_1.bin"
    )


def test_an_error_names_a_folder_in_place_of_a_file(tmp_path, files):
    write(tmp_path, files)
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "test_batch.bin").mkdir()
    assert_refused(
        "cifar10", tmp_path, str(tmp_path / "test_batch.bin"), "found a directory, expected a file"
    )


def flip_bit(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


ARCHIVE_FAULTS = {
    "cut": (lambda f: tar_gz(f.items())[:-2000], "ended", "expected a whole .tar.gz archive"),
    "cut in its checksum": (lambda f: tar_gz(f.items())[:-3], "ended", "a whole .tar.gz archive"),
    "wrong checksum": (lambda f: flip_bit(tar_gz(f.items()), -6), "CRC", "a whole .tar.gz archive"),
    "not a gzip": (lambda f: b"<!DOCTYPE html>", "found an HTML page", "a whole .tar.gz archive"),
    "not a tar": (lambda f: gzip.compress(b"no tar" * 200), "expected a whole .tar.gz archive"),
    "empty": (lambda f: b"", "expected a whole .tar.gz archive"),
    "twice": (
        lambda f: tar_gz([*f.items(), ("test_batch.bin", f["test_batch.bin"])]),
        "test_batch.bin: found it twice",
    ),
    "too long": (
        lambda f: tar_gz({**f, "test_batch.bin": bytes(RECORDS * RECORD + 1)}.items()),
        "test_batch.bin: offset 30730000: found more than 10000 records",
    ),
}


@pytest.mark.parametrize("fault", ARCHIVE_FAULTS)
def test_an_error_names_the_fault_of_an_archive(tmp_path, files, fault):
    make, *fragments = ARCHIVE_FAULTS[fault]
    write(tmp_path, {ARCHIVE: make(files)})
    assert_refused("cifar10", tmp_path, str(tmp_path / ARCHIVE), *fragments)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_in_an_archive_are_not_followed(tmp_path, files, kind):
    """Neither a link to a file outside the archive nor one to another member is followed."""
    write(tmp_path / "elsewhere", files)
    for target in (tmp_path / "elsewhere" / "test_batch.bin", "data_batch_1.bin"):
        members = {**files, "test_batch.bin": link("test_batch.bin", target, kind)}
        write(tmp_path, {ARCHIVE: tar_gz(members.items())})
        assert_refused("cifar10", tmp_path, ARCHIVE, "test_batch.bin: found no regular file")


@pytest.mark.parametrize(
    "place", ["cifar-10-batches-py", "the root", "cifar-10-python.tar.gz", "the root's entry"]
)
def test_a_pickle_is_never_opened(tmp_path, place):
    opened = tmp_path / "opened"
    trap = pickle.dumps(Trap(opened))
    root, name = tmp_path / "data", "cifar-10-python.tar.gz"
    if place in ("cifar-10-batches-py", "the root"):
        name = "data_batch_1" if place == "the root" else place
        write(root if place == "the root" else root / place, {"data_batch_1": trap})
    else:
        write(root, {name: tar_gz([("data_batch_1", trap)], "cifar-10-batches-py")})
        root = root / name if place == "the root's entry" else root
    assert_refused(
        "cifar10", root, str(root), f"found {name}", "expected the binary version", ARCHIVE
    )
    assert not opened.exists()


def test_an_error_lists_where_files_are_looked_for(tmp_path):
    assert_refused(
        "cifar10", tmp_path, "found no data_batch_1.bin", ARCHIVE, str(tmp_path / FOLDER)
    )
    (tmp_path / "a.bin").touch()
    fragments = f"root: found a file at {tmp_path / 'a.bin'}", "expected a folder or a .tar.gz"
    assert_refused("cifar10", tmp_path / "a.bin", *fragments)


def test_real_cifar10(real):
    data = real("cifar10")
    sizes = [len(getattr(data, split)) for split in SPLITS]
    if sizes != [7051, 1017, 1017]:
        pytest.skip(f"the numbers below are of a truncated copy, not of this one: {data.summary}")
    assert "truncated, a full copy has 10000" in data.summary
    every = np.concatenate([getattr(data, split).x for split in SPLITS]).reshape(-1, 3, 1024)
    # the published moments of the 50000 training images; a wrong order of the bytes or a label
    # among the pixels would differ from them by more than the tolerance
    np.testing.assert_allclose(every.mean((0, 2), dtype=float), (0.4914, 0.4822, 0.4465), atol=5e-3)
    np.testing.assert_allclose(every.std((0, 2), dtype=float), (0.2470, 0.2435, 0.2616), atol=5e-3)
    assert all(count > 60 for count in np.bincount(data.test.y, minlength=10))
    images = data.test.x.reshape(-1, 3, 32, 32)
    for axis in (2, 3):  # neighbouring pixels are similar along both axes
        assert np.abs(np.diff(images, axis=axis)).mean() < 0.4 * images.std()


# The digits enlarged


def test_enlarged_digits_are_those_of_bilinear_interpolation_in_torch():
    small, large = load("digits"), load("digits16")
    assert large.image_shape == (1, 16, 16)
    assert large.summary.startswith("digits16: 1297 train, 200 valid and 300 test images")
    for split in SPLITS:
        enlarged, original = getattr(large, split), getattr(small, split)
        np.testing.assert_array_equal(enlarged.y, original.y)
        images = torch.from_numpy(original.x).view(-1, 1, 8, 8)
        expected = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
        np.testing.assert_array_equal(enlarged.x, expected.flatten(1).numpy())
