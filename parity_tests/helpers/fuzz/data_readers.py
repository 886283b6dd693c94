"""The readers of data sets, each on small valid files."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from helpers.data_files import idx, npz
from scipy.io import savemat

from diptych import data
from diptych.data import caltech101, cifar10, ptb
from diptych.data.corpus import Vocabulary

from . import reader
from .reader import Reader

RNG = np.random.default_rng(16)
Maker = Callable[[Path], Reader]


def _read(name: str, root: Path) -> Callable[[], Any]:
    return lambda: data.load(name, root)


def _grey(count: int, size: tuple[int, ...]) -> np.ndarray:
    """Mostly dark images, as strokes on a ground are."""
    bright = RNG.random((count, *size)) < 0.2
    return (bright * RNG.integers(1, 256, (count, *size))).astype(np.uint8)


def _mnist_files(folder: Path) -> dict[str, bytes]:
    files = {}
    for part, count in (("train", 12), ("t10k", 4)):
        files[f"{part}-images-idx3-ubyte"] = idx(_grey(count, (28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def mnist(folder: Path) -> Reader:
    files = _mnist_files(folder)
    name = "train-images-idx3-ubyte"
    return reader.of_file(folder / name, [files[name]], _read("mnist", folder))


def mnist_labels(folder: Path) -> Reader:
    files = _mnist_files(folder)
    name = "t10k-labels-idx1-ubyte"
    return reader.of_file(folder / name, [files[name]], _read("mnist", folder))


def mnist_gzip(folder: Path) -> Reader:
    name = "train-images-idx3-ubyte"
    content = _mnist_files(folder)[name]
    (folder / name).unlink()
    read = _read("mnist", folder)
    return reader.of_file(folder / f"{name}.gz", [content], read, wrap=_gzip)


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def static_mnist(folder: Path) -> Reader:
    packed = {part: RNG.integers(0, 40, (5, 98), np.uint8) for part in ("train", "valid", "test")}
    seeds = [npz(packed), npz(packed, np.savez_compressed)]
    path = folder / "binarized_mnist_larochelle_packed.npz"
    return reader.of_file(path, seeds, _read("static_mnist", folder))


def static_mnist_text(folder: Path) -> Reader:
    for part in ("valid", "test", "train"):
        rows = (RNG.random((3, 784)) < 0.2).astype(int)
        content = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
        path = folder / f"binarized_mnist_{part}.amat"
        path.write_bytes(content)
    return reader.of_file(path, [content], _read("static_mnist", folder))


def omniglot(folder: Path) -> Reader:
    arrays = {"background": _grey(20, (28, 28)), "evaluation": _grey(2, (28, 28))}
    seeds = [npz(arrays), npz(arrays, np.savez_compressed)]
    return reader.of_file(folder / "omniglot28_area.npz", seeds, _read("omniglot", folder))


def caltech101_silhouettes(folder: Path) -> Reader:
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_data"] = (RNG.random((4, 784)) < 0.7).astype(np.uint8)
        arrays[f"{part}_labels"] = RNG.integers(1, 102, (4, 1)).astype(np.uint8)
    seeds = []
    for compressed, kind in ((False, "uint8"), (True, "uint8"), (False, "float64")):
        file = io.BytesIO()
        savemat(file, {k: a.astype(kind) for k, a in arrays.items()}, do_compression=compressed)
        seeds.append(file.getvalue())
    return reader.of_file(folder / caltech101.MAT, seeds, _read("caltech101_silhouettes", folder))


def _records(count: int) -> bytes:
    rows = RNG.integers(0, 256, (count, cifar10.RECORD), np.uint8)
    rows[:, 0] %= 10
    return rows.tobytes()


def cifar10_folder(folder: Path) -> Reader:
    for name in cifar10.NAMES:
        (folder / name).write_bytes(_records(1))
    return reader.of_file(folder / cifar10.NAMES[0], [_records(2)], _read("cifar10", folder))


def cifar10_archive(folder: Path) -> Reader:
    seeds = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
            for name in cifar10.NAMES:
                member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
                member.size = cifar10.RECORD
                member.pax_headers = {"comment": "a record"} if kind == tarfile.PAX_FORMAT else {}
                archive.addfile(member, io.BytesIO(_records(1)))
        seeds.append(file.getvalue())
    return reader.of_file(folder / cifar10.ARCHIVE, seeds, _read("cifar10", folder), wrap=_gzip)


SENTENCES = "the cat sat on the mat\na <unk> dog ran N times\nthe dog saw the cat\n" * 12


def text(folder: Path) -> Reader:
    path = folder / "book.txt"
    seeds = [SENTENCES.encode(), "\ufeffÉtude – naïve\r\n".encode() * 20]
    return reader.of_file(path, seeds, lambda: data.load(f"text:{path}"))


def text_characters(folder: Path) -> Reader:
    path = folder / "book.txt"
    return reader.of_file(path, [SENTENCES.encode()], lambda: data.load(f"text/characters:{path}"))


def tokenised_words(folder: Path) -> Reader:
    for part in ("train", "valid", "test"):
        (folder / f"{part}.txt").write_text(SENTENCES)
    path = folder / "valid.txt"
    return reader.of_file(path, [SENTENCES.encode()], lambda: data.load(f"words:{folder}"))


def penn_treebank(folder: Path) -> Reader:
    words = SENTENCES.replace("\n", " <eos> ").split()
    ptb.VOCABULARY = len({*words})  # the real treebank would take seconds for each input
    for part in ("train", "valid", "test"):
        (folder / f"ptb.{part}.txt").write_text(SENTENCES)
        ptb.WORDS[part], ptb.CHARACTERS[part] = len(words), len(SENTENCES)
    path = folder / "ptb.train.txt"
    return reader.of_file(path, [SENTENCES.encode()], _read("ptb", folder))


def prompt(folder: Path) -> Reader:
    vocabulary = Vocabulary(("the", "cat", "<unk>", "<eos>", "sat", "."), "words")

    def read(text: str) -> None:
        vocabulary.decode(vocabulary.encode(vocabulary.split(text)))

    return reader.of_text("the <unk> cat sat .\n", ["<eos>", "\n", "\t", "É"], read, ["tokens"])


def data_name(folder: Path) -> Reader:
    tokens = ["copy:", "adding:", "text:", ":", "10", "99999999999", "mnist", "/", "ptb/characters"]
    names = ["name", "copy", "adding", "length", "items", "text", *data.DATASETS]
    return reader.of_text(
        "copy:10:3", tokens, lambda text: data.load(text, folder), (*names, str(folder))
    )


MAKERS: dict[str, Maker] = {
    make.__name__: make
    for make in (
        mnist, mnist_labels, mnist_gzip, static_mnist, static_mnist_text, omniglot,
        caltech101_silhouettes, cifar10_folder, cifar10_archive, text, text_characters,
        tokenised_words, penn_treebank, prompt, data_name,
    )
}  # fmt: skip
"""The readers by name; each is made in an empty folder of its own."""
