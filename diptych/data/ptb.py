"""Penn Treebank in Mikolov's preprocessing: English text, by words or by characters.

Files: `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt` (6 MB), in ROOT/ptb or ROOT.
Layout: one sentence a line, words separated by blanks. The files themselves write rare words as
<unk> and numbers as N.
Size: 929589 train, 73760 valid and 82430 test words, counting one <eos> a line, of 10000 distinct
words; 5017482, 393042 and 442423 characters, of 50.
Checks: the numbers of words and of distinct words; no word outside the training vocabulary.
Origin: Mikolov, Karafiat, Burget, Cernocky & Khudanpur, "Recurrent neural network based language
model" (2010), after Marcus, Santorini & Marcinkiewicz (1993). The text is licensed by the
Linguistic Data Consortium.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from diptych.data.corpus import EOS, SPLITS, Corpus, Vocabulary, count
from diptych.data.dataset import Root, data_root, find_file
from diptych.data.text import read_text

WORDS = {"train": 929589, "valid": 73760, "test": 82430}
VOCABULARY = 10000


def load(root: Root = None) -> Corpus:
    """Load the words, with one <eos> at the end of each line.

    The vocabulary is the training file's words in order of decreasing frequency, ties by spelling.
    Raises: ValueError that names the file, what was found and what was expected, for another number
    of words or of distinct words, or (with its line) for a word outside the training vocabulary.
    """
    paths = _paths(root)
    lines = {split: _lines(path, lambda words: [*words, EOS]) for split, path in paths.items()}
    for split, expected in WORDS.items():
        _check(paths[split], "words", sum(map(len, lines[split])), expected)
    counts = Counter(chain.from_iterable(lines["train"]))
    _check(paths["train"], "distinct words", len(counts), VOCABULARY)
    tokens = sorted(counts, key=lambda word: (-counts[word], word))
    return _corpus("ptb", paths, lines, Vocabulary(tuple(tokens), "words"))


def load_characters(root: Root = None) -> Corpus:
    """Load the characters of the same files.

    Words are joined by one blank, lines have no blank at either end and are followed by a newline,
    and <unk> is five characters. Papers differ in this, so compare their counts first. The
    vocabulary is the training file's characters, sorted. The counts are not checked.
    Raises: ValueError as `load`.
    """
    paths = _paths(root)
    lines = {
        split: _lines(path, lambda words: [*" ".join(words), "\n"]) for split, path in paths.items()
    }
    tokens = sorted(set(chain.from_iterable(lines["train"])))
    return _corpus("ptb/characters", paths, lines, Vocabulary(tuple(tokens), "characters"))


def _paths(root: Root) -> dict[str, Path]:
    first = find_file(data_root(root), ("ptb.train.txt",), ("ptb", "."))
    return {split: find_file(first.parent, (f"ptb.{split}.txt",)) for split in SPLITS}


def _lines(path: Path, tokens: Callable[[list[str]], list[str]]) -> list[list[str]]:
    return [tokens(line.split()) for line in read_text(path).removesuffix("\n").split("\n")]


def _check(path: Path, unit: str, count: int, expected: int) -> None:
    if count != expected:
        raise ValueError(f"{path}: found {count} {unit} with one {EOS} a line, expected {expected}")


def _corpus(
    name: str,
    paths: dict[str, Path],
    lines: dict[str, list[list[str]]],
    vocabulary: Vocabulary,
) -> Corpus:
    known = set(vocabulary.tokens)
    for split, path in paths.items():
        for number, line in enumerate(lines[split], 1):
            for token in line:
                if token not in known:
                    raise ValueError(
                        f"{path}: line {number}: found {token!r}, "
                        f"expected one of the {len(known)} {vocabulary.unit} of ptb.train.txt"
                    )
    train, valid, test = (vocabulary.encode(chain.from_iterable(lines[split])) for split in SPLITS)
    summary = f"{name}: {count(train, valid, test, vocabulary)}, read from {paths['train'].parent}"
    return Corpus(name, train, valid, test, vocabulary, summary)
