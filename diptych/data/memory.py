"""Long-memory tasks, copy and adding: the answer is due many steps after the data it depends on.

Files: none; sequences are generated from a key, so any number can be drawn and there are no splits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from diptych.limits import check_memory
from model_specs.common.fields import check_choice, check_positive_int
from model_specs.common.key import Key
from model_specs.common.streams import check_start
from numpy_ref.nn.random import bits, uniform

Kind = Literal["copy", "adding"]

BLANK, DATA, DELIMITER = 0, 8, 9  # the data symbols are 1 .. DATA
SYMBOLS = 10
BYTES = 20  # of a step of a sequence: input, target and weight
LENGTH, ITEMS, MARKED = 100, 10, 2


class Sequences(NamedTuple):
    """A batch, time first: inputs x, targets y, and the weight of each step in the loss.

    Shapes: copy x, y (T, B) int64; adding x (T, B, 2), y (T, B, 1) float32; weight (T, B) float32.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class MemoryTask:
    """A memory task at one length.

    copy: the input is `items` random symbols of 1 .. 8, length - 1 blanks (0), the delimiter (9)
    and `items` blanks. The target is blank until the last `items` steps, then the symbols in order.

        x   3 1 8 . . . . 9 . . .        items 3, length 5: T = 11
        y   . . . . . . . . 3 1 8        weight 1 on the last 3 steps, else 0

    adding: each step has a value in [0, 1) and a marker, which is 1 at one step of the first half
    (length // 2 steps) and at one step of the second. The target is the sum of the two marked
    values, on the last step, the only one of weight 1; T = length, and `items` is 2.

    Raises: ValueError that names the field, what it got and what it takes.
    Source: Arjovsky, Shah & Bengio, "Unitary evolution recurrent neural networks" (2016), 4.1,
    and Le, Jaitly & Hinton, "A simple way to initialize recurrent networks of rectified linear
    units" (2015), 4.1, both after Hochreiter & Schmidhuber, "Long short-term memory" (1997).
    Where we differ: there the data are symbols 0 .. 7 and the blank is 8; here the blank is 0.
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
        """The number of steps T: length + 2 items for copy, length for adding."""
        return self.length + 2 * self.items if self.kind == "copy" else self.length

    @property
    def symbols(self) -> int:
        """The size of the vocabulary: 10 for copy, 0 for adding, which has no symbols."""
        return SYMBOLS if self.kind == "copy" else 0

    @property
    def summary(self) -> str:
        """One sentence with the task's name, data, length and number of steps."""
        content = f"{self.items} symbols of {DATA}" if self.kind == "copy" else "2 marked values"
        return f"{self.name}: {content}, length {self.length}, {self.steps} steps, drawn from a key"

    @property
    def contents(self) -> dict[str, np.ndarray]:
        """The numbers that the generated sequences depend on, by name, for their digests."""
        task = f"{self.kind} {self.length} {self.items}"
        return {"task": np.frombuffer(task.encode(), np.uint8)}

    def draw(self, key: Key, count: int, start: int = 0) -> Sequences:
        """Draw sequences start .. start + count - 1 of the random stream `key`.

        Sequence n depends only on the key and on n.
        Raises: ValueError for a count below 1 or a start below 0.
        """
        check_positive_int("count", count)
        check_start(start)
        check_memory("count", count, BYTES * self.steps * count)
        return (self._copy if self.kind == "copy" else self._adding)(key, count, start)

    def _copy(self, key: Key, count: int, start: int) -> Sequences:
        n = self.items
        # the upper 3 bits of a random word select one of 8 symbols
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
        # floor(u n) for a 32-bit u in [0, 1) is uniform on 0 .. n - 1 up to a bias of n / 2^32
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
    """Make the task `name`: copy, copy:LENGTH, copy:LENGTH:ITEMS, adding or adding:LENGTH.

    LENGTH defaults to 100 and ITEMS to 10.
    Raises: ValueError for any other name and for numbers that the task does not take.
    """
    kind, *numbers = name.split(":")
    max_numbers = {"copy": 2, "adding": 1}.get(kind, -1)
    if len(numbers) > max_numbers or not all(re.fullmatch("[0-9]+", number) for number in numbers):
        raise ValueError(
            f"name: got {name!r}, takes copy, copy:LENGTH, copy:LENGTH:ITEMS, adding or "
            "adding:LENGTH, with ints for LENGTH and ITEMS"
        )
    length, items = [*map(int, numbers), *(LENGTH, ITEMS)[len(numbers) :]]
    try:
        return MemoryTask(name, kind, length, items if kind == "copy" else MARKED)  # type: ignore[arg-type]  # checked above
    except ValueError as error:
        raise ValueError(f"name: got {name!r}, {error}") from None
