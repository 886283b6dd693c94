"""Any text file in UTF-8, by words or by characters, cut into three splits."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import get_args

from diptych.data.corpus import EOS, UNK, Corpus, Unit, Vocabulary, count, cut_words
from diptych.data.dataset import reading
from model_specs.common.fields import check_choice

TRAIN, VALID = 90, 95  # per cent of the tokens at which train and valid end
LEAST = 40  # tokens, of which 5 % are the 2 that a split takes


def load(path: str | Path, unit: Unit) -> Corpus:
    r"""The file at `path`, relative to the current folder, ~ being the home folder.

    Words: on each line what matches \w+(?:'\w+)*|[^\w\s] in its lower case, so a mark is a word,
    and <eos> after each line that is not empty. What occurs once in train, or only outside it,
    is <unk>. The vocabulary is the words of train, the most frequent first, words as frequent as
    each other by spelling; <eos> and <unk> are always in it.
    Characters: as they are, newlines included; the vocabulary is all of the file's, sorted.
    Split: the first 90 % of the tokens, the next 5 %, the last 5 %.
    Raises: ValueError that names the file, what was found and what was expected, with the offset
    of a byte that is not UTF-8.
    """
    name = f"{'text' if unit == 'words' else 'text/characters'}:{path}"
    if not str(path):
        raise ValueError(f"name: got {name!r}, takes the path of a text file after the colon")
    file = Path(os.path.expanduser(path))
    return from_text(name, read_text(file), unit, file, f"read from {file}")


def from_text(name: str, text: str, unit: Unit, source: object, origin: str) -> Corpus:
    """The corpus of `text`, by the rules of `load`; errors name `source`, `found` ends `origin`."""
    check_choice("unit", unit, get_args(Unit))
    if not text.strip():
        result = "nothing but white space" if text else "an empty file"
        raise ValueError(f"{source}: found {result}, expected text")
    tokens = _words(text) if unit == "words" else list(text)
    if len(tokens) < LEAST:
        raise ValueError(
            f"{source}: found {len(tokens)} {unit}, expected {LEAST} or more, so that "
            f"valid and test, {100 - VALID} % each, have 2 or more"
        )
    first, second = len(tokens) * TRAIN // 100, len(tokens) * VALID // 100
    if unit == "words":
        counts = Counter(tokens[:first])
        tokens = [token if counts[token] > 1 or token == EOS else UNK for token in tokens]
        counts = Counter(tokens[:first])
        distinct = sorted({*counts, EOS, UNK}, key=lambda token: (-counts[token], token))
    else:
        distinct = sorted(set(tokens))
    vocabulary = Vocabulary(tuple(distinct), unit)
    ids = vocabulary.encode(tokens)
    train, valid, test = ids[:first].copy(), ids[first:second].copy(), ids[second:].copy()
    result = f"{name}: {count(train, valid, test, vocabulary)}, {origin}"
    return Corpus(name, train, valid, test, vocabulary, result)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark; line ends stay as they are.

    Raises: ValueError that names the file, and the offset of the first byte that is not UTF-8.
    """
    with reading(path, "a text file"):
        data = path.read_bytes()
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        result = data[error.start : error.end].hex(" ")
        raise ValueError(f"{path}: offset {error.start}: found {result}, expected UTF-8") from None


def _words(text: str) -> list[str]:
    tokens = []
    for line in text.split("\n"):
        if words := cut_words(line):
            tokens += [*words, EOS]
    return tokens
