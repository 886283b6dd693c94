"""Penn Treebank in Mikolov's preprocessing: three text files, by words or by characters."""

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
    """929589 / 73760 / 82430 words from a vocabulary of 10000, counting one <eos> a line.

    Format: `ptb.{train,valid,test}.txt` in ROOT/ptb or ROOT, a sentence a line, words between
    blanks; rare words are <unk> and numbers are N in the files themselves. The vocabulary is the
    training file's words, the most frequent first, words as frequent as each other by spelling.
    Raises: ValueError that names the file, what was found and what was expected: a number of
    words or of distinct words that is not the one above, or a word that train has not (its line).
    Source: Mikolov, Karafiat, Burget, Cernocky & Khudanpur, "Recurrent neural network based
    language model" (2010), after Marcus, Santorini & Marcinkiewicz (1993).
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
    """The characters of the same files, in full 5017482 / 393042 / 442423 from 50.

    Format: one blank between two words, none at either end of a line, a newline after it; <unk>
    is five characters. Papers differ in this, so look at their counts before you compare. The
    vocabulary is the training file's characters, sorted. The counts are not checked here.
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


def _check(path: Path, what: str, result: int, expected: int) -> None:
    if result != expected:
        raise ValueError(
            f"{path}: found {result} {what} with one {EOS} a line, expected {expected}"
        )


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
