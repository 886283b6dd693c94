"""Every slice of up to four items: NumPy's own part of an array, or an error."""

import itertools

import numpy as np
import pytest

from diptych.options.slices import parse

ARRAY = np.arange(24).reshape(2, 3, 4)
ITEMS = {"...": ..., ":": slice(None), "2": 2, "-3": -3, "1:3": slice(1, 3), "-4:-2": slice(-4, -2)}
TEXTS = [
    ", ".join(items)
    for count in (1, 2, 3, 4)
    for items in itertools.product(ITEMS, repeat=count)
    if items.count("...") <= 1
]


def expected(text):
    """The part, item by item; None if an item is empty or leaves its axis."""
    items = [ITEMS[item] for item in text.split(", ")]
    explicit = len(items) - items.count(...)
    if explicit > ARRAY.ndim:
        return None
    position = items.index(...) if ... in items else len(items)
    filling = [slice(None)] * (ARRAY.ndim - explicit)
    full = (*items[:position], *filling, *items[position + 1 :])
    for item, size in zip(full, ARRAY.shape, strict=True):
        indices = [item, item] if isinstance(item, int) else [item.start, item.stop]
        last = size - 1 if isinstance(item, int) else size
        if any(i is not None and not -size <= i <= last for i in indices):
            return None
        if isinstance(item, slice) and not range(*item.indices(size)):
            return None
    return ARRAY[full]


def test_every_slice_is_numpys_part_or_an_error():
    parts = [expected(text) for text in TEXTS]
    assert len(TEXTS) > 800 and 100 < sum(part is not None for part in parts) < 700
    for text, part in zip(TEXTS, parts, strict=True):
        name = parse(f"fc.weight[{text}]")
        assert name.name == "fc.weight"
        if part is None:
            with pytest.raises(
                ValueError, match=r"got shape \(2, 3, 4\), takes one with the slice"
            ):
                name.part_of(ARRAY)
        else:
            result = name.part_of(ARRAY)
            assert np.array_equal(result, part) and result.shape == part.shape, text
            assert np.shares_memory(result, ARRAY)
