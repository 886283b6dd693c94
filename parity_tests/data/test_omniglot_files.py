"""OMNIGLOT from the IWAE paper's chardata.mat, and the scale, polarity and counts of both files."""

import io

import numpy as np
import pytest
from helpers.data_files import assert_refused, npz, parts, write
from scipy.io import savemat

from diptych.data import load, omniglot
from diptych.data.omniglot import MAT, NPZ


@pytest.fixture(scope="module")
def characters():
    """Images of 28x28 in 0 .. 1 with a fifth of their pixels bright: 30 to train, 4 to test."""
    rng = np.random.default_rng(8)
    return {
        key: np.where(rng.random((n, 28, 28)) < 0.2, rng.random((n, 28, 28)), 0)
        for key, n in (("data", 30), ("testdata", 4))
    }


def chardata(characters, **changes):
    """Return a chardata.mat: an image a column, the pixels of each down its columns."""
    columns = {
        key: np.stack([image.flatten(order="F") for image in images], axis=1)
        for key, images in characters.items()
    }
    labels = {"target": np.ones((50, 30)), "targetchar": np.ones((1, 30))}
    file = io.BytesIO()
    savemat(file, labels | columns | changes, do_compression=True)
    return file.getvalue()


@pytest.mark.parametrize("folder", [".", "omniglot", "OMNIGLOT"])
def test_images_of_the_mat_are_upright(tmp_path, characters, folder):
    write(tmp_path / folder, {MAT: chardata(characters)})
    data = load("omniglot", tmp_path)
    train, test = characters["data"], characters["testdata"]
    expected = {"train": train[:27], "valid": train[27:], "test": test}
    for split, part in parts(data).items():
        np.testing.assert_array_equal(part.x.reshape(-1, 28, 28), np.float32(expected[split]))
        assert part.y is None
    assert data.dynamic and "the images of the IWAE paper" in data.summary
    assert "cannot be compared" not in data.summary
    assert data.summary.endswith("; not the 24345 and 8070 images of the IWAE paper")


def test_the_last_1345_images_of_a_full_mat_are_valid(tmp_path, monkeypatch, characters):
    monkeypatch.setattr(omniglot, "MAT_VALID", 5)
    monkeypatch.setattr(omniglot, "MAT_COUNTS", (30, 4))
    write(tmp_path, {MAT: chardata(characters)})
    data = load("omniglot", tmp_path)
    assert [len(part) for part in parts(data).values()] == [25, 5, 4]
    assert "; not the" not in data.summary


def test_the_npz_is_read_where_both_lie(tmp_path, characters):
    bytes_ = {key: np.uint8(np.resize(characters["data"], (20, 28, 28)) * 255) for key in "ab"}
    arrays = {"background": bytes_["a"], "evaluation": bytes_["b"][::-1]}
    write(tmp_path, {MAT: b"not looked at", NPZ: npz(arrays)})
    summary = load("omniglot", tmp_path).summary
    assert f"read from {tmp_path / NPZ}" in summary and "cannot be compared" in summary
    assert summary.endswith("; not the 19280 and 13180 images of OMNIGLOT")


GREY = "expected (784, N >= 2) of grey values 0 to 1"
MAT_FAULTS = {
    "bytes 0 to 255": (
        lambda c: chardata(scaled(c, 255)),
        "key data: found values from 0 to",
        GREY,
    ),
    "almost black": (lambda c: chardata(scaled(c, 1 / 255)), "key data: found values from 0", GREY),
    "inverted": (lambda c: chardata({k: 1 - x for k, x in c.items()}), "key data", "inverted?"),
    "nan": (lambda c: chardata(c, testdata=np.full((784, 3), np.nan)), "key testdata", "nan", GREY),
    "an image a row": (
        lambda c: chardata(c, data=np.zeros((30, 784))),
        "key data: found (30, 784), transposed?",
        GREY,
    ),
    "one image": (lambda c: chardata(c, data=np.zeros((784, 1))), "found (784, 1)", GREY),
    "test is train": (
        lambda c: chardata(c | {"testdata": c["data"][:6]}),
        "key testdata: found the images of key data again",
    ),
    "too many images": (
        lambda c: chardata(c, data=np.zeros((784, 40_001), np.uint8)),
        "key data: found (784, 40001), 31360784 values, expected at most 31360000",
    ),
    "no key": (lambda c: chardata({"data": c["data"]}), "key testdata: missing"),
    "an npz": (npz, "found a zip archive", "expected a whole MATLAB 5 file"),
}


def scaled(characters, factor):
    return {key: images * factor for key, images in characters.items()}


@pytest.mark.parametrize("fault", MAT_FAULTS)
def test_an_error_names_the_fault_of_the_mat(tmp_path, characters, fault):
    make, *fragments = MAT_FAULTS[fault]
    write(tmp_path, {MAT: make(characters)})
    assert_refused("omniglot", tmp_path, str(tmp_path / MAT), *fragments)


NPZ_FAULTS = {
    "bytes of 0 and 1": (lambda a: a > 0, "key background: largest byte is 1, expected grey"),
    "test is train": (lambda a: a, "key evaluation: found the images of key background again"),
    "too many": (lambda a: np.zeros((40_020, 28, 28), bool), "of more than 40000 examples"),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_an_error_names_the_fault_of_the_npz(tmp_path, fault):
    make, *fragments = NPZ_FAULTS[fault]
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 9:14] = np.arange(150, 190)[:, None, None]
    arrays = {key: make(images).astype(np.uint8) for key in ("background", "evaluation")}
    write(tmp_path, {NPZ: npz(arrays, np.savez_compressed)})
    assert_refused("omniglot", tmp_path, str(tmp_path / NPZ), *fragments)
