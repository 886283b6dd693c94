"""Any UTF-8 text file, by words or by characters, cut into three splits.

File: the path in the name, text:PATH or text/characters:PATH.
Layout: UTF-8, with or without a byte order mark.
Size: the first 90 % of the tokens are train, the next 5 % valid, the last 5 % test; at least 40.
Checks: that the file is text (no archive, pickle, HTML page or pointer), its encoding, no control
bytes, and that there is enough text.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import get_args

from diptych.data import bounded, forms
from diptych.data.corpus import Corpus, Vocabulary, count
from diptych.data.cutting import EOS, UNK, Unit, cut_line, is_tokenised
from model_specs.common.fields import check_choice

TRAIN, VALID = 90, 95  # train and valid end at these percentages of the tokens
MIN_TOKENS = 40  # 5 % of them are 2, the least that a split takes
LIMIT = 2**30
"""The largest text file in bytes."""

_TEXT_FORMS = ("csv text", "a JSON file", "an XML file")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")  # all but white space


def load(path: str | Path, unit: Unit) -> Corpus:
    r"""Load the file `path`, relative to the current folder; ~ is the home folder.

    Words: the matches of \w+(?:'\w+)*|[^\w\s] in each line in lower case, so a punctuation mark is
    a word, with <eos> after each line that is not empty; <unk> and <eos> in the file are these
    tokens. Words that occur once in train, or only in valid or test, are <unk>. The vocabulary is
    the words of train in order of decreasing frequency, ties by spelling; <eos> and <unk> are
    always in it. A file that is tokenised already is cut anew, and the summary says so.
    Characters: all of them, newlines included; the vocabulary is those of the whole file, sorted.
    Raises: ValueError that names the file, what was found and what was expected, with the offset
    of a byte that is not UTF-8.
    """
    name = f"{'text' if unit == 'words' else 'text/characters'}:{path}"
    if not str(path):
        raise ValueError(f"name: got {name!r}, takes the path of a text file after the colon")
    file = Path(os.path.expanduser(path))
    text, origin = read_text(file), f"read from {file}"
    if unit == "words" and is_tokenised(text):
        origin += (
            "; the file looks tokenised and was tokenised anew, so its perplexity compares with no "
            "published one: words:FOLDER reads tokens as they are"
        )
    return from_text(name, text, unit, file, origin)


def from_text(name: str, text: str, unit: Unit, source: object, origin: str) -> Corpus:
    """Make a corpus of `text` by the rules of `load`.

    Errors begin with `source`; the corpus's summary ends with `origin`.
    """
    check_choice("unit", unit, get_args(Unit))
    if not text.strip():
        content = "nothing but white space" if text else "an empty file"
        raise ValueError(f"{source}: found {content}, expected text")
    if unit == "words":
        tokens = [token for line in text.split("\n") for token in cut_line(line, "marks")]
    else:
        tokens = list(text)
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

    Raises: ValueError that names the file, and its format if it is not text, or the offset of the
    first byte that is not UTF-8 or is a control byte.
    """
    data = bounded.read_file(path, LIMIT, "a text file")
    form = forms.describe(data)
    if form and form not in _TEXT_FORMS:
        raise ValueError(f"{path}: found {form}, expected UTF-8 text")
    if control := _CONTROL.search(data):
        kind = "NUL" if control.group() == b"\0" else f"control byte {control.group().hex()}"
        hint = ", as in UTF-16 or a binary file" if b"\0" in data[:4096] else ""
        raise ValueError(
            f"{path}: offset {control.start()}: found {kind}{hint}, expected UTF-8 text"
        )
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        invalid = data[error.start : error.end].hex(" ")
        raise ValueError(f"{path}: offset {error.start}: found {invalid}, expected UTF-8") from None
