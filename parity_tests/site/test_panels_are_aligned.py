"""The share of the left panel's statements that have a twin on the right, file by file.

    python -m pytest -s parity_tests/site/test_panels_are_aligned.py

prints the table. Statements of vjps and imports and the lines of defs are not counted; those of
definitions that torch supplies are counted apart.
"""

from __future__ import annotations

import importlib

import pytest
from helpers.source_pages import pages_of_the_panels
from rich.console import Console
from rich.table import Table
from torch import nn

from diptych.site.sources.page import SourcePage
from diptych.site.sources.remarks import RULES
from diptych.site.sources.tally import unexplained
from diptych.site.sources.twin_files import MODELS

PAGES = {page.file.stem: page for page in pages_of_the_panels()}
GOAL = 0.95
LESS = {
    "nn/functional": "one of eleven: NumPy's warnings are turned off",
    "nn/module": "the left writes out what torch.nn.Module has",
    "nn/random": "the left draws in blocks that stay in the cache",
    "probability/discretized_logistics": "the left keeps to the memory order of the parameters",
    "recurrent/network": "the left keeps one array of all steps, and one of all logits",
}
"""Files below the goal: every statement without a twin has a remark, and here is the reason."""


def test_the_table_of_aligned_statements():
    table = Table("file", "statements", "aligned", "one to one", "explained", "supplied", "share")
    for stem, page in PAGES.items():
        t = page.tally
        counts = t.statements, t.aligned, t.one_to_one, t.explained, t.supplied
        table.add_row(stem, *map(str, counts), f"{t.share:.1%}")
    Console(width=120).print(table)
    assert sum(page.tally.aligned for page in PAGES.values()) > 1000


@pytest.mark.parametrize("stem", PAGES)
def test_statements_have_twins(stem):
    page = PAGES[stem]
    goal = GOAL if stem not in LESS else 0.6
    assert page.tally.share >= goal, _alone(page)
    assert page.tally.statements == page.tally.aligned + page.tally.explained


def test_no_model_is_below_the_goal():
    assert not set(LESS) & set(MODELS)
    assert {stem for stem in LESS if PAGES[stem].tally.share >= GOAL} == set()


@pytest.mark.parametrize("stem", PAGES)
def test_every_statement_without_a_twin_says_why(stem):
    assert unexplained(PAGES[stem]) == []


def test_every_rule_of_the_remarks_holds_somewhere():
    rows = (r for page in PAGES.values() for d in page.walk() for r in d.groups)
    remarks = {row.remark for row in rows}
    assert {text for rules in RULES.values() for text, _ in rules} <= remarks


def test_a_module_that_calls_the_constructor_of_nn_module_has_no_other_one_above_it():
    for stem, page in PAGES.items():
        for definition in page.walk():
            if any(row.remark.startswith("nn.Module's own") for row in definition.groups):
                module = importlib.import_module(f"torch_impl.{stem.replace('/', '.')}")
                above = getattr(module, definition.name.partition(".")[0]).__mro__[1:]
                assert next(cls for cls in above if "__init__" in vars(cls)) is nn.Module


def _alone(page: SourcePage) -> str:
    """The statements of the left panel that have no twin."""
    lines = page.texts["left"].splitlines()
    return "\n".join(
        f"{row.left[0].first}: {lines[row.left[0].first - 1]}"
        for definition in page.walk()
        for row in definition.groups
        if row.kind == "left" and not row.part_of
    )
