"""Key, the name of a random stream, and Keys, the names of several. They draw nothing."""

from __future__ import annotations

import hashlib
import operator
import struct
from dataclasses import dataclass

_SEED_LIMIT = 2**64


@dataclass(frozen=True, slots=True)
class Key:
    """The name of a random stream: a seed, and the path folded into it.

        Key(0).fold_in("dropout").fold_in(3)

    Folding returns a new key and does not change this one, which may be used and folded any number
    of times. The order of folds matters, and folding 3 differs from folding "3".

    `words` are the input of Philox4x32-10: BLAKE2b-128 of the seed and the path, as four 32-bit
    words. The first two are the cipher's key, the last two the upper half of its counter. The lower
    half of the counter counts elements, so that every stream has 2^66 words.

    Raises: ValueError for a seed outside [0, 2^64) or a fold that is neither int nor str.
    Source: the interface of `jax.random.fold_in`, which hashes with Threefry; BLAKE2b allows names
    of any length.

    >>> Key(0).fold_in("dropout").fold_in(3)
    Key(0).fold_in('dropout').fold_in(3)
    """

    seed: int
    path: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", _as_int("seed", self.seed))
        if not 0 <= self.seed < _SEED_LIMIT:
            raise ValueError(f"seed: got {self.seed}, takes an int in [0, 2**64)")
        object.__setattr__(self, "path", tuple(_as_fold(data) for data in self.path))

    def fold_in(self, data: int | str) -> Key:
        """The key of the stream named `data` under this one."""
        return Key(self.seed, (*self.path, data))

    @property
    def words(self) -> tuple[int, int, int, int]:
        """(k0, k1, c2, c3): the Philox key and the upper half of its counter."""
        return _words(_hash(self.seed, self.path))

    def __repr__(self) -> str:
        return f"Key({self.seed})" + "".join(f".fold_in({data!r})" for data in self.path)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys `key.fold_in(n)` for each n of `numbers`; `path` is folded into every one of them.

    The right panel draws the streams of all of them in one go, along a new first axis: row i of the
    result has the bits of key i alone.
    Raises: ValueError without a number, and for a fold that is neither int nor str.

    >>> Keys(Key(0), range(2)).fold_in("eps").words == [
    ...     Key(0).fold_in(n).fold_in("eps").words for n in range(2)
    ... ]
    True
    """

    key: Key
    numbers: range
    path: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        if not self.numbers:
            raise ValueError(f"numbers: got {self.numbers}, takes one or more")
        object.__setattr__(self, "path", tuple(_as_fold(data) for data in self.path))

    def fold_in(self, data: int | str) -> Keys:
        """Fold `data` into every key."""
        return Keys(self.key, self.numbers, (*self.path, data))

    @property
    def words(self) -> list[tuple[int, int, int, int]]:
        """The words of each key. They share the hash of the key before the number."""
        before, after = _hash(self.key.seed, self.key.path), b"".join(map(_encoded, self.path))
        words = []
        for number in self.numbers:
            name = before.copy()
            name.update(_encoded(number) + after)
            words.append(_words(name))
        return words


def _hash(seed: int, path: tuple[int | str, ...]) -> hashlib.blake2b:
    name = hashlib.blake2b(digest_size=16, person=b"diptych key v1")
    for part in (seed, *path):
        name.update(_encoded(part))
    return name


def _encoded(part: int | str) -> bytes:
    """Type, length and text, as in a netstring: no two paths have the same encoding."""
    text = str(part).encode()
    return b"%s%d:%s" % (b"s" if isinstance(part, str) else b"i", len(text), text)


def _words(name: hashlib.blake2b) -> tuple[int, int, int, int]:
    k0, k1, c2, c3 = struct.unpack("<4I", name.digest())
    return k0, k1, c2, c3


def _as_int(name: str, value: object) -> int:
    if isinstance(value, bool):
        raise ValueError(f"{name}: got {value!r}, takes an int")
    try:
        return operator.index(value)  # type: ignore[arg-type]  # np.int64 is accepted
    except TypeError:
        raise ValueError(f"{name}: got {value!r}, takes an int") from None


def _as_fold(data: object) -> int | str:
    if isinstance(data, str):
        return data
    try:
        return _as_int("fold_in", data)
    except ValueError:
        raise ValueError(f"fold_in: got {data!r}, takes an int or a str") from None
