"""The number of situations, so that none is lost without notice."""

import importlib
from collections import Counter
from pathlib import Path

from helpers.situations import REGISTRY

FILES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))


def _registry():
    """All situations; the files register theirs when they are imported."""
    for name in FILES:
        importlib.import_module(name)
    return list(REGISTRY.values())


def test_no_situation_is_lost():
    verdicts = Counter(case.verdict for case in _registry())
    assert verdicts["agrees"] >= 350 and verdicts["differs"] >= 410
    assert verdicts["refused"] >= 99


def test_each_section_has_its_situations():
    """At least twenty kinds of situations of our own stand beside those of the sections."""
    kinds = {(case.section, case.title.partition("[")[0]) for case in _registry()}
    sections = Counter(section for section, _ in kinds)
    assert sections["1"] >= 70 and sections["2"] >= 145 and sections["hostile"] >= 115


def test_most_kinds_that_agree_have_a_faulty_twin():
    """A correct pair that agrees proves little without its twin that must not."""
    kinds = {}
    for case in _registry():
        kinds.setdefault(case.title.partition("[")[0], set()).add(case.verdict)
    correct = {name for name, verdicts in kinds.items() if "agrees" in verdicts}
    twins = {name for name in correct if "differs" in kinds[name]}
    assert len(twins) >= 0.75 * len(correct)
