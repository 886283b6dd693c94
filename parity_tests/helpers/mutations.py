"""Random damage to the bytes of a file, from a seed."""

import random
from collections.abc import Iterator

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF)


def mutants(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` damaged copies of `data`.

    Each has one to three changes: bits, bytes or words set, parts cut, repeated, moved or doubled.
    Half of the places are in the first and the last 300 bytes, where headers and directories are.
    """
    source = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(source.choice((1, 1, 1, 2, 3))):
            _change(mutant, source)
        yield bytes(mutant)


def _change(data: bytearray, source: random.Random) -> None:
    at, size = _place(data, source), source.choice((1, 2, 4, 8, 16, 100))
    part = data[at : at + size]
    match source.randrange(9):
        case 0:
            data[at : at + 1] = bytes(
                [(data[at] if at < len(data) else 0) ^ 1 << source.randrange(8)]
            )
        case 1:
            data[at : at + 1] = bytes([source.randrange(256)])
        case 2:
            data[at : at + 1] = bytes([source.choice(EDGES)])
        case 3:
            number = source.choice((0, 1, -1, 1 << 31, 1 << 16, source.getrandbits(32), len(data)))
            order = source.choice(("little", "big"))
            data[at : at + 4] = (number % (1 << 32)).to_bytes(4, order)
        case 4:
            del data[at:]
        case 5:
            del data[at : at + size]
        case 6:
            data[at:at] = part * source.choice((1, 2, 50))
        case 7:
            other = _place(data, source)
            data[other : other + size] = part
        case 8:
            data[at:at] = source.randbytes(size)


def _place(data: bytearray, source: random.Random) -> int:
    region = source.randrange(4)
    if region == 0:
        return source.randrange(min(300, len(data)) + 1)
    if region == 1:
        return len(data) - source.randrange(min(300, len(data)) + 1)
    return source.randrange(len(data) + 1)
