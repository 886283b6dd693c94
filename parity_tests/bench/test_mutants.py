"""benchmarks/mutations.py: changes of a source that a test should notice, and no others."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = '''
"""A module."""
from math import sqrt

__all__ = ["area"]
Vector = tuple[int, ...]


def area(width: float, height: int | None = None) -> float:
    """2 * 3"""
    assert width > 0
    if height is None:
        raise ValueError("height: got " + "None")
    side = key.fold_in("side") if width < height else -width
    target[0] += np.sqrt(width * height)
    return side, (lambda d: d * 0.5)
'''
EXPECTED = {
    ": height is None -> (height is not None)",
    ": raise ValueError('height: got ' + 'None') -> pass",
    ": width < height -> (width <= height)",
    ": width < height -> (width >= height)",
    ": key.fold_in('side') -> key.fold_in('side?')",
    ": -width -> width",
    ": width * height -> (width / height)",
    ": width * height -> width",
    ": width * height -> height",
    ": np.sqrt(width * height) -> (width * height)",
    ": target[0] += np.sqrt(width * height) -> pass",
    ": target[0] += np.sqrt(width * height) -> target[0] = np.sqrt(width * height)",
    ": target[0] += np.sqrt(width * height) -> target[0] -= np.sqrt(width * height)",
    ".lambda: d * 0.5 -> d",
    ".lambda: 0.5 -> 1.0",
}


@pytest.fixture
def mutations(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import mutations  # noqa: PLC0415  # not a package that is installed

    return mutations.mutations


def test_code_is_mutated(mutations):
    keys = {mutation.key for mutation in mutations("a.py", SOURCE)}
    assert {f"a.py area{change}" for change in EXPECTED} <= keys


def test_types_docstrings_assertions_and_messages_are_not_mutated(mutations):
    for mutation in mutations("a.py", SOURCE):
        text = mutation.apply(SOURCE)
        for line in ('__all__ = ["area"]', "tuple[int, ...]", '"""2 * 3"""', "assert width > 0"):
            assert line in text, mutation.key
        assert "def area(width: float, height: int | None = None) -> float:" in text
        assert ('"height: got " + "None"' in text) != ("raise" in mutation.old)


def test_every_mutant_has_a_name_of_its_own_and_differs_from_the_source(mutations):
    file = "numpy_ref/nn/functional.py"
    source = (ROOT / file).read_text()
    mutants = mutations(file, source)
    assert len(mutants) > 100
    assert len({mutant.key for mutant in mutants}) == len(mutants)
    assert all(mutant.apply(source) != source for mutant in mutants)
