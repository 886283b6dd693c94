"""Long-memory tasks: sequences generated from a key, the answer of each far from its question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from model_specs.common.fields import check_choice, check_positive_int
from model_specs.common.key import Key
from model_specs.common.streams import check_start
from numpy_ref.nn.random import bits, uniform

Kind = Literal["copy", "adding"]

BLANK, DATA, DELIMITER = 0, 8, 9  # the data symbols are 1 .. DATA
SYMBOLS = 10
LENGTH, ITEMS, MARKED = 100, 10, 2


class Sequences(NamedTuple):
    """A batch, time first: what goes in, what should come out, and which steps count.

    Shapes: copy x, y (T, B) int64; adding x (T, B, 2), y (T, B, 1) float32; weight (T, B) float32.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class MemoryTask:
    """One task at one length; its sequences are drawn, so there is nothing to read or to split.

    copy: `items` random symbols of 1 .. 8, length - 1 blanks (0), the delimiter (9), `items`
    blanks. The answer is blank, and on the last `items` steps the symbols in their order.

        x   3 1 8 . . . . 9 . . .        items 3, length 5: T = 11
        y   . . . . . . . . 3 1 8        weight 1 under these, else 0

    adding: two numbers a step, a value in [0, 1) and a marker, 1 at one step of the first half
    (length // 2 steps) and at one of the second. The answer is the sum of the two marked values,
    on the last step, which alone has weight 1; T = length, and `items` is 2.

    Raises: ValueError that names the field, what it got and what it takes.
    Source: Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks" (2016), 4.1,
    and Le, Jaitly & Hinton, "A simple way to initialize recurrent networks of rectified linear
    units" (2015), 4.1, both after Hochreiter & Schmidhuber, "Long short-term memory" (1997).
    There blank and delimiter are symbols 8 and 9 and the data 0 .. 7; 0 is the blank here.
    """

    name: str
    kind: Kind
    length: int = LENGTH
    items: int = ITEMS

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind))
        check_positive_int("length", self.length)
        check_positive_int("items", self.items)
        if self.kind == "adding" and self.length < MARKED:
            raise ValueError(f"length: got {self.length}, takes an int >= {MARKED} for adding")
        if self.kind == "adding" and self.items != MARKED:
            raise ValueError(f"items: got {self.items}, takes {MARKED} for adding")

    @property
    def steps(self) -> int:
        """T: length + 2 items for copy, length for adding."""
        return self.length + 2 * self.items if self.kind == "copy" else self.length

    @property
    def symbols(self) -> int:
        """The size of copy's vocabulary, 10; adding has no symbols: 0."""
        return SYMBOLS if self.kind == "copy" else 0

    @property
    def summary(self) -> str:
        what = f"{self.items} symbols of {DATA}" if self.kind == "copy" else "2 marked values"
        return f"{self.name}: {what}, length {self.length}, {self.steps} steps, drawn from a key"

    @property
    def contents(self) -> tuple[np.ndarray, ...]:
        """Nothing is read, so there is nothing to digest."""
        return ()

    def draw(self, key: Key, count: int, start: int = 0) -> Sequences:
        """Sequences start .. start + count - 1 of the stream that `key` names.

        Sequence n depends on the key and on n alone, so any part may be drawn at any time.
        Raises: ValueError for a count below 1 or a start below 0.
        """
        check_positive_int("count", count)
        check_start(start)
        return (self._copy if self.kind == "copy" else self._adding)(key, count, start)

    def _copy(self, key: Key, count: int, start: int) -> Sequences:
        n = self.items
        # the upper 3 bits of a word are one of 8
        data = 1 + (bits(key, (count, n), start * n) >> np.uint32(29)).astype(np.int64).T
        x = np.full((self.steps, count), BLANK, np.int64)
        y, weight = x.copy(), np.zeros(x.shape, np.float32)
        x[:n], x[-n - 1] = data, DELIMITER
        y[-n:], weight[-n:] = data, 1
        return Sequences(x, y, weight)

    def _adding(self, key: Key, count: int, start: int) -> Sequences:
        shape, half = (count, self.length), self.length // 2
        values = uniform(key.fold_in("values"), shape, start * self.length, np.float32)
        words = bits(key.fold_in("markers"), (count, MARKED), start * MARKED).astype(np.uint64)
        # floor(u n) of a u in [0, 1) with 32 bits: one of n, each as likely to 1 in 2^32 / n
        sizes, starts = np.array([half, self.length - half], np.uint64), np.array([0, half])
        marked = (words * sizes >> np.uint64(32)).astype(np.int64) + starts
        x = np.zeros((self.steps, count, 2), np.float32)
        y, weight = np.zeros((self.steps, count, 1), np.float32), np.zeros(x.shape[:2], np.float32)
        x[..., 0] = values.T
        x[marked, np.arange(count)[:, None], 1] = 1
        y[-1, :, 0] = np.take_along_axis(values, marked, axis=1).sum(1)
        weight[-1] = 1
        return Sequences(x, y, weight)


def parse(name: str) -> MemoryTask:
    """The task of a name: copy, copy:LENGTH, copy:LENGTH:ITEMS, adding or adding:LENGTH.

    LENGTH is 100 and ITEMS is 10 where the name does not say.
    Raises: ValueError for any other name and for numbers that the task does not take.
    """
    kind, *numbers = name.split(":")
    most = {"copy": 2, "adding": 1}.get(kind, -1)
    if len(numbers) > most or not all(re.fullmatch("[0-9]+", number) for number in numbers):
        raise ValueError(
            f"name: got {name!r}, takes copy, copy:LENGTH, copy:LENGTH:ITEMS, adding or "
            "adding:LENGTH, with ints for LENGTH and ITEMS"
        )
    length, items = [*map(int, numbers), *(LENGTH, ITEMS)[len(numbers) :]]
    try:
        return MemoryTask(name, kind, length, items if kind == "copy" else MARKED)  # type: ignore[arg-type]  # most has checked it
    except ValueError as error:
        raise ValueError(f"name: got {name!r}, {error}") from None
