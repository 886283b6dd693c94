"""Any UTF-8 text file, by words or by characters, cut into three splits.

File: the path in the name, text:PATH or text/characters:PATH.
Layout: UTF-8, with or without a byte order mark.
Size: the first 90 % of the tokens are train, the next 5 % valid, the last 5 % test; at least 40.
Checks: the encoding, and that there is enough text.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import get_args

from diptych.data.corpus import EOS, UNK, Corpus, Unit, Vocabulary, count, cut_words
from diptych.data.dataset import reading
from model_specs.common.fields import check_choice

TRAIN, VALID = 90, 95  # train and valid end at these percentages of the tokens
MIN_TOKENS = 40  # 5 % of them are 2, the least that a split takes


def load(path: str | Path, unit: Unit) -> Corpus:
    r"""Load the file `path`, relative to the current folder; ~ is the home folder.

    Words: the matches of \w+(?:'\w+)*|[^\w\s] in each line in lower case, so a punctuation mark is
    a word, with <eos> after each line that is not empty. Words that occur once in train, or only in
    valid or test, are <unk>. The vocabulary is the words of train in order of decreasing frequency,
    ties by spelling; <eos> and <unk> are always in it.
    Characters: all of them, newlines included; the vocabulary is those of the whole file, sorted.
    Raises: ValueError that names the file, what was found and what was expected, with the offset
    of a byte that is not UTF-8.
    """
    name = f"{'text' if unit == 'words' else 'text/characters'}:{path}"
    if not str(path):
        raise ValueError(f"name: got {name!r}, takes the path of a text file after the colon")
    file = Path(os.path.expanduser(path))
    return from_text(name, read_text(file), unit, file, f"read from {file}")


def from_text(name: str, text: str, unit: Unit, source: object, origin: str) -> Corpus:
    """Make a corpus of `text` by the rules of `load`.

    Errors begin with `source`; the corpus's summary ends with `origin`.
    """
    check_choice("unit", unit, get_args(Unit))
    if not text.strip():
        content = "nothing but white space" if text else "an empty file"
        raise ValueError(f"{source}: found {content}, expected text")
    tokens = _words(text) if unit == "words" else list(text)
    if len(tokens) < MIN_TOKENS:
        raise ValueError(
            f"{source}: found {len(tokens)} {unit}, expected {MIN_TOKENS} or more, so that "
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
    summary = f"{name}: {count(train, valid, test, vocabulary)}, {origin}"
    return Corpus(name, train, valid, test, vocabulary, summary)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, without a byte order mark; line ends are kept.

    Raises: ValueError that names the file, and the offset of the first byte that is not UTF-8.
    """
    with reading(path, "a text file"):
        data = path.read_bytes()
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        invalid = data[error.start : error.end].hex(" ")
        raise ValueError(f"{path}: offset {error.start}: found {invalid}, expected UTF-8") from None


def _words(text: str) -> list[str]:
    tokens = []
    for line in text.split("\n"):
        if words := cut_words(line):
            tokens += [*words, EOS]
    return tokens
