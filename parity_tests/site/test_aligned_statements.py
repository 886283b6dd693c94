"""Statements of both panels are aligned one to one, in order, or as folds."""

from __future__ import annotations

from helpers.source_pages import definition_of, page_of, rows_of


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
