"""Safetensors files with a digest: read by other programs, and checked when they are read here."""

import errno
import json
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from diptych.files import (
    check_has_digest,
    load_arrays,
    load_metadata,
    read_json,
    save_arrays,
    write_atomically,
)
from diptych.files.digests import BLOCK
from diptych.files.tensors import DTYPES
from model_specs.common.key import Key
from numpy_ref.nn import random

ARRAYS = {
    "weight": np.arange(12, dtype="f4").reshape(3, 4).T,
    "step": np.array(7),
    "empty": np.zeros((0, 3)),
    "mask": np.array([True, False]),
    "ärmel": np.linspace(0, 1, 5),
}
METADATA = {"position": {"step": 3, "loss": 0.1 + 0.2}}


@pytest.fixture
def file(tmp_path):
    save_arrays(tmp_path / "a.safetensors", ARRAYS, METADATA)
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_other_programs_read_what_is_written_here_and_the_reverse(tmp_path, dtype):
    arrays = {"a": np.arange(6).reshape(2, 3).astype(dtype), "b": np.array(1, dtype)}
    save_arrays(tmp_path / "ours", arrays)
    save_file(arrays, tmp_path / "theirs")
    for result in (load_file(tmp_path / "ours"), load_arrays(tmp_path / "theirs")[0]):
        assert result.keys() == arrays.keys()
        for name, array in arrays.items():
            assert result[name].dtype == array.dtype
            np.testing.assert_array_equal(result[name], array)


def test_arrays_and_metadata_are_read_back(file):
    arrays, metadata = load_arrays(file, digest_required=True)
    assert metadata == load_metadata(file) == METADATA and arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].flags.writeable
        np.testing.assert_array_equal(arrays[name], array)
    check_has_digest(file)


