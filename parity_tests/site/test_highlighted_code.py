"""Highlighted code: lines with their numbers, names with their twins, the tinted backward pass."""

from __future__ import annotations

import html
import re

import pytest
from helpers.source_pages import definition_of, page_of, pages_of_the_panels

from diptych.site.sources.highlight import Highlighter
from diptych.site.sources.page import Quote, SourcePage, Statement


def code_of(page: SourcePage, name: str, side: str = "left") -> str:
    """The HTML of all lines of one side of a definition."""
    return str(Highlighter(page).html(statements_of(page, name, side), side))


def statements_of(page: SourcePage, name: str, side: str) -> list[Statement]:
    """The statements of one side of a definition."""
    rows = definition_of(page, name).groups
    return [s for row in rows for s in (row.left if side == "left" else row.right)]


def text_of(code: str) -> str:
    """The text of highlighted lines, one a line."""
    lines = re.findall(r"<code>(.*?)</code>", code)
    return "\n".join(html.unescape(re.sub(r"<[^>]*>", "", line)) for line in lines)


@pytest.mark.parametrize("page", pages_of_the_panels(), ids=lambda page: page.file.stem)
def test_the_text_of_every_line_is_that_of_the_file_in_few_bytes(page):
    highlighter, size = Highlighter(page), 0
    for side in ("left", "right"):
        lines = page.texts[side].splitlines()
        for definition in page.walk():
            code = str(highlighter.html(statements_of(page, definition.name, side), side))
            numbers = [int(n) for n in re.findall(rf'id="{side[0].upper()}(\d+)"', code)]
            assert text_of(code) == "\n".join(lines[n - 1] for n in numbers)
            size += len(code)
    assert size < 4.5 * sum(map(len, page.texts.values()))


def test_names_that_differ_by_rule_are_lit_up_together(tmp_path):
    page = page_of(
        tmp_path,
        "def f(a):\n    return np.concatenate(a, axis=0)\n",
        "def f(a):\n    return torch.cat(a, dim=0)\n",
    )
    sides = [re.findall(r'data-n="(\w+)"', code_of(page, "f", s)) for s in ("left", "right")]
    assert sides[0] == sides[1] == ["f", "a", "torch", "cat", "a", "dim"]


def test_self_keywords_and_builtins_are_no_names(tmp_path):
    source = "class A:\n    def f(self, x):\n        return len(self.x) if x else None\n"
    code = code_of(page_of(tmp_path, source, source), "A.f")
    assert set(re.findall(r'data-n="(\w+)"', code)) == {"f", "x"}


def test_vjps_and_the_lambdas_that_are_vjps_are_tinted(tmp_path):
    page = page_of(
        tmp_path,
        """
        def f(x):
            y, y_vjp = layer(x)
            é, z_vjp = y, lambda dz: dz * 2
            make = {"a": lambda: y}

            def vjp(dy):
                return y_vjp(dy)

            return é, lambda dy: (
                z_vjp(dy)
            )
        """,
        "def f(x):\n    return layer(x)\n",
    )
    lines = code_of(page, "f").split('<span class="ln')[1:]
    assert [line.startswith(" bw") for line in lines] == [False] * 4 + [True] * 2 + [False] * 3
    tinted = [
        html.unescape(re.sub(r"<[^>]*>", "", part))
        for line in lines
        for part in re.findall(r'<span class="bw">(.*?)</span></code>', line)
    ]
    assert tinted == ["lambda dz: dz * 2", "lambda dy: (", "        z_vjp(dy)", "    )"]
    assert '<b data-n="y_vjp" class="bw">' in lines[1]


def test_long_lines_may_break_after_a_bracket_or_a_comma(tmp_path):
    short, long = "g(a, b)", f"g({', '.join('abcdefghijklmnopqrstuvwxyz')})"
    source = f"def f(g):\n    {short}\n    {long}\n"
    first, second = code_of(page_of(tmp_path, source, source), "f").split('id="L3"')
    assert "<wbr>" not in first
    assert second.count("<wbr>") == 26


def test_a_line_has_its_indentation(tmp_path):
    source = "def f(x):\n    if x:\n        return 1\n"
    code = code_of(page_of(tmp_path, source, source), "f")
    assert re.findall(r'id="L\d"([^>]*)>', code) == ["", ' style="--i:4"', ' style="--i:8"']


def test_a_quote_is_highlighted_without_a_number(tmp_path):
    page = page_of(tmp_path, "x = 1\n", "x = 1\n")
    quote = Quote("lstm", "torch_impl/lstm.py", "f", 3, "y = F.linear(x < 1)")
    code = Highlighter(page).quote(quote)
    assert 'data-n="linear"' in code and "&lt;" in code and "id=" not in code
