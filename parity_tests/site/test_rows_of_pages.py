"""The rows of a page: every line in one of them, in the order of both files."""

from __future__ import annotations

import ast

from helpers.source_pages import definition_of, page_of, pages_of_the_panels, rows_of


def test_fields_of_classes_constants_and_imports_are_aligned(tmp_path):
    page = page_of(
        tmp_path,
        '''
        """A file."""

        import numpy as np
        from numpy_ref.nn import checks

        LIMIT = 3
        """The largest count."""


        class Layer:
            """A layer."""

            gates = 4
            kind: str


        LAYERS = {"layer": Layer}
        ''',
        '''
        """A file."""

        import torch
        from torch_impl.nn import checks

        LIMIT = 3
        """The largest count."""


        class Layer:
            """A layer."""

            gates = 4
            kind: str


        LAYERS = {"layer": Layer}
        ''',
    )
    assert [d.name for d in page.definitions] == ["imports", "LIMIT", "Layer", "LAYERS"]
    assert rows_of(page, "imports")[-1][0] == "pair"
    assert rows_of(page, "Layer") == [
        ("pair",) + ("gates = 4",) * 2,
        ("pair",) + ("kind: str",) * 2,
    ]
    (limit,) = definition_of(page, "LIMIT").groups
    assert limit.left[0].last - limit.left[0].first == 1  # its docstring belongs to it


def test_definitions_of_one_panel_stand_after_their_neighbour(tmp_path):
    page = page_of(
        tmp_path,
        "def a(x): ...\ndef b(x): ...\ndef c(x): ...\n",
        "def a(x): ...\ndef extra(x): ...\ndef c(x): ...\n",
    )
    assert [d.name for d in page.definitions] == ["a", "b", "extra", "c"]


def test_registered_functions_have_the_name_of_their_type(tmp_path):
    page = page_of(
        tmp_path,
        """
        @step.register
        def _(layer: ReLU): ...


        @step.register
        def _(layer: Residual): ...
        """,
        """
        @step.register
        def _(layer: nn.ReLU): ...


        @step.register
        def _(layer: Residual): ...
        """,
    )
    assert [d.name for d in page.definitions] == ["step.ReLU", "step.Residual"]
    assert not page.missing_twins


def test_every_line_of_the_panels_is_in_one_row_of_its_page():
    """Docstrings and blank lines apart."""
    for page in pages_of_the_panels():
        for side in ("left", "right"):
            lines = page.texts[side].splitlines()
            shown = [
                number
                for definition in page.walk()
                for row in definition.groups
                for statement in (row.left if side == "left" else row.right)
                for number in range(statement.first, statement.last + 1)
            ]
            assert len(shown) == len(set(shown)), page.file.stem
            documented = {n for n in _docstring_lines(page.texts[side]) if n not in shown}
            blank = {n for n, line in enumerate(lines, 1) if not line.strip()}
            assert {*shown, *documented, *blank} == set(range(1, len(lines) + 1)), page.file.stem


def test_rows_are_in_the_order_of_both_files():
    """Within a definition, and within the run of a class's own statements."""
    for page in pages_of_the_panels():
        for definition in page.walk():
            for side in ("left", "right"):
                statements = [
                    statement
                    for row in definition.groups
                    for statement in (row.left if side == "left" else row.right)
                ]
                firsts = [statement.first for statement in statements]
                assert firsts == sorted(firsts), f"{page.file.stem}: {definition.name}"


def test_ids_of_rows_are_unique_and_count_from_the_head():
    for page in pages_of_the_panels():
        ids = [row.id for definition in page.walk() for row in definition.groups]
        assert len(ids) == len(set(ids)), page.file.stem
        for definition in page.walk():
            numbers = [int(row.id.rpartition(".")[2]) for row in definition.groups]
            first = 1 if definition.kind == "module" else 0
            assert numbers == list(range(first, first + len(numbers)))
            assert all(row.id.startswith(f"{definition.name}.") for row in definition.groups)


def _docstring_lines(text: str) -> set[int]:
    """The lines of all strings that are statements."""
    return {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
