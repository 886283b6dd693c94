"""Text as a stream of token ids: vocabulary, splits, and contiguous batches of windows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import get_args

import numpy as np

from diptych.data.cutting import EOS, UNK, Rule, Unit, cut_prompt
from model_specs.common.fields import check_choice, check_positive_int

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Vocabulary:
    """Bijection between the tokens of a corpus and the ids 0 .. len - 1: `tokens[i]` has id i.

    `rule` is the rule of `diptych.data.cutting` that cut the corpus into words, and cuts a prompt.
    Raises: ValueError for an unknown unit or rule, an empty vocabulary, a repeated token, a word
    that contains white space, or a character token of another length than 1.
    """

    tokens: tuple[str, ...] = field(repr=False)
    unit: Unit
    rule: Rule = "marks"

    def __post_init__(self) -> None:
        check_choice("unit", self.unit, get_args(Unit))
        check_choice("rule", self.rule, get_args(Rule))
        other = [token for token in self.tokens if not isinstance(token, str)]
        if other:
            raise ValueError(f"tokens: got {other[0]!r}, takes strings")
        if len(self._ids) != len(self.tokens) or not self.tokens:
            raise ValueError(
                f"tokens: got {len(self.tokens)}, of them {len(self._ids)} distinct, "
                "takes 1 or more, all distinct"
            )
        for i, token in enumerate(self.tokens):
            if len(token) != 1 if self.unit == "characters" else token.split() != [token]:
                kind = "one character" if self.unit == "characters" else "a word without blanks"
                raise ValueError(f"tokens: got {token!r} for id {i}, takes {kind}")

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @property
    def contents(self) -> np.ndarray:
        """The fields as the bytes of a JSON object, for their digest."""
        return np.frombuffer(json.dumps(asdict(self), sort_keys=True).encode(), np.uint8)

    def index(self, token: str) -> int | None:
        """Return the id of `token`, or None if the vocabulary lacks it."""
        return self._ids.get(token)

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the id of each token.

        Shapes: (N,) int64 for N tokens.
        Raises: ValueError for an unknown token, with its position from 0 and similar tokens; also
        if `tokens` is one str and the unit is words: call `split` first.
        """
        if isinstance(tokens, str) and self.unit == "words":
            raise ValueError("tokens: got a str, takes one str a word: split(text) cuts it")
        tokens = list(tokens)
        try:
            return np.array([self._ids[token] for token in tokens], np.int64)
        except KeyError as unknown:
            token = unknown.args[0]
        matches = difflib.get_close_matches(str(token).lower(), self.tokens, n=3)
        hint = f", did you mean {' or '.join(map(repr, matches))}?" if matches else ""
        raise ValueError(
            f"tokens: got {token!r} at position {tokens.index(token)}, "
            f"takes one of {len(self)} {self.unit}{hint}"
        )

    def split(self, text: str) -> list[str]:
        """Split a prompt into tokens of this unit; `encode` then reports unknown ones.

        Characters: every character is a token. Words: as `cut_prompt` does, so a chunk between
        blanks that is in the vocabulary (such as PTB's N and <unk>) stays whole.
        """
        if self.unit == "characters":
            return list(text)
        return cut_prompt(text, self.rule, self._ids)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of `ids`.

        Words are joined by spaces, with a newline for each <eos>; characters are joined by nothing.

        Raises: ValueError for an id outside the vocabulary.
        """
        numbers = [int(i) for i in ids]
        for i in numbers:
            if not 0 <= i < len(self):
                raise ValueError(f"ids: got {i}, takes 0 to {len(self) - 1}")
        tokens = [self.tokens[i] for i in numbers]
        if self.unit == "characters":
            return "".join(tokens)
        text = " ".join("\n" if token == EOS else token for token in tokens)
        return text.replace(" \n", "\n").replace("\n ", "\n")


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Three splits of one text as token ids, their vocabulary, and a one-sentence `summary`.

    Shapes: train, valid, test (N,) int64, C-contiguous, N >= 2, each id in the vocabulary.
    Raises: ValueError that names the split, what it got and what it takes.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: Vocabulary
    summary: str

    def __post_init__(self) -> None:
        for name in SPLITS:
            ids = getattr(self, name)
            _check_stream(name, ids)
            if len(ids) < 2:
                raise ValueError(f"{name}: got {len(ids)} tokens, takes 2 or more")
            low, high = ids.min(), ids.max()
            if low < 0 or high >= len(self.vocabulary):
                raise ValueError(
                    f"{name}: got ids from {low} to {high}, takes 0 to {len(self.vocabulary) - 1}"
                )

    @property
    def contents(self) -> dict[str, np.ndarray]:
        """The arrays that decide the numbers of a run, by name, for their digests."""
        tokens = {f"{name} tokens": getattr(self, name) for name in SPLITS}
        return tokens | {"vocabulary": self.vocabulary.contents}


def count(train: np.ndarray, valid: np.ndarray, test: np.ndarray, vocabulary: Vocabulary) -> str:
    """Format sizes for a `summary`: "900 train, 50 valid and 50 test words, a vocabulary of 99".

    If the vocabulary has <unk>, its share of each split follows.
    """
    sizes = (
        f"{len(train)} train, {len(valid)} valid and {len(test)} test {vocabulary.unit}, "
        f"a vocabulary of {len(vocabulary)}"
    )
    shares = [unknown_share(ids, vocabulary) for ids in (train, valid, test)]
    if not any(shares):
        return sizes
    parts = (f"{percent(share)} of {split}" for share, split in zip(shares, SPLITS, strict=True))
    first, second, third = parts
    return f"{sizes}, {UNK} is {first}, {second} and {third}"


def unknown_share(ids: np.ndarray, vocabulary: Vocabulary) -> float:
    """Return the share of `ids` that is <unk>, from 0 to 1."""
    unknown = vocabulary.index(UNK)
    return 0.0 if unknown is None else float(np.mean(ids == unknown))


def percent(share: float) -> str:
    """Format a share from 0 to 1: "4.8 %"."""
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.{1 if share else 0}f} %"


class ContiguousBatches:
    """Windows (x, y) of a stream for truncated backpropagation through time.

    The stream is cut into `batch_size` pieces, one a column, which are read in parallel, `length`
    tokens at a time. Window i is

        piece = len(tokens) // batch_size
        x[t, b] = tokens[b piece + i length + t],   y[t, b] = tokens[b piece + i length + t + 1]

    Each column of window i + 1 continues that of window i, so the recurrent state may be carried
    over. There are (piece - 1) // length whole windows. With `tail`, the rest of each piece makes
    one more, shorter window; then a batch_size of 1 predicts every token but the first exactly
    once. The last len(tokens) % batch_size tokens are not read.

    Shapes: tokens (N,) int64; x, y (T, B) int64, C-contiguous copies; T = length except in the
    tail.
    Raises: ValueError for sizes that are not ints >= 1 or for too few tokens; IndexError for a
    window index out of range.
    Source: Zaremba, Sutskever & Vinyals, "Recurrent neural network regularization" (2014): their
    `replicate` (Lua) and TensorFlow's `ptb_iterator`, whose epoch_size is `len` of this class.
    """

    def __init__(
        self, tokens: np.ndarray, batch_size: int, length: int, *, tail: bool = False
    ) -> None:
        _check_stream("tokens", tokens)
        check_positive_int("batch_size", batch_size)
        check_positive_int("length", length)
        piece = len(tokens) // batch_size
        min_piece = 2 if tail else length + 1
        if piece < min_piece:
            raise ValueError(
                f"tokens: got {len(tokens)}, takes {batch_size * min_piece} or more for "
                f"batch_size {batch_size} x length {length}{' with a tail' if tail else ''}: "
                f"{min_piece} in each of {batch_size} pieces, since y is one token ahead of x"
            )
        self.batch_size, self.length, self.tail = batch_size, length, tail
        self._columns = tokens[: batch_size * piece].reshape(batch_size, piece).T  # (piece, B)
        self._steps = piece - 1 if tail else (piece - 1) // length * length

    @property
    def columns(self) -> np.ndarray:
        """The pieces side by side, (piece, B): window i has x from row i length on."""
        return self._columns

    @property
    def tokens_predicted(self) -> int:
        """The number of tokens in y, over all windows."""
        return self._steps * self.batch_size

    def __len__(self) -> int:
        return (self._steps + self.length - 1) // self.length

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= i < len(self):
            raise IndexError(f"window: got {i}, takes 0 to {len(self) - 1}")
        start, stop = i * self.length, min((i + 1) * self.length, self._steps)
        return self._columns[start:stop].copy(), self._columns[start + 1 : stop + 1].copy()

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[i] for i in range(len(self)))


def _check_stream(name: str, ids: np.ndarray) -> None:
    if ids.ndim != 1 or ids.dtype != np.int64 or not ids.flags.c_contiguous:
        raise ValueError(f"{name}: got {ids.dtype} {ids.shape}, takes int64 (N,) in C order")
