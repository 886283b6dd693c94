"""A method, class, function or file that one panel lacks without a reason is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.source_pages import definition_of, page_of, pages_of_the_panels

import numpy_ref
import torch_impl
from diptych.site.sources import supplied, twins
from diptych.site.sources.lone import LONE
from diptych.site.sources.page import TwinFile
from diptych.site.sources.read import read_page
from diptych.site.sources.supplied import resolve

LEFT = Path(numpy_ref.__file__).parent
RIGHT = Path(torch_impl.__file__).parent


def lstm_page(folder: Path, left: tuple[str, str] = ("", ""), right: tuple[str, str] = ("", "")):
    """The page of the LSTM with one replacement on either side."""
    texts = [
        (panel / "lstm.py").read_text().replace(*change)
        if change[0]
        else (panel / "lstm.py").read_text()
        for panel, change in ((LEFT, left), (RIGHT, right))
    ]
    return page_of(folder, *texts, stem="lstm")


def test_the_panels_have_no_missing_twin_and_the_tables_no_stale_entry():
    assert twins.check(pages_of_the_panels()) == []


def test_a_renamed_method_is_named_with_its_likely_twin(tmp_path):
    page = lstm_page(tmp_path, right=("def features(", "def feature("))
    assert page.missing_twins == [
        "numpy_ref/lstm.py: LSTM.features has no twin in torch_impl/lstm.py; "
        "torch_impl/lstm.py has LSTM.feature, which numpy_ref/lstm.py lacks",
        "torch_impl/lstm.py: LSTM.feature has no twin in numpy_ref/lstm.py; "
        "numpy_ref/lstm.py has LSTM.features, which torch_impl/lstm.py lacks",
    ]


def test_a_method_that_only_the_left_panel_has_is_named(tmp_path):
    page = lstm_page(
        tmp_path,
        left=("    def features(", "    def extra(self):\n        pass\n\n    def features("),
    )
    assert page.missing_twins == ["numpy_ref/lstm.py: LSTM.extra has no twin in torch_impl/lstm.py"]


def test_a_class_is_named_once_and_not_with_each_of_its_methods(tmp_path):
    page = page_of(
        tmp_path,
        "class A:\n    def f(self): ...\n    def g(self): ...\n",
        "class B:\n    def f(self): ...\n",
        stem="lstm",
    )
    assert len(page.missing_twins) == 2
    assert page.missing_twins[0].startswith("numpy_ref/lstm.py: A has no twin")


def test_a_file_that_one_panel_lacks_is_named(tmp_path):
    page = page_of(tmp_path, "def f(x): ...\n", None)
    assert page.missing_twins == ["numpy_ref/small.py has no twin torch_impl/small.py"]
    known = read_page(TwinFile("nn/correlation", LEFT / "nn" / "correlation.py", None))
    assert known.missing_twins == []
    assert known.remark and known.quotes


def test_a_definition_of_one_panel_says_what_stands_for_it():
    page = next(p for p in pages_of_the_panels() if p.file.stem == "nn/functional")
    linear = definition_of(page, "linear")
    assert linear.remark == "torch supplies this: F.linear"
    assert linear.torch_name == "torch.nn.functional.linear"
    assert not any(row.right for row in linear.groups)
    assert linear.quotes and all("F.linear(" in quote.text for quote in linear.quotes)


def test_quotes_are_lines_of_their_files():
    root = LEFT.parent
    for page in pages_of_the_panels():
        for definition in page.walk():
            for quote in definition.quotes:
                lines = (root / quote.path).read_text().splitlines()
                begin = quote.text.partition("(")[0]
                assert begin in lines[quote.line - 1], quote


def test_every_name_of_torch_in_the_tables_can_be_imported():
    names = [
        entry.partition("; ")[0]
        for table in (supplied.SUPPLIED, supplied.BODIES)
        for entries in table.values()
        for entry in entries.values()
    ]
    assert all(resolve(name) is not None for name in names)
    with pytest.raises(AttributeError):
        resolve("torch.nn.functional.lineer")


@pytest.mark.parametrize(
    ("table", "stem", "name", "value"),
    [
        (supplied.SUPPLIED, "lstm", "LSTM.features", "torch.sigmoid"),
        (supplied.SUPPLIED, "lstm", "gone", "torch.sigmoid"),
        (twins.REASONS, "rnn", "rnn_cell", "a reason"),
        (twins.RENAMED, "rnn", "rnn_cell_", "rnn_cell"),
        (twins.RENAMED, "lstm", "sigmoid", "sigmoid_"),
        (supplied.BODIES, "rnn", "rnn_cell", "torch.sigmoid"),
    ],
)
def test_a_stale_entry_of_a_table_is_an_error(monkeypatch, table, stem, name, value):
    monkeypatch.setitem(table, stem, {**table.get(stem, {}), name: value})
    (message,) = twins.stale(pages_of_the_panels())
    assert message.startswith(f"{stem}: {name} ")


def test_a_stale_remark_is_an_error(monkeypatch):
    monkeypatch.setitem(LONE, "rnn", {"left": {"RNN.features": {"x = gone": "a reason"}}})
    (message,) = twins.stale(pages_of_the_panels())
    assert message.startswith("rnn: left: RNN.features: x = gone ")
