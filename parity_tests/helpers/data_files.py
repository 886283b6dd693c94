"""Helpers of tests of data readers: write data files, and assert that bad files are refused."""

import io
import os
import re

import numpy as np
import pytest

from diptych.data import load

SPLITS = ("train", "valid", "test")


def parts(data):
    """Return the three splits by name."""
    return {split: getattr(data, split) for split in SPLITS}


def assert_same(a, b):
    """Assert that two data sets have equal images and labels."""
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(a, split).x, getattr(b, split).x)
        np.testing.assert_array_equal(getattr(a, split).y, getattr(b, split).y)


def write(folder, files):
    """Write files, a dict of bytes by name; a value of None makes a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def assert_refused(name, root, *fragments):
    """Assert that `load` raises a one-line ValueError that contains `fragments` in this order."""
    with pytest.raises(ValueError) as caught:
        load(name, root)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(".*".join(map(re.escape, fragments)), message), message


def npz(arrays, save=np.savez):
    """Return the bytes of an .npz file."""
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def idx(array):
    """Return the bytes of an IDX file of uint8."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


class Trap:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
