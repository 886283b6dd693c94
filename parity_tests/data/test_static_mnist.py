"""The reader of static MNIST, from an .npz or from text files, and errors of bad files."""

import io
import zipfile

import numpy as np
import pytest
from helpers.data_files import SPLITS, Trap, assert_refused, npz, parts, write

from diptych.data import load

NPZ = "binarized_mnist_larochelle_packed.npz"
AMAT = {split: f"binarized_mnist_{split}.amat" for split in SPLITS}


@pytest.fixture(scope="module")
def bits():
    """Expected pixels (N, 784) of {0, 1} by split."""
    rng = np.random.default_rng(2)
    sizes = {"train": 5, "valid": 3, "test": 2}
    return {split: rng.integers(0, 2, (n, 784), np.uint8) for split, n in sizes.items()}


@pytest.fixture(scope="module")
def packed(bits):
    return {split: np.packbits(rows, axis=1) for split, rows in bits.items()}


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
def test_all_layouts_give_the_same_pixels(tmp_path, bits, packed, layout, folder):
    write(tmp_path / folder, LAYOUTS[layout](bits, packed))
    data = load("static_mnist", tmp_path)
    for split, part in parts(data).items():
        np.testing.assert_array_equal(part.x, bits[split])
        assert part.y is None
    assert data.summary.startswith("static_mnist: 5 train, 3 valid and 2 test images of 28x28")
    assert str(tmp_path) in data.summary and data.image_shape == (1, 28, 28)


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


def flip_bit(data, part):
    """Flip one bit in the middle of `part` of the data."""
    index = data.index(part) + len(part) // 2
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


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
    "damaged": (lambda p: flip_bit(npz(p), p["valid"].tobytes()), "key valid", "CRC", "(N, 98)"),
    "cut": (lambda p: npz(p)[:-30], "not a zip", "expected an .npz"),
    "single array": (lambda p: npy(p["train"]), "offset 0: found 93 4e", "50 4b 03 04"),
    "web page": (lambda p: b"<!DOCTYPE html>", "offset 0: found 3c 21", "50 4b 03 04"),
    "empty file": (lambda p: b"", "offset 0: found nothing", "50 4b 03 04"),
    "folder for a file": (lambda p: None, "directory", "expected an .npz"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_an_error_names_the_fault_of_an_npz(tmp_path, packed, fault):
    change, *fragments = NPZ_FAULTS[fault]
    write(tmp_path, {NPZ: change(packed)})
    assert_refused("static_mnist", tmp_path, str(tmp_path / NPZ), *fragments)


@pytest.mark.parametrize("whole_file", [False, True], ids=["object array", "a pickle as the file"])
def test_a_pickle_is_never_opened(tmp_path, packed, whole_file):
    opened = tmp_path / "opened"
    trap = np.array([[Trap(opened)] * 98], dtype=object)
    content = trap.dumps() if whole_file else npz({**packed, "train": trap})
    write(tmp_path, {NPZ: content})
    fragments = ["key train", "Object arrays cannot be loaded"]
    if whole_file:
        fragments = ["offset 0: found 80"]
    assert_refused("static_mnist", tmp_path, NPZ, *fragments)
    assert not opened.exists()


def change_line(change):
    """Return a function that applies `change` to the values of the second line of a file."""

    def change_file(content):
        first, second, *rest = content.splitlines()
        return b"\n".join([first, b" ".join(change(second.split())), *rest, b""])

    return change_file


AMAT_FAULTS = {
    "783 values": (change_line(lambda v: v[1:]), "line 2: found 783 values", "expected 784"),
    "785 values": (change_line(lambda v: [*v, b"1"]), "line 2: found 785 values", "expected 784"),
    "a 2": (change_line(lambda v: [*v[:6], b"2", *v[7:]]), "line 2: value 7: found 2,", "0 or 1"),
    "a half": (change_line(lambda v: [b"0.5", *v[1:]]), "line 2: value 1: found 0.5,", "0 or 1"),
    "a nan": (change_line(lambda v: [*v[1:], b"nan"]), "line 2: value 784: found nan,", "0 or 1"),
    "a word": (
        change_line(lambda v: [b"\xffone", *v[1:]]),
        "line 2: value 1: found \\xffone,",
        "0 or 1",
    ),
    "joined values": (change_line(lambda v: [b"01", *v[2:]]), "line 2: found 783 values"),
    "10 for 1 0": (change_line(lambda v: [b"10", *v[1:]]), "line 2: value 1: found 10,", "0 or 1"),
    "blank line": (change_line(lambda v: []), "line 2: found 0 values", "expected 784"),
    "cut": (lambda content: content[:-9], "line 3: found", "expected 784"),
    "empty file": (lambda content: b"", "line 1: found an empty file", "784 values a line"),
    "folder for a file": (lambda content: None, "directory", "expected a text file"),
}


@pytest.mark.parametrize("fault", AMAT_FAULTS)
def test_an_error_names_the_fault_of_an_amat(tmp_path, bits, fault):
    change, *fragments = AMAT_FAULTS[fault]
    files = amat(bits)
    write(tmp_path, {**files, AMAT["valid"]: change(files[AMAT["valid"]])})
    assert_refused("static_mnist", tmp_path, str(tmp_path / AMAT["valid"]), *fragments)


@pytest.mark.parametrize("split", SPLITS)
def test_an_error_names_the_missing_amat(tmp_path, bits, split):
    files = amat(bits)
    del files[AMAT[split]]
    write(tmp_path / "static_mnist", files)
    assert_refused("static_mnist", tmp_path, "static_mnist: found no", AMAT[split])


def test_real_static_mnist(real):
    data = real("static_mnist")
    assert [len(split) for split in parts(data).values()] == [50000, 10000, 10000]
    means = {split: part.x.mean(dtype=float) for split, part in parts(data).items()}
    expected = {"train": 0.130562, "valid": 0.131127, "test": 0.132512}
    assert means == pytest.approx(expected, abs=5e-7)
