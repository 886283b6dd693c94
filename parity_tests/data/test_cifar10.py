"""CIFAR-10's reader, from files and from the archive; the digits in a size that conv VAEs take."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from helpers.data_files import SPLITS, Trap, assert_refused, write
from torch.nn import functional as F

from diptych.data import cifar10, load
from diptych.data.cifar10 import ARCHIVE, FOLDER, NAMES, RECORD, RECORDS

COUNTS = {
    "data_batch_1.bin": 3,
    "data_batch_2.bin": 1,
    "data_batch_3.bin": 2,
    "data_batch_4.bin": 4,
    "data_batch_5.bin": 5,
    "test_batch.bin": 6,
}


@pytest.fixture(scope="module")
def files():
    """name -> bytes, no two files or records alike."""
    rng = np.random.default_rng(3)
    made = {}
    for name, count in COUNTS.items():
        labels = rng.integers(0, 10, (count, 1), np.uint8)
        pixels = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
        made[name] = np.concatenate([labels, pixels.reshape(count, -1)], 1).tobytes()
    return made


def packed(members, folder=FOLDER):
    """A .tar.gz; what is no bytes is a ready TarInfo without content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.type, info.linkname = kind, str(target)
    return info


def assert_holds(data, files):
    """Every byte of the files is in the data, in order, channel-major."""
    for split, names in (("train", NAMES[:4]), ("valid", NAMES[4:5]), ("test", NAMES[5:])):
        part = getattr(data, split)
        again = np.rint(part.x * 255).astype(np.uint8)
        both = np.concatenate([part.y.astype(np.uint8)[:, None], again], 1).tobytes()
        assert both == b"".join(files[name] for name in names), split
        assert part.x.dtype == np.float32 and part.y.dtype == np.int64


def test_it_reads_what_was_written(tmp_path, files):
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
    "an archive in the root": lambda files: {".": {ARCHIVE: packed(files.items())}},
    "an archive in the folder": lambda files: {FOLDER: {ARCHIVE: packed(files.items())}},
    "an archive without a folder": lambda files: {".": {ARCHIVE: packed(files.items(), "")}},
    "an archive of more": lambda files: {
        ".": {ARCHIVE: packed([("batches.meta.txt", b"cat\n"), *reversed(files.items())])}
    },
    "files before an archive": lambda files: {FOLDER: files, ".": {ARCHIVE: b"not looked at"}},
    "beside the python version": lambda files: {FOLDER: files, "cifar-10-batches-py": {}},
}


@pytest.mark.parametrize("place", PLACES)
def test_places_are_the_same(tmp_path, files, place):
    for folder, contents in PLACES[place](files).items():
        write(tmp_path / folder, contents)
    before = sorted(tmp_path.rglob("*"))
    assert_holds(load("cifar10", tmp_path), files)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked"


@pytest.mark.parametrize("name", [ARCHIVE, "my copy.tar.gz"])
def test_the_archive_may_be_the_root(tmp_path, monkeypatch, files, name):
    write(tmp_path, {name: packed(files.items())})
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path / name))
    for root in (None, tmp_path / name):
        data = load("cifar10", root)
        assert_holds(data, files)
        assert str(tmp_path / name) in data.summary


def test_a_full_copy_is_not_called_truncated(tmp_path, monkeypatch, files):
    monkeypatch.setattr(cifar10, "RECORDS", 2)
    write(tmp_path, {name: bytes(2 * RECORD) for name in NAMES})
    data = load("cifar10", tmp_path)
    assert data.summary.startswith("cifar10: 8 train, 2 valid and 2 test images")
    assert data.summary.endswith(f"read from {tmp_path}")
    write(tmp_path, {"data_batch_5.bin": bytes(RECORD)})
    assert load("cifar10", tmp_path).summary.endswith(
        "a full copy has 2 images in each of its 6 files"
    )


def test_a_file_has_10000_records_and_not_one_more(tmp_path, files):
    full = bytes(10_000 * RECORD)
    write(tmp_path, {**files, "data_batch_5.bin": full})
    assert len(load("cifar10", tmp_path).valid) == 10_000
    write(tmp_path, {"data_batch_5.bin": full + bytes(RECORD)})
    said = "data_batch_5.bin: offset 30730000: found more than 10000 records"
    assert_refused("cifar10", tmp_path, said, "expected the file to end")


# what becomes of the third file's two records, and what the error says
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
def test_a_fault_is_named(tmp_path, files, fault, archived):
    change, *said = FAULTS[fault]
    name = "data_batch_3.bin"
    broken = {**files, name: change(files[name])}
    write(tmp_path, {ARCHIVE: packed(broken.items())} if archived else broken)
    assert_refused("cifar10", tmp_path, ARCHIVE if archived else str(tmp_path), name, *said)


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(tmp_path, files, missing):
    rest = {name: content for name, content in files.items() if name != missing}
    write(tmp_path / "files", rest)
    assert_refused("cifar10", tmp_path / "files", f"found no {missing}, expected {missing}")
    write(tmp_path / "archive", {ARCHIVE: packed(rest.items())})
    assert_refused(
        "cifar10", tmp_path / "archive", ARCHIVE, f"{missing}: missing, expected data_batch_1.bin"
    )


