"""Readers: what a good file gives, and the one line that a bad one gets."""

import gzip
import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from diptych.data import DATASETS, PARAMETRIC, Dataset, Split, load
from diptych.data.dataset import data_root, find_file, reading

SPLITS = ("train", "valid", "test")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NPZ = "binarized_mnist_larochelle_packed.npz"
AMAT = {split: f"binarized_mnist_{split}.amat" for split in SPLITS}


def parts(data):
    return {split: getattr(data, split) for split in SPLITS}


def assert_same(a, b):
    for split in SPLITS:
        ours, theirs = getattr(a, split), getattr(b, split)
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)


def write(folder, files):
    """Each file's bytes, or a folder in its place where they are None."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def assert_refused(name, root, *said):
    """`load` raises one ValueError, of one line, with every one of `said` in this order."""
    with pytest.raises(ValueError) as caught:
        load(name, root)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(".*".join(map(re.escape, said)), message), message


# The embedded digits


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_are_scikit_learns(digits):
    assert [len(split) for split in parts(digits).values()] == [1297, 200, 300]
    x, y = (np.concatenate([getattr(s, f) for s in parts(digits).values()]) for f in "xy")
    assert x.shape == (1797, 64) and digits.image_shape == (1, 8, 8)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (x * 16).sum(dtype=int) == 561718  # the sum of all of scikit-learn's pixels
    assert set(np.unique(x * 16)) == set(range(17))


def test_digits_split_is_fixed(digits):
    firsts = {split: part.y[:10].tolist() for split, part in parts(digits).items()}
    assert firsts == {
        "train": [5, 1, 1, 6, 0, 4, 6, 9, 1, 9],
        "valid": [1, 1, 7, 7, 2, 7, 3, 8, 4, 7],
        "test": [3, 1, 6, 0, 5, 5, 9, 6, 3, 1],
    }
    assert_same(digits, load("digits"))


def test_digits_splits_are_disjoint_and_keep_their_labels(digits):
    pixels, labels = load_digits(return_X_y=True)
    original = {row.tobytes(): y for row, y in zip(pixels, labels, strict=True)}
    assert len(original) == 1797  # no image occurs twice, so an image names its row
    split = [
        (np.float64(row * 16).tobytes(), y)
        for part in parts(digits).values()
        for row, y in zip(part.x, part.y, strict=True)
    ]
    assert len(split) == 1797 and dict(split) == original


# MNIST


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture(scope="module")
def mnist_files():
    """13 training images, of which 2 are valid, and 4 test images: name -> bytes of plain IDX."""
    rng = np.random.default_rng(1)
    files = {}
    for images, labels, n in ((IMAGES, LABELS, 13), (TEST_IMAGES, TEST_LABELS, 4)):
        files[images] = idx(rng.integers(0, 256, (n, 28, 28), np.uint8))
        files[labels] = idx(rng.integers(0, 10, n, np.uint8))
    return files


def test_mnist_reads_what_was_written(tmp_path, mnist_files):
    write(tmp_path, mnist_files)
    data = load("mnist", tmp_path)
    assert [len(split) for split in parts(data).values()] == [11, 2, 4]
    x, y = (np.concatenate([getattr(data.train, f), getattr(data.valid, f)]) for f in "xy")
    for got, name, start, scale in (
        (x, IMAGES, 16, 255),
        (y, LABELS, 8, 1),
        (data.test.x, TEST_IMAGES, 16, 255),
        (data.test.y, TEST_LABELS, 8, 1),
    ):
        assert np.rint(got * scale).astype(np.uint8).tobytes() == mnist_files[name][start:]
    assert data.image_shape == (1, 28, 28)
    assert data.found.startswith("mnist: 11 train, 2 valid and 4 test images of 28x28 with labels")
    assert str(tmp_path) in data.found


@pytest.mark.parametrize("folder", [".", "mnist"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("dotted", [False, True], ids=["dash", "dot"])
def test_mnist_spellings_are_the_same(tmp_path, mnist_files, folder, packed, dotted):
    files = {
        (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else ""): (
            gzip.compress(content) if packed else content
        )
        for name, content in mnist_files.items()
    }
    write(tmp_path / "expected", mnist_files)
    write(tmp_path / "got" / folder, files)
    assert_same(load("mnist", tmp_path / "got"), load("mnist", tmp_path / "expected"))


def size(n):
    return np.array(n, ">u4").tobytes()


# file: (the spelling the fault comes in, what becomes of its bytes, what the error says in order)
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
def test_mnist_fault_is_named(tmp_path, mnist_files, fault):
    name, change, *said = MNIST_FAULTS[fault]
    files = dict(mnist_files)
    good = files.pop(name.removesuffix(".gz"))
    write(tmp_path / "mnist", {**files, name: change(good)})
    assert_refused("mnist", tmp_path, str(tmp_path / "mnist" / name), *said)


def test_mnist_needs_an_image_for_valid(tmp_path, mnist_files):
    few = {IMAGES: idx(np.zeros((5, 28, 28), np.uint8)), LABELS: idx(np.zeros(5, np.uint8))}
    write(tmp_path, {**mnist_files, **few})
    assert_refused("mnist", tmp_path, IMAGES, "found 5 images", "expected 6 or more")


@pytest.mark.parametrize("missing", [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS])
def test_mnist_missing_file_is_named(tmp_path, mnist_files, missing):
    write(tmp_path, {name: content for name, content in mnist_files.items() if name != missing})
    assert_refused("mnist", tmp_path, str(tmp_path), f"found no {missing}", f"{missing}.gz")


# Static MNIST


@pytest.fixture(scope="module")
def bits():
    """split -> (N, 784) of {0, 1}."""
    rng = np.random.default_rng(2)
    sizes = {"train": 5, "valid": 3, "test": 2}
    return {split: rng.integers(0, 2, (n, 784), np.uint8) for split, n in sizes.items()}


@pytest.fixture(scope="module")
def packed(bits):
    return {split: np.packbits(rows, axis=1) for split, rows in bits.items()}


def npz(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def text(rows, blank=" ", one="1", zero="0", end="\n"):
    lines = [blank.join(one if pixel else zero for pixel in row) + end for row in rows]
    return "".join(lines).encode()


def amat(bits, **layout):
    return {AMAT[split]: text(rows, **layout) for split, rows in bits.items()}


LAYOUTS = {
    "npz": lambda bits, packed: {NPZ: npz(packed)},
    "npz compressed": lambda bits, packed: {NPZ: npz(packed, np.savez_compressed)},
    "npz by column": lambda bits, packed: {
        NPZ: npz({split: np.asfortranarray(rows) for split, rows in packed.items()})
    },
    "npz before amat": lambda bits, packed: {NPZ: npz(packed), AMAT["train"]: b"not looked at"},
    "amat": lambda bits, packed: amat(bits),
    "amat, tabs and CRLF": lambda bits, packed: amat(bits, blank="\t ", end=" \r\n"),
    "amat, reals": lambda bits, packed: amat(bits, one="1.000e+00", zero="0.0"),
}


@pytest.mark.parametrize("folder", [".", "static_mnist", "binarized_mnist"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_static_mnist_layouts_are_the_same(tmp_path, bits, packed, layout, folder):
    write(tmp_path / folder, LAYOUTS[layout](bits, packed))
    data = load("static_mnist", tmp_path)
    for split, part in parts(data).items():
        np.testing.assert_array_equal(part.x, bits[split])
        assert part.y is None
    assert data.found.startswith("static_mnist: 5 train, 3 valid and 2 test images of 28x28")
    assert str(tmp_path) in data.found and data.image_shape == (1, 28, 28)


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def flipped(data, inside):
    """`data` with one bit turned over, in the middle of `inside`."""
    place = data.index(inside) + len(inside) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


NPZ_FAULTS = {
    "missing key": (lambda p: npz({"train": p["train"], "test": p["test"]}), "key valid", "train"),
    "no keys": (lambda p: zipped({"notes.txt": b"?"}), "key train", "notes.txt", "train, valid"),
    "wrong width": (lambda p: npz({**p, "test": p["test"][:, 1:]}), "key test", "(2, 97)", "98"),
    "unpacked": (lambda p: npz({**p, "train": np.unpackbits(p["train"], 1)}), "(5, 784)", "98"),
    "one axis": (lambda p: npz({**p, "valid": p["valid"][0]}), "key valid", "(98,)", "(N, 98)"),
    "no axis": (lambda p: npz({**p, "valid": np.uint8(1)}), "key valid", "()", "(N, 98)"),
    "no rows": (lambda p: npz({**p, "train": p["train"][:0]}), "key train", "(0, 98)", "N >= 1"),
    "wrong dtype": (
        lambda p: npz({**p, "train": p["train"] + 0.0}),
        "key train",
        "float64",
        "uint8",
    ),
    "raw member": (lambda p: zipped(dict.fromkeys(SPLITS, b"?")), "key train", "raw", "(N, 98)"),
    "damaged": (lambda p: flipped(npz(p), p["valid"].tobytes()), "CRC", "(N, 98)", "key valid"),
    "cut": (lambda p: npz(p)[:-30], "not a zip", "expected an .npz"),
    "single array": (lambda p: npy(p["train"]), "offset 0: found 93 4e", "50 4b 03 04"),
    "web page": (lambda p: b"<!DOCTYPE html>", "offset 0: found 3c 21", "50 4b 03 04"),
    "empty file": (lambda p: b"", "offset 0: found nothing", "50 4b 03 04"),
    "folder for a file": (lambda p: None, "directory", "expected an .npz"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_npz_fault_is_named(tmp_path, packed, fault):
    change, *said = NPZ_FAULTS[fault]
    write(tmp_path, {NPZ: change(packed)})
    assert_refused("static_mnist", tmp_path, str(tmp_path / NPZ), *said)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("whole", [False, True], ids=["object array", "a pickle as the file"])
def test_pickle_is_never_opened(tmp_path, packed, whole):
    sprung = tmp_path / "sprung"
    trap = np.array([[Trap(sprung)] * 98], dtype=object)
    content = trap.dumps() if whole else npz({**packed, "train": trap})
    write(tmp_path, {NPZ: content})
    said = ["offset 0: found 80"] if whole else ["Object arrays cannot be loaded", "key train"]
    assert_refused("static_mnist", tmp_path, NPZ, *said)
    assert not sprung.exists()


def line(change):
    """Applies `change` to the values of the second line."""

    def changed(content):
        first, second, *rest = content.splitlines()
        return b"\n".join([first, b" ".join(change(second.split())), *rest, b""])

    return changed


AMAT_FAULTS = {
    "783 values": (line(lambda v: v[1:]), "line 2: found 783 values", "expected 784"),
    "785 values": (line(lambda v: [*v, b"1"]), "line 2: found 785 values", "expected 784"),
    "a 2": (line(lambda v: [*v[:6], b"2", *v[7:]]), "line 2: value 7: found 2,", "0 or 1"),
    "a half": (line(lambda v: [b"0.5", *v[1:]]), "line 2: value 1: found 0.5,", "0 or 1"),
    "a nan": (line(lambda v: [*v[1:], b"nan"]), "line 2: value 784: found nan,", "0 or 1"),
    "a word": (line(lambda v: [b"\xffone", *v[1:]]), "line 2: value 1: found \\xffone,", "0 or 1"),
    "joined values": (line(lambda v: [b"01", *v[2:]]), "line 2: found 783 values"),
    "10 for 1 0": (line(lambda v: [b"10", *v[1:]]), "line 2: value 1: found 10,", "0 or 1"),
    "blank line": (line(lambda v: []), "line 2: found 0 values", "expected 784"),
    "cut": (lambda content: content[:-9], "line 3: found", "expected 784"),
    "empty file": (lambda content: b"", "line 1: found an empty file", "784 values a line"),
    "folder for a file": (lambda content: None, "directory", "expected a text file"),
}


@pytest.mark.parametrize("fault", AMAT_FAULTS)
def test_amat_fault_is_named(tmp_path, bits, fault):
    change, *said = AMAT_FAULTS[fault]
    files = amat(bits)
    write(tmp_path, {**files, AMAT["valid"]: change(files[AMAT["valid"]])})
    assert_refused("static_mnist", tmp_path, str(tmp_path / AMAT["valid"]), *said)


@pytest.mark.parametrize("split", SPLITS)
def test_amat_missing_file_is_named(tmp_path, bits, split):
    files = amat(bits)
    del files[AMAT[split]]
    write(tmp_path / "static_mnist", files)
    assert_refused("static_mnist", tmp_path, "static_mnist: found no", AMAT[split])


# Names and folders


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("minst", "mnist"),
        ("MNIST", "mnist"),
        ("digit", "digits"),
        ("binarized_mnist", "static_mnist"),
        ("zzz", None),
    ],
)
def test_unknown_name_suggests_the_nearest(name, nearest):
    hint = f", did you mean {nearest!r}?" if nearest else ""
    with pytest.raises(ValueError) as caught:
        load(name)
    assert str(caught.value) == (
        f"name: got {name!r}, takes one of {', '.join(map(repr, (*DATASETS, *PARAMETRIC)))}{hint}"
    )


FROM_FILES = ["mnist", "static_mnist", "cifar10", "ptb", "ptb/characters"]


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("environment", [None, ""], ids=["unset", "empty"])
def test_no_root_says_how_to_set_it(monkeypatch, name, environment):
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    if environment is not None:
        monkeypatch.setenv("DIPTYCH_DATA", environment)
    assert_refused(name, None, "no data folder given", "--data-root", "variable DIPTYCH_DATA")


@pytest.mark.parametrize("name", FROM_FILES)
@pytest.mark.parametrize("by_argument", [True, False], ids=["root", "DIPTYCH_DATA"])
@pytest.mark.parametrize("found", ["nothing", "a file"])
def test_root_must_be_a_folder(tmp_path, monkeypatch, name, by_argument, found):
    root = tmp_path / "nowhere"
    if found == "a file":
        root.touch()
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path if by_argument else root))
    source = "root" if by_argument else "DIPTYCH_DATA"
    said = f"{source}: found {found} at {root}"
    assert_refused(name, root if by_argument else None, said, "expected a folder")


def test_root_argument_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "data").mkdir(parents=True)
    assert data_root() == tmp_path
    assert data_root(str(tmp_path / "home")) == tmp_path / "home"
    assert data_root("~/data") == tmp_path / "home" / "data"


def test_find_file_prefers_earlier_names_then_folders(tmp_path):
    for place in ("a/second", "b/first", "b/second"):
        write((tmp_path / place).parent, {Path(place).name: b""})
    assert find_file(tmp_path, ("first", "second"), ("a", "b")) == tmp_path / "b" / "first"
    assert find_file(tmp_path, ("second",), ("a", "b")) == tmp_path / "a" / "second"


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (EOFError(), "EOFError"),
        (RuntimeError("two\n  lines"), "two lines"),
    ],
)
def test_what_a_library_raises_becomes_one_line(error, said):
    with pytest.raises(ValueError) as caught, reading(Path("a.npz"), "an archive", Exception):
        raise error
    assert str(caught.value) == f"a.npz: {said}, expected an archive"


# What a Split and a Dataset hold to

X = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    "x, y, said",
    [
        (X.astype(float), None, "x: got float64"),
        (X[0], None, r"x: got float32 \(4,\)"),
        (X[:0], None, r"x: got float32 \(0, 4\)"),
        (X.T, None, "in C order"),
        (X - 0.1, None, r"x: got values from -0.1 .*takes \[0, 1\]"),
        (X + 1.5, None, r"x: got values .*to 1.5"),
        (X + np.float32("nan"), None, "x: got values from nan"),
        (X, np.zeros(2, np.int64), r"y: got int64 \(2,\), takes int64 \(3,\)"),
        (X, np.zeros(3, np.int32), "y: got int32"),
    ],
)
def test_split_refuses(x, y, said):
    with pytest.raises(ValueError, match=said):
        Split(x, y)


def test_dataset_refuses_a_width_that_is_not_its_images():
    good, wide = Split(X), Split(np.zeros((3, 5), np.float32))
    Dataset("toy", good, good, good, (1, 2, 2), "")
    with pytest.raises(ValueError, match=r"valid: got 5 values an image, takes 4 .*\(1, 2, 2\)"):
        Dataset("toy", good, wide, good, (1, 2, 2), "")


# The real files


@pytest.fixture
def real():
    if not os.environ.get("DIPTYCH_DATA"):
        pytest.skip("DIPTYCH_DATA is not set to the folder of the real data sets")
    return load


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


def test_real_static_mnist(real):
    data = real("static_mnist")
    assert [len(split) for split in parts(data).values()] == [50000, 10000, 10000]
    means = {split: part.x.mean(dtype=float) for split, part in parts(data).items()}
    expected = {"train": 0.130562, "valid": 0.131127, "test": 0.132512}
    assert means == pytest.approx(expected, abs=5e-7)
