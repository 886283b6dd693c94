"""Penn Treebank in Mikolov's preprocessing: English text, by words or by characters.

Files: `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt` (6 MB), in ROOT/ptb,
ROOT/simple-examples/data (Mikolov's archive), ROOT/data, ROOT/penn or ROOT; or the same files as
`train.txt`, `valid.txt` and `test.txt`, as awd-lstm has them in ROOT/penn.
Layout: one sentence a line, words separated by blanks. The files themselves write rare words as
<unk> and numbers as N.
Size: 929589 train, 73760 valid and 82430 test words, counting one <eos> a line, of 10000 distinct
words; 5017482, 393042 and 442423 characters, of 50.
Checks: the numbers of words, of distinct words and of characters; no word outside the training
vocabulary.
Origin: Mikolov, Karafiat, Burget, Cernocky & Khudanpur, "Recurrent neural network based language
model" (2010), after Marcus, Santorini & Marcinkiewicz (1993). The text is licensed by the
Linguistic Data Consortium.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

from diptych.data.corpus import SPLITS, Corpus, Vocabulary, count
from diptych.data.cutting import EOS
from diptych.data.dataset import Root, data_root
from diptych.data.words import find_splits, read_lines

WORDS = {"train": 929589, "valid": 73760, "test": 82430}
VOCABULARY = 10000
CHARACTERS = {"train": 5017482, "valid": 393042, "test": 442423}

NAMES: tuple[dict[str, str], ...] = (
    {split: f"ptb.{split}.txt" for split in SPLITS},
    {split: f"{split}.txt" for split in SPLITS},
)
FOLDERS = ("ptb", ".", "simple-examples/data", "data", "penn")

WITH_EOS = f"{{}} with one {EOS} a line"

Lines = dict[str, list[list[str]]]


def load(root: Root = None) -> Corpus:
    """Load the words, with one <eos> at the end of each line.

    The vocabulary is the training file's words in order of decreasing frequency, ties by spelling.
    Raises: ValueError that names the file, what was found and what was expected, for another number
    of words or of distinct words, or (with its line) for a word outside the training vocabulary.
    """
    paths, lines, counts = _read(root)
    tokens = sorted(counts, key=lambda word: (-counts[word], word))
    return _corpus("ptb", paths, lines, Vocabulary(tuple(tokens), "words", "blanks"))


def load_characters(root: Root = None) -> Corpus:
    """Load the characters of the same files.

    Words are joined by one blank, lines have no blank at either end and are followed by a newline,
    and <unk> is five characters. Papers differ in this, so compare their counts first. The
    vocabulary is the training file's characters, sorted.
    Raises: ValueError as `load`, and for another number of characters.
    """
    paths, words, _ = _read(root)
    lines = {split: [[*" ".join(line[:-1]), "\n"] for line in words[split]] for split in SPLITS}
    for split, expected in CHARACTERS.items():
        _check(paths[split], "characters", sum(map(len, lines[split])), expected)
    tokens = sorted(set(chain.from_iterable(lines["train"])))
    return _corpus("ptb/characters", paths, lines, Vocabulary(tuple(tokens), "characters"))


def _read(root: Root) -> tuple[dict[str, Path], Lines, Counter[str]]:
    """Read the words of each line with <eos>, check their numbers, and count those of train."""
    paths = find_splits(data_root(root), NAMES, FOLDERS)
    lines = {split: read_lines(path) for split, path in paths.items()}
    for split, expected in WORDS.items():
        _check(paths[split], WITH_EOS.format("words"), sum(map(len, lines[split])), expected)
    counts = Counter(chain.from_iterable(lines["train"]))
    _check(paths["train"], WITH_EOS.format("distinct words"), len(counts), VOCABULARY)
    return paths, lines, counts


def _check(path: Path, unit: str, count: int, expected: int) -> None:
    if count != expected:
        raise ValueError(f"{path}: found {count} {unit}, expected {expected}")


def _corpus(name: str, paths: dict[str, Path], lines: Lines, vocabulary: Vocabulary) -> Corpus:
    known = set(vocabulary.tokens)
    for split, path in paths.items():
        for number, line in enumerate(lines[split], 1):
            for token in line:
                if token not in known:
                    raise ValueError(
                        f"{path}: line {number}: found {token!r}, expected one of the "
                        f"{len(known)} {vocabulary.unit} of {paths['train'].name}"
                    )
    train, valid, test = (vocabulary.encode(chain.from_iterable(lines[split])) for split in SPLITS)
    summary = f"{name}: {count(train, valid, test, vocabulary)}, read from {paths['train'].parent}"
    return Corpus(name, train, valid, test, vocabulary, summary)