def test_a_folder_for_a_file_is_named(tmp_path, files):
    write(tmp_path, files)
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "test_batch.bin").mkdir()
    assert_refused(
        "cifar10", tmp_path, str(tmp_path / "test_batch.bin"), "directory", "a file of records"
    )


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


ARCHIVE_FAULTS = {
    "cut": (lambda f: packed(f.items())[:-2000], "ended", "expected a whole .tar.gz archive"),
    "cut in its checksum": (lambda f: packed(f.items())[:-3], "ended", "a whole .tar.gz archive"),
    "wrong checksum": (lambda f: flipped(packed(f.items()), -6), "CRC", "a whole .tar.gz archive"),
    "not a gzip": (lambda f: b"<!DOCTYPE html>", "Not a gzipped file", "a whole .tar.gz archive"),
    "not a tar": (lambda f: gzip.compress(b"no tar" * 200), "expected a whole .tar.gz archive"),
    "empty": (lambda f: b"", "expected a whole .tar.gz archive"),
    "twice": (
        lambda f: packed([*f.items(), ("test_batch.bin", f["test_batch.bin"])]),
        "test_batch.bin: found it twice",
    ),
    "too long": (
        lambda f: packed({**f, "test_batch.bin": bytes(RECORDS * RECORD + 1)}.items()),
        "test_batch.bin: offset 30730000: found more than 10000 records",
    ),
}


@pytest.mark.parametrize("fault", ARCHIVE_FAULTS)
def test_an_archives_fault_is_named(tmp_path, files, fault):
    make, *said = ARCHIVE_FAULTS[fault]
    write(tmp_path, {ARCHIVE: make(files)})
    assert_refused("cifar10", tmp_path, str(tmp_path / ARCHIVE), *said)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_in_an_archive_are_not_followed(tmp_path, files, kind):
    """To a good file outside, and to a good member inside."""
    write(tmp_path / "elsewhere", files)
    for target in (tmp_path / "elsewhere" / "test_batch.bin", "data_batch_1.bin"):
        members = {**files, "test_batch.bin": link("test_batch.bin", target, kind)}
        write(tmp_path, {ARCHIVE: packed(members.items())})
        assert_refused("cifar10", tmp_path, ARCHIVE, "test_batch.bin: found no regular file")


@pytest.mark.parametrize(
    "place", ["cifar-10-batches-py", "the root", "cifar-10-python.tar.gz", "the root's entry"]
)
def test_a_pickle_is_never_opened(tmp_path, place):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    root, said = tmp_path / "data", "cifar-10-python.tar.gz"
    if place in ("cifar-10-batches-py", "the root"):
        said = "data_batch_1" if place == "the root" else place
        write(root if place == "the root" else root / place, {"data_batch_1": trap})
    else:
        write(root, {said: packed([("data_batch_1", trap)], "cifar-10-batches-py")})
        root = root / said if place == "the root's entry" else root
    assert_refused(
        "cifar10", root, str(root), f"found {said}", "expected the binary version", ARCHIVE
    )
    assert not sprung.exists()


def test_without_any_copy_the_places_are_named(tmp_path):
    assert_refused(
        "cifar10", tmp_path, "found no data_batch_1.bin", ARCHIVE, str(tmp_path / FOLDER)
    )
    (tmp_path / "a.bin").touch()
    said = f"root: found a file at {tmp_path / 'a.bin'}", "expected a folder or a .tar.gz"
    assert_refused("cifar10", tmp_path / "a.bin", *said)


def test_the_real_truncated_files(real):
    data = real("cifar10")
    sizes = [len(getattr(data, split)) for split in SPLITS]
    if sizes != [7051, 1017, 1017]:
        pytest.skip(f"the numbers below are of a truncated copy, not of this one: {data.summary}")
    assert "truncated, a full copy has 10000" in data.summary
    every = np.concatenate([getattr(data, split).x for split in SPLITS]).reshape(-1, 3, 1024)
    # the published moments of the 50000 training images, which 9085 images can tell from
    # one another, from rows for columns of bytes and from a label among the pixels
    np.testing.assert_allclose(every.mean((0, 2), dtype=float), (0.4914, 0.4822, 0.4465), atol=5e-3)
    np.testing.assert_allclose(every.std((0, 2), dtype=float), (0.2470, 0.2435, 0.2616), atol=5e-3)
    assert all(count > 60 for count in np.bincount(data.test.y, minlength=10))
    images = data.test.x.reshape(-1, 3, 32, 32)
    for axis in (2, 3):  # neighbours are alike along both axes, if these are pixels
        assert np.abs(np.diff(images, axis=axis)).mean() < 0.4 * images.std()


# The digits enlarged


def test_enlarged_digits_are_torchs_bilinear_ones():
    small, large = load("digits"), load("digits16")
    assert large.image_shape == (1, 16, 16)
    assert large.summary.startswith("digits16: 1297 train, 200 valid and 300 test images")
    for split in SPLITS:
        ours, theirs = getattr(large, split), getattr(small, split)
        np.testing.assert_array_equal(ours.y, theirs.y)
        images = torch.from_numpy(theirs.x).view(-1, 1, 8, 8)
        witness = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
        np.testing.assert_array_equal(ours.x, witness.flatten(1).numpy())
