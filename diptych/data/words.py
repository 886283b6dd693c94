"""Tokenised text in three files, read as it is: WikiText-2, awd-lstm's penn, and others like them.

Files: one of the groups `NAMES` in the folder of the name words:FOLDER, or in one of `FOLDERS` in
it: `wiki.train.tokens`, `wiki.valid.tokens`, `wiki.test.tokens` as WikiText-2 and WikiText-103 are
published; `train.txt`, `valid.txt`, `test.txt` as in word_language_model and awd-lstm; Mikolov's
`ptb.train.txt` and so on.
Layout: UTF-8, one sentence or paragraph a line, tokens between blanks. Every line, also an empty
one, ends with <eos>; a line that has <eos> at its end gets no second one.
Size: WikiText-2 has 2088628 train, 217646 valid and 245569 test words of 33278.
Checks: that the files are text, and 2 or more tokens in each.
Origin: of WikiText, Merity, Xiong, Bradbury & Socher, "Pointer sentinel mixture models" (2016),
CC BY-SA; of the layout, the data.py of word_language_model (PyTorch examples) and awd-lstm-lm.
Where we differ: they put the words of all three files into the vocabulary. Here it is that of
train, and other words are <unk>, because no model could learn them. WikiText-2 and the Treebank
have no such words.
"""

from __future__ import annotations

import os
from itertools import chain, islice
from pathlib import Path

import numpy as np

from diptych.data.corpus import SPLITS, Corpus, Vocabulary, count
from diptych.data.cutting import UNK, cut_line
from diptych.data.dataset import file_kind, find_file, reading
from diptych.data.text import read_text

NAMES: tuple[dict[str, str], ...] = (
    {split: f"wiki.{split}.tokens" for split in SPLITS},
    {split: f"{split}.txt" for split in SPLITS},
    {split: f"ptb.{split}.txt" for split in SPLITS},
    {split: f"{split}.tokens" for split in SPLITS},
    {"train": "train.txt", "valid": "val.txt", "test": "test.txt"},
    {"train": "train.txt", "valid": "dev.txt", "test": "test.txt"},
)
FOLDERS = (".", "wikitext-2", "wikitext-103", "penn", "ptb", "simple-examples/data", "data")


def load(folder: str | Path) -> Corpus:
    """Load the three files in `folder`, relative to the current folder; ~ is the home folder.

    The vocabulary is the words of train in the order of their first occurrence, <eos> included, as
    in word_language_model; <unk> follows only if a word of valid or test needs it.
    Raises: ValueError that names the folder or file, what was found and what was expected.
    """
    name = f"words:{folder}"
    if not str(folder):
        raise ValueError(f"name: got {name!r}, takes the path of a folder after the colon")
    path = Path(os.path.expanduser(folder))
    with reading(path, "a folder with a text in 3 files"):
        kind = file_kind(path)
    if kind != "a folder":
        hint = "; text:PATH reads one file" if kind == "a file" else ""
        raise ValueError(f"{path}: found {kind}, expected a folder with a text in 3 files{hint}")
    paths = find_splits(path, NAMES, FOLDERS, several=False)
    lines = {split: read_lines(paths[split]) for split in SPLITS}
    words = {split: list(chain.from_iterable(lines[split])) for split in SPLITS}
    for split, tokens in words.items():
        if len(tokens) < 2:
            raise ValueError(f"{paths[split]}: found {len(tokens)} words, expected 2 or more")
    known = dict.fromkeys(words["train"])
    others = sum(token not in known for token in chain(words["valid"], words["test"]))
    distinct = (*known, UNK) if others and UNK not in known else tuple(known)
    vocabulary = Vocabulary(distinct, "words", "blanks")
    train, valid, test = (_encode(words[split], vocabulary) for split in SPLITS)
    files = ", ".join(paths[split].name for split in SPLITS)
    summary = (
        f"{name}: {count(train, valid, test, vocabulary)}, "
        f"read from {paths['train'].parent}: {files}"
    )
    if others:
        summary += f"; {others} words of valid and test are not in train and were made {UNK}"
    return Corpus(name, train, valid, test, vocabulary, summary)


def find_splits(
    root: Path,
    names: tuple[dict[str, str], ...],
    folders: tuple[str, ...],
    several: bool = True,
) -> dict[str, Path]:
    """Return the path of each split: the first of `names` whose three files are in one folder.

    A group with an empty file is passed over as an incomplete one is.
    Raises: ValueError that names a missing file; unless `several`, also if subfolders of `root`
    hold one group each and `root` itself none.
    """
    whole: list[tuple[str, dict[str, Path]]] = []
    partial, most = None, (0, 0)
    for folder in folders:
        for group in names:
            paths = {split: root / folder / name for split, name in group.items()}
            with reading(root / folder, "a folder that can be searched"):
                kinds = {path: file_kind(path) for path in paths.values()}
                sizes = [path.stat().st_size for path, kind in kinds.items() if kind == "a file"]
            # names of what is no file, such as a named pipe, which find_file tells
            obstacles = sum(kind not in ("a file", "nothing") for kind in kinds.values())
            if len(sizes) == len(paths) and all(sizes):
                whole.append((folder, paths))
            elif (len(sizes), obstacles) > most:
                partial, most = (root / folder, group), (len(sizes), obstacles)
    places = list(dict.fromkeys(folder for folder, _ in whole))
    if len(places) > 1 and not several and places[0] != ".":
        raise ValueError(
            f"{root}: found texts in {', '.join(places)}, expected one: name its folder"
        )
    if whole:
        return whole[0][1]
    if partial:
        place, group = partial
        return {split: find_file(place, (name,)) for split, name in group.items()}
    expected = " or ".join(", ".join(group.values()) for group in names)
    with reading(root, "a folder that can be listed"):
        contents = sorted(path.name for path in islice(root.iterdir(), 1000))[:4] or ["nothing"]
    below = ", ".join(folder for folder in folders if folder != ".")
    raise ValueError(
        f"{root}: found no {names[0]['train']} but {', '.join(contents)}, expected {expected} "
        f"in it or in {below} below it"
    )


def read_lines(path: Path) -> list[list[str]]:
    """Read the tokens between blanks of each line, with its <eos>."""
    text = read_text(path)
    if not text.strip():
        content = "nothing but white space" if text else "an empty file"
        raise ValueError(f"{path}: found {content}, expected text")
    return [cut_line(line, "blanks") for line in text.removesuffix("\n").split("\n")]


def _encode(words: list[str], vocabulary: Vocabulary) -> np.ndarray:
    return vocabulary.encode(w if vocabulary.index(w) is not None else UNK for w in words)
