"""The snippets of docs/functions.md run as they are printed there."""

import contextlib
import doctest
import importlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "functions.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", PAGE, re.DOTALL)


def test_the_first_snippet_prints_what_the_page_shows():
    (code, expected), *_ = BLOCKS
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {"__name__": "snippet"})
    assert expected
    assert output.getvalue() == expected


def test_the_jax_function_agrees():
    pytest.importorskip("jax")
    (code,) = (code for code, _ in BLOCKS if code.startswith("# test_scan.py"))
    namespace = {"__name__": "snippet"}
    exec(code, namespace)
    namespace["test_scan"]()


@pytest.mark.parametrize(
    "name",
    ["options.patterns", "options.layouts", "options.slices", "parity.functions.nested_params"],
)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(f"diptych.{name}"))
    assert result.attempted
    assert not result.failed
