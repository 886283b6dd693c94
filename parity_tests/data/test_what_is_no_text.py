"""Every reader of text refuses what is not text, and names what the file is."""

import gzip
import io
import os
import pickle
import re
import zipfile

import pytest

from diptych.data import load

TEXT = "the cat sat on the mat. And so on\n" * 30
READERS = ("text", "text/characters", "words", "ptb", "ptb/characters")


def archive():
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.txt", TEXT)
        return file.getvalue()


FOREIGN = {
    "UTF-16 with a mark": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16 LE without a mark": (TEXT.encode("utf-16-le"), "UTF-16"),
    "UTF-16 BE without a mark": (TEXT.encode("utf-16-be"), "UTF-16"),
    "UTF-16 of Russian without a mark": ("привет мир\n".encode("utf-16-le") * 40, "UTF-16"),
    "UTF-32 with a mark": (TEXT.encode("utf-32"), "UTF-32"),
    "UTF-32 without a mark": (TEXT.encode("utf-32-le"), "UTF-32"),
    "Latin-1": ("un café, s'il vous plaît\n".encode("latin-1") * 40, "offset 6: found e9"),
    "gzip": (gzip.compress(TEXT.encode()), "a gzip file"),
    "zip": (archive(), "a zip archive"),
    "pickle": (pickle.dumps([TEXT]), "a pickle"),
    "HTML": (b"<!DOCTYPE html>\n<html>" + TEXT.encode(), "an HTML page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    "a NUL in the middle": (TEXT.encode() + b"\0" + TEXT.encode(), "offset 1020: found NUL"),
    "a colour of the terminal": (b"\x1b[31m" + TEXT.encode(), "offset 0: found control byte 1b"),
    "a backspace": (TEXT.encode() + b"_\x08a\n", "offset 1021: found control byte 08"),
    "a delete": (TEXT.encode() + b"\x7f", "offset 1020: found control byte 7f"),
}


def place(folder, reader):
    """The name of the data for `reader`, and a path that it reads first."""
    if reader.startswith("text"):
        return f"{reader}:{folder / 'a.txt'}", folder / "a.txt"
    pattern = "ptb.{}.txt" if reader.startswith("ptb") else "{}.txt"
    for split in ("valid", "test"):
        (folder / pattern.format(split)).write_text(TEXT)
    name = f"words:{folder}" if reader == "words" else reader
    return name, folder / pattern.format("train")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FOREIGN)
def test_what_is_no_text_is_refused_and_named(tmp_path, reader, form):
    content, message = FOREIGN[form]
    name, path = place(tmp_path, reader)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{message}") as caught:
        load(name, tmp_path)
    assert "\n" not in str(caught.value) and "expected UTF-8" in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_waited_for(tmp_path, reader):
    name, path = place(tmp_path, reader)
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*pipe"):
        load(name, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_a_huge_file_is_refused_before_it_is_read(tmp_path, reader):
    name, path = place(tmp_path, reader)
    with path.open("wb") as file:
        file.truncate(50 * 2**30)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: found 53687091200 bytes"):
        load(name, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "one\ttwo\vthree\fpage\r\n" * 40,
        "a,b,c\n1,2,3\n" * 40,
        '{"a": 1, "b": [1, 2, 3]}\n' * 40,
        "\ufeffnaïve 日本語 😀 \u2028 \u0085\n" * 40,
    ],
    ids=["white space", "csv", "JSON", "Unicode"],
)
def test_text_of_any_kind_is_read_whole(tmp_path, text):
    (tmp_path / "a").write_bytes(text.encode())
    corpus = load(f"text/characters:{tmp_path / 'a'}")
    parts = (corpus.train, corpus.valid, corpus.test)
    assert "".join(map(corpus.vocabulary.decode, parts)) == text.removeprefix("\ufeff")
    load(f"text:{tmp_path / 'a'}")
