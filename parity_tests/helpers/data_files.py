"""What the tests of data files share: folders of them, and the one line that a bad one gets."""

import io
import os
import re

import numpy as np
import pytest

from diptych.data import load

SPLITS = ("train", "valid", "test")


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


def npz(arrays, save=np.savez):
    """The bytes of an .npz."""
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def idx(array):
    """The bytes of an IDX file of uint8."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
