"""Statements of both panels are aligned one to one, in order, or as folds."""

from __future__ import annotations

import ast

from helpers.source_pages import definition_of, page_of, pages_of_the_panels, rows_of


def test_a_call_with_its_vjp_is_the_twin_of_the_call_alone(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(x):
            h, h_vjp = encoder(x)
            y, _ = decoder(h)
            return y, lambda dy: h_vjp(dy)
        """,
        """
        def f(x):
            h = encoder(x)
            y = decoder(h)
            return y
        """,
    )
    assert rows_of(page, "f") == [
        ("pair", "h, h_vjp = encoder(x)", "h = encoder(x)"),
        ("pair", "y, _ = decoder(h)", "y = decoder(h)"),
        ("pair", "return (y, lambda dy: h_vjp(dy))", "return y"),
    ]
    assert (page.tally.statements, page.tally.aligned, page.tally.one_to_one) == (3, 3, 3)


def test_steps_fold_into_the_one_statement_that_computes_the_same(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(mu, logvar, eps):
            std = np.exp(0.5 * logvar)
            z = mu + std * eps
            return z, lambda dz: dz
        """,
        """
        def f(mu, logvar, eps):
            return mu + torch.exp(0.5 * logvar) * eps
        """,
    )
    (row,) = definition_of(page, "f").groups[1:]
    assert row.is_fold
    assert (len(row.left), len(row.right)) == (3, 1)
    assert (page.tally.aligned, page.tally.one_to_one) == (3, 0)


def test_a_statement_that_no_later_step_reads_is_no_part_of_a_fold(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(x):
            a = len(x)
            b = second(x) / len(x)
            return b
        """,
        """
        def f(x):
            return second(x) / len(x)
        """,
    )
    assert rows_of(page, "f") == [
        ("left", "a = len(x)", ""),
        ("pair", "b = second(x) / len(x); return b", "return second(x) / len(x)"),
    ]


def test_a_fold_does_not_leave_the_block_in_which_it_begins(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(x, on):
            if on:
                y = first(x)
            return y
        """,
        """
        def f(x, on):
            return first(x)
        """,
    )
    assert not any(row.is_fold for row in definition_of(page, "f").groups)


def test_a_fold_goes_on_below_the_vjp_that_interrupts_it(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(x):
            y, y_vjp = layer(x)

            def vjp(dy):
                return y_vjp(dy)

            return y, vjp
        """,
        """
        def f(x):
            return layer(x)
        """,
    )
    assert rows_of(page, "f") == [
        ("pair", "y, y_vjp = layer(x)", "return layer(x)"),
        ("vjp", "def vjp(dy):", ""),
        ("left", "return (y, vjp)", ""),
    ]
    first, backward, rest = definition_of(page, "f").groups[1:]
    assert (backward.remark, rest.part_of) == ("autograd does this on the right", first.id)
    assert (page.tally.statements, page.tally.aligned) == (2, 2)


def test_functions_of_torch_are_the_twins_of_those_of_numpy(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(a, b, mask):
            c = np.concatenate((a, b), axis=-1)
            d = np.maximum(c.sum(0, keepdims=True), 0)
            return d.astype(mask.dtype)
        """,
        """
        def f(a, b, mask):
            c = torch.cat((a, b), dim=-1)
            d = c.sum(0, keepdim=True).clamp(0)
            return d.to(mask.dtype)
        """,
    )
    assert [kind for kind, *_ in rows_of(page, "f")] == ["pair"] * 3


def test_writes_in_place_are_assignments(tmp_path):
    page = page_of(
        tmp_path,
        """
        class Layer:
            def __init__(self, masks):
                self.mask = np.array(masks)

            def scale(self, factor, mean):
                self.weight.data[...] = draw(factor)
                self.bias.data[...] = 0
                self.gain.data *= factor
                np.exp(mean, out=self.total)
        """,
        """
        class Layer:
            def __init__(self, masks):
                self.register_buffer("mask", torch.tensor(masks), persistent=False)

            def scale(self, factor, mean):
                self.weight.copy_(draw(factor))
                self.bias.zero_()
                self.gain.mul_(factor)
                self.total = torch.exp(mean)
        """,
    )
    assert [kind for kind, *_ in rows_of(page, "Layer.__init__")] == ["pair"]
    assert [kind for kind, *_ in rows_of(page, "Layer.scale")] == ["pair"] * 4


def test_an_else_is_a_row_and_its_body_is_aligned(tmp_path):
    source = """
    def f(x, kind):
        if kind == "one":
            y = one(x)
        elif kind == "two":
            y = two(x)
        else:
            y = three(x)
        return y
    """
    rows = rows_of(page_of(tmp_path, source, source), "f")
    assert [left for _, left, _ in rows][4:] == ["else", "y = three(x)", "return y"]
    assert all(kind == "pair" and left == right for kind, left, right in rows)


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
