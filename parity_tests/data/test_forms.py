"""Formats are named by the first bytes of real files of each kind."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile

import numpy as np
import pytest
import torch
from helpers.data_files import idx, npz
from safetensors.numpy import save
from scipy.io import savemat

from diptych.data.forms import HEAD, describe, refuse

TEXT = "The quick brown fox jumps over the lazy dog, twice.\nThen it sleeps.\n"


def saved(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return file.getvalue()


FORMS = {
    "gzip": (gzip.compress(b"x"), "a gzip file"),
    "npz": (npz({"a": np.zeros(3)}), "a zip archive"),
    "torch.save": (saved(lambda f: torch.save({"a": torch.zeros(3)}, f)), "a zip archive"),
    "old torch.save": (
        saved(lambda f: torch.save({}, f, _use_new_zipfile_serialization=False)),
        "a pickle",
    ),
    "bzip2": (bz2.compress(b"x"), "a bzip2 file"),
    "xz": (lzma.compress(b"x"), "an xz file"),
    "tar": (tar(), "a tar archive"),
    "npy": (saved(lambda f: np.save(f, np.zeros(3))), "a .npy file"),
    "MATLAB 5": (saved(lambda f: savemat(f, {"a": np.zeros(3)})), "a MATLAB 5 file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(8), "an HDF5 file"),
    "safetensors": (save({"a": np.zeros(3, np.float32)}), "a safetensors file"),
    "IDX": (idx(np.zeros((2, 3), np.uint8)), "an IDX file"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git LFS pointer",
    ),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(8), "a PNG image"),
    "UTF-16": (TEXT.encode("utf-16"), "UTF-16 text"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "UTF-16 text"),
    "UTF-16 of the other order": (TEXT.encode("utf-16-be"), "UTF-16 text"),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32 text"),
    "UTF-32 without a mark": (TEXT.encode("utf-32-be"), "UTF-32 text"),
}
FORMS |= {
    f"pickle {protocol}": (pickle.dumps([{"a": 1.0}, np.zeros(3)][1], protocol), "a pickle")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}
TEXT_FORMS = {
    "HTML": (b"\n<!DOCTYPE html>\n<html><head><title>404</title>", "an HTML page"),
    "HTML without a type": (b"<html>\n<body>Sign in</body></html>", "an HTML page"),
    "XML": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "an XML file"),
    "JSON": (b'{"nbformat": 4, "cells": []}', "a JSON file"),
    "csv": (b"label,1x1,1x2,1x3\n5,0,0,0\n", "csv text"),
    "csv of numbers": (b"5;0;0;0\n1;0;0;0\n", "csv text"),
}


@pytest.mark.parametrize("name", [*FORMS, *TEXT_FORMS])
def test_a_format_is_named(name):
    data, form = (FORMS | TEXT_FORMS)[name]
    assert (describe(data) or "").startswith(form)
    assert describe(data[:HEAD]) == describe(data)


@pytest.mark.parametrize("name", [*FORMS, *TEXT_FORMS])
def test_a_reader_of_text_refuses_only_what_is_not_text(name):
    form = describe((FORMS | TEXT_FORMS)[name][0], text=True)
    assert form is None if name in TEXT_FORMS else form == describe(FORMS[name][0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        TEXT.encode(),
        "Füße, Bäume, Häuser, 中文\n".encode(),
        b"0 0 0 1 1 0\n" * 99,
        b"1.000e+00 0.0 0.0\n",
        b"First Citizen:\nBefore we proceed any further, hear me speak, and so on, he said.\n",
        b"(a remark) comes first\n",
        b"cnn and rnn\n",
        bytes(HEAD),
        bytes(range(256)),
    ],
)
def test_text_and_unknown_bytes_have_no_name(data):
    assert describe(data) is None and describe(data, text=True) is None


def test_an_error_names_the_file_the_format_and_what_was_expected(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError) as caught:
        refuse(path, FORMS["torch.save"][0], "a safetensors file")
    assert str(caught.value) == (
        f"{path}: found a zip archive (.zip, .npz or torch.save), expected a safetensors file"
    )
    refuse(path, b"abc", "a safetensors file")