def test_arrays_of_the_other_byte_order_keep_their_values(tmp_path):
    save_arrays(tmp_path / "a", {"a": np.arange(3, dtype=">f8")})
    np.testing.assert_array_equal(load_arrays(tmp_path / "a")[0]["a"], [0, 1, 2])
    np.testing.assert_array_equal(load_file(tmp_path / "a")["a"], [0, 1, 2])


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])
def test_every_byte_of_an_array_counts(tmp_path, size):
    """Whatever the number of blocks, and whether they are hashed in threads."""
    path = tmp_path / "a"
    save_arrays(path, {"a": np.zeros(size, "u1"), "b": np.zeros(3, "u1")})
    load_arrays(path, digest_required=True)
    whole = path.read_bytes()
    start = len(whole) - size - 3
    for offset in {0, size // 2, size - 1, size, size + 2} - {-1}:
        path.write_bytes(whole[: start + offset] + b"\x01" + whole[start + offset + 1 :])
        with pytest.raises(ValueError, match="a: damaged: its contents are not those"):
            load_arrays(path)


@pytest.mark.parametrize("part", ["name", "dtype", "shape", "metadata"])
def test_the_digest_covers_names_dtypes_shapes_and_metadata(file, part):
    """A header that was changed consistently is still a safetensors file."""
    changes = {
        "name": (b'"weight"', b'"weighT"'),
        "dtype": (b'"F32"', b'"I32"'),
        "shape": (b"[4,3]", b"[3,4]"),
        "metadata": (b"0.30000000000000004", b"0.30000000000000005"),
    }
    before, after = changes[part]
    data = file.read_bytes()
    assert data.count(before) == 1
    file.write_bytes(data.replace(before, after))
    assert load_file(file)
    with pytest.raises(ValueError, match="the BLAKE2b digest differs"):
        load_arrays(file)


def test_a_file_that_another_program_writes_again_keeps_its_digest(file, tmp_path):
    """Its arrays may be in another order."""
    with safe_open(file, "numpy") as opened:
        metadata = opened.metadata()
    save_file(load_file(file), tmp_path / "again", metadata)
    assert load_arrays(tmp_path / "again", digest_required=True)[1] == METADATA


def test_what_is_read_here_safetensors_reads_too(file):
    """Of 400 files with a changed byte; our reader refuses the others in one line."""
    good = file.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    for place, value in random.uniform(Key(3), (400, 2), dtype="float64"):
        data = bytearray(good)
        data[int(place * header)] = int(256 * value)
        file.write_bytes(data)
        try:
            load_arrays(file)
        except ValueError as error:
            assert str(error).startswith(f"{file}: ") and "\n" not in str(error)
        else:
            with safe_open(file, "numpy") as opened:
                assert len(list(opened.keys())) == len(ARRAYS)


HEADERS = {
    "a list": "[]",
    "an entry that is a list": '{"a": [1]}',
    "an entry without a shape": '{"a": {"dtype": "F32", "data_offsets": [0, 0]}}',
    "a shape of texts": '{"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}',
    "a negative shape": '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    "a huge shape": '{"a": {"dtype": "F32", "shape": [99999999999999], "data_offsets": [0, 4]}}',
    "a huge empty shape": '{"a": {"dtype": "U8", "shape": [0, 1e99], "data_offsets": [0, 0]}}',
    "an endless shape": '{"a": {"dtype": "U8", "shape": [0, 9%s], "data_offsets": [0, 0]}}'
    % ("9" * 40),
    "many dimensions": '{"a": {"dtype": "U8", "shape": [%s1], "data_offsets": [0, 1]}}'
    % ("1," * 99),
    "an overlap": '{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, '
    '"b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}',
    "a gap": '{"a": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}',
    "metadata of numbers": '{"__metadata__": {"a": 1}}',
    "metadata that are a list": '{"__metadata__": []}',
    "nested too deeply": "[" * 50_000,
    "an int of 5000 digits": '{"a": {"dtype": "U8", "shape": [%s], "data_offsets": [0, 1]}}'
    % ("9" * 5000),
    "a broken surrogate": '{"\\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
    "our metadata are a list": '{"__metadata__": {"diptych": "[1]"}}',
    "our metadata are null": '{"__metadata__": {"diptych": "null"}}',
    "our metadata are nested": json.dumps({"__metadata__": {"diptych": "[" * 50_000}}),
    "our metadata are no JSON": '{"__metadata__": {"diptych": "{"}}',
    "an 8 bit float": '{"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}',
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_cannot_be_is_one_line_with_its_file(tmp_path, header):
    text = HEADERS[header].encode()
    sizes = {"[0, 1]": 1, "[0, 2]": 3, "[0, 4]": 4, "[1, 3]": 3}
    size = next((n for end, n in sizes.items() if end in HEADERS[header]), 0)
    (tmp_path / "a").write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(ValueError, match="a: ") as caught:
        load_arrays(tmp_path / "a")
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: ") and "\n" not in str(caught.value)


# Writing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_while_writing_names_the_file_and_keeps_the_old_one(file, monkeypatch, code, call):
    def fails(*_):
        raise OSError(code, os.strerror(code))

    before = file.read_bytes()
    monkeypatch.setattr(os, call, fails)
    with pytest.raises(ValueError, match="cannot write there") as caught:
        save_arrays(file, {})
    assert str(caught.value) == f"{file}: cannot write there ({os.strerror(code)})"
    assert file.read_bytes() == before and os.listdir(file.parent) == [file.name]


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"a: cannot write there \(Is a directory\)"):
        write_atomically(tmp_path / "a", b"text")
    assert os.listdir(tmp_path) == ["a"]


def test_contents_then_name_then_folder_reach_the_disk(tmp_path, monkeypatch):
    """A name on the disk before its contents would be an empty file after a power cut."""
    events = []

    def recorded(name):
        original = getattr(os, name)

        def call(*arguments):
            is_folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{arguments[0]}")
            events.append("folder" if is_folder else name)
            return original(*arguments)

        monkeypatch.setattr(os, name, call)

    recorded("fsync")
    recorded("replace")
    write_atomically(tmp_path / "a", b"text")
    assert events == ["fsync", "replace", "folder"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing", "broken link"])
def test_what_is_no_file_is_named(tmp_path, kind):
    path = tmp_path / "a"
    makers = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "missing": lambda: None,
        "broken link": lambda: path.symlink_to(tmp_path / "b"),
    }
    makers[kind]()
    for reader in (load_arrays, load_metadata, read_json):
        with pytest.raises(ValueError, match=f"{path}: (found a {kind}|no such file)"):
            reader(path)
