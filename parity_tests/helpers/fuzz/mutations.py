"""Random changes of valid inputs: bytes, JSON, arrays with metadata, and one-line texts.

Every change is drawn from a `random.Random`, so an input is reproduced from its number alone.
"""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

Bytes = Callable[[bytes, Random, Sequence[bytes]], bytes]

LIMITS = (0, 1, 127, 128, 255, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Integers at which sizes and types end."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, -0.0, math.nan, math.inf, -math.inf, 2**31, 2**63, -(2**63),
    10**20, "", "a", "é\n[/red]\x00", [], {}, [None], {"": None},
)  # fmt: skip
"""Values of another type, sign or size than a reader expects."""
DEEP = '{"a":' * 3000 + "1" + "}" * 3000
LONG = "9" * 5000


def change_bytes(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """Apply one to eight random changes to `data`; `others` are further valid inputs."""
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4, 8))):
        data = rng.choice(BYTE_CHANGES)(data, rng, others)
    return data


def mutants(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` copies of `data`, each with one to eight random changes."""
    rng = Random(seed)
    for _ in range(count):
        yield change_bytes(data, rng)


def _flip_bit(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return _edit(data, rng, lambda b, i: b[:i] + bytes([b[i] ^ 1 << rng.randrange(8)]) + b[i + 1 :])


def _set_byte(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    value = rng.choice((0, 1, 9, 10, 13, 32, 34, 91, 123, 127, 128, 255, rng.randrange(256)))
    return _edit(data, rng, lambda b, i: b[:i] + bytes([value]) + b[i + 1 :])


def _set_number(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Overwrite 1, 2, 4 or 8 bytes by a number near a limit, in either byte order."""
    code = rng.choice("BHIQ")
    order, value = rng.choice("<>"), rng.choice(LIMITS) + rng.choice((-1, 0, 0, 1))
    number = struct.pack(order + code, value % 2 ** (8 * struct.calcsize(code)))
    return _edit(data, rng, lambda b, i: b[:i] + number + b[i + len(number) :])


def _delete(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    length = rng.choice((1, 2, 4, 16, 100))
    return _edit(data, rng, lambda b, i: b[:i] + b[i + length :])


def _insert(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    content = rng.choice((b"\0", b"\n", b" ", b"\xff", b"\xef\xbb\xbf", rng.randbytes(8)))
    return _edit(data, rng, lambda b, i: b[:i] + content * rng.choice((1, 1, 2, 64)) + b[i:])


def _repeat(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    length = rng.choice((1, 8, 64, 512))
    return _edit(data, rng, lambda b, i: b[:i] + b[i : i + length] * 2 + b[i + length :])


def _truncate(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return _edit(data, rng, lambda b, i: b[:i])


def _append(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    return data + rng.choice((b"\0", b"\n", data[: 1 << 12], rng.randbytes(3)))


def _splice(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Go on with another input after a random place."""
    other = rng.choice(others) if others else data[::-1]
    return _edit(data, rng, lambda b, i: b[:i] + other[i:])


def _replace_digits(data: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Replace an ASCII number by one near a limit, as in a header that is written as text."""
    places = [i for i in range(min(len(data), 4096)) if data[i : i + 1].isdigit()]
    if not places:
        return _flip_bit(data, rng, ())
    i = rng.choice(places)
    number = rng.choice([str(limit) for limit in LIMITS] + ["-1", "1e999", "nan", LONG]).encode()
    return data[:i] + number + data[i + 1 :]


BYTE_CHANGES: tuple[Bytes, ...] = (
    _flip_bit, _set_byte, _set_number, _delete, _insert, _repeat, _truncate, _append, _splice,
    _replace_digits,
)  # fmt: skip


def _edit(data: bytes, rng: Random, edit: Callable[[bytes, int], bytes]) -> bytes:
    """Edit at a random place, half of the time among the first 128 bytes: headers stand there."""
    if not data:
        return rng.randbytes(4)
    return edit(data, rng.randrange(min(len(data), rng.choice((128, len(data))))))


def change_json(text: str, rng: Random) -> str:
    """Replace, delete, rename or add a random node of a JSON text."""
    value = change_value(json.loads(text), rng)
    result = json.dumps(value)
    if rng.random() < 0.1:  # json.dumps cannot write these
        node = json.dumps(_random_leaf(value, rng))
        result = result.replace(node, rng.choice((DEEP, LONG, "-" + LONG, "[" * 5000)), 1)
    return result


def change_value(value: Any, rng: Random) -> Any:
    """Replace, delete, rename or add one or two random nodes of a JSON value."""
    for _ in range(rng.choice((1, 1, 2))):
        value = _change_node(copy.deepcopy(value), rng)
    return value


def _change_node(value: Any, rng: Random) -> Any:
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return _other_value(value, rng)
    key = rng.choice([*value] if isinstance(value, dict) else range(len(value)))
    if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
        value[key] = _change_node(value[key], rng)
        return value
    match rng.randrange(6):
        case 0:
            del value[key]
        case 1 if isinstance(value, dict):
            value[f"{key}x"] = value.pop(key)
        case 2 if isinstance(value, dict):
            value["nope"] = rng.choice(VALUES)
        case 3 if isinstance(value, list):
            value.insert(rng.randrange(len(value) + 1), rng.choice(VALUES))
        case _:
            value[key] = _other_value(value[key], rng)
    return value


def _other_value(value: Any, rng: Random) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice((value + 1, -value, value * 2, value + 0.5, value * 10**12, str(value)))
    return rng.choice(VALUES)


def _random_leaf(value: Any, rng: Random) -> Any:
    while isinstance(value, dict | list) and value:
        value = rng.choice([*value.values()] if isinstance(value, dict) else value)
    return value


def change_arrays(
    arrays: dict[str, np.ndarray], metadata: dict[str, Any], rng: Random
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Change the metadata, or one array: its name, dtype, shape or a value.

    The result is a file of correct form with another meaning, so that checks behind the digest of
    a file are reached.
    """
    arrays, metadata = dict(arrays), dict(metadata)
    if not arrays or (metadata and rng.random() < 0.5):
        changed = change_value(metadata, rng)
        return arrays, changed if isinstance(changed, dict) else {"value": changed}
    name = rng.choice([*arrays])
    array = arrays[name]
    match rng.randrange(7):
        case 0:
            del arrays[name]
        case 1:
            arrays[f"{name}.nope"] = arrays.pop(name)
        case 2:
            arrays[name] = array.astype(rng.choice(("int32", "int64", "float16", "uint8", "bool")))
        case 3:
            arrays[name] = array.reshape(-1)[: rng.randrange(array.size + 1)]
        case 4:
            arrays[name] = array[None]
        case 5:
            arrays[name] = array * rng.choice((-1, 2, 0))
        case _:
            values = array.astype("float64" if array.dtype.kind == "f" else array.dtype)
            if values.size:
                odd = (math.nan, math.inf, 1e300, -1.0) if values.dtype.kind == "f" else (-1, 9999)
                values.reshape(-1)[rng.randrange(values.size)] = rng.choice(odd)
            arrays[name] = values.astype(array.dtype)
    return arrays, metadata


def change_text(text: str, rng: Random, tokens: Sequence[str]) -> str:
    """Change a one-line text: insert, delete, repeat and exchange tokens and characters."""
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        i, j = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        piece = rng.choice((*tokens, rng.choice(text or "a"), str(rng.choice(LIMITS)), "-1", "[/]"))
        text = rng.choice(
            (text[:i] + piece + text[i:], text[:i] + text[i + 1 :], text[:i] + piece + text[j:],
             text[min(i, j) : max(i, j)] or piece)
        )  # fmt: skip
    return text
