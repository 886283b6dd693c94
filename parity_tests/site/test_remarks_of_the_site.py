"""A statement without a twin says why, where its own text shows the reason."""

from __future__ import annotations

import pytest
from helpers.source_pages import definition_of, page_of

from diptych.site.sources.tally import unexplained


def remarks(folder, left: str, right: str) -> list[str]:
    page = page_of(folder, f"def f(x):\n{left}", f"def f(x):\n{right}")
    return [row.remark for row in definition_of(page, "f").groups[1:]]


def test_what_only_the_vjp_reads_is_kept_for_the_vjp(tmp_path):
    left = """
    shape = x.shape
    vjps = []
    h, h_vjp = layer(x)
    vjps.append(h_vjp)

    def vjp(dh):
        return vjps[0](dh).reshape(shape)

    return h, vjp
"""
    assert remarks(tmp_path, left, "    h = layer(x)\n    return h\n") == [
        "for the vjp: autograd does this on the right",
        "for the vjp: autograd does this on the right",
        "",
        "for the vjp: autograd does this on the right",
        "autograd does this on the right",
        "",
    ]


def test_what_the_forward_pass_reads_too_is_not_said_to_be_for_the_vjp(tmp_path):
    left = """
    scale = first(x)
    y = x * scale * scale + scale

    def vjp(dy):
        return dy * scale

    return y, vjp
"""
    first, *_ = remarks(tmp_path, left, "    y = second(x)\n    return y\n")
    assert first == ""


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("super().__init__()", "nn.Module's own constructor"),
        ('kwargs: dict = {"device": x}', ""),
        ('factory_kwargs = {"dtype": x, "device": x}', "only the right panel has devices"),
        ("device = x.weight.device", "only the right panel has devices"),
        ("with torch.no_grad():\n        pass", "autograd must not record"),
        ("x = x.detach()", "autograd must not follow"),
        ("assert x is not None", "type checker"),
        ("mask: Tensor", "type checker"),
        ("casts = torch.is_autocast_enabled(x)", "autocast"),
        ("run_fused(x)", "fused kernels"),
        ("unknown(x)", ""),
    ],
)
def test_a_statement_of_the_right_panel_alone(tmp_path, statement, words):
    first, *rest = remarks(tmp_path, "    return 1\n", f"    {statement}\n    return 1\n")
    assert words in first if words else first == ""
    assert rest[0] == (first if statement.startswith("if") else "")  # the body of a lone block


def test_a_remark_is_marked_as_repeated_below_the_same_one(tmp_path):
    right = "    assert x is not None\n    assert x.mask is not None\n    return 1\n"
    page = page_of(tmp_path, "def f(x):\n    return 1\n", f"def f(x):\n{right}")
    assert [row.repeats_remark for row in definition_of(page, "f").groups[1:]] == [
        False,
        True,
        False,
    ]


def test_a_statement_without_a_reason_is_unexplained(tmp_path):
    page = page_of(
        tmp_path, "def f(x):\n    a = odd(x)\n    return x\n", "def f(x):\n    return x\n"
    )
    assert [row.id for row in unexplained(page)] == ["f.1"]
    assert (page.tally.statements, page.tally.aligned, page.tally.explained) == (2, 1, 0)
