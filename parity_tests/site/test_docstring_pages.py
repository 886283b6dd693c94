"""Docstrings become prose, equations and terms, and nothing of their notation is left over."""

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from inspect import cleandoc
from pathlib import Path

import pytest

import model_specs
import numpy_ref
import torch_impl
from diptych.site.prose.docstrings import document
from diptych.site.prose.inline import formulas, prose
from diptych.site.prose.pages import docs_of
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

PACKAGES = [Path(package.__file__).parent for package in (numpy_ref, torch_impl, model_specs)]
FILES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
KINDS = (ast.Module, ast.ClassDef, ast.FunctionDef)
DERIVATIONS = {
    "numpy_ref/lstm.py": "backpropagation through time",
    "numpy_ref/rnn.py": "backpropagation through time",
    "numpy_ref/nn/correlation.py": "transposed convolution",
    "numpy_ref/nn/layers.py": "Derivation of dx",
    "numpy_ref/nn/functional.py": "Derivation of dv and dg",
    "numpy_ref/autoregressive/made.py": "Derivation of the inverse in one pass",
    "torch_impl/autoregressive/flow.py": "Derivation of the log-determinant",
    "numpy_ref/autoregressive/latents.py": "Derivation of the gradient",
    "numpy_ref/score_function.py": "Derivation of the gradient",
    "numpy_ref/probability/distributions.py": "Derivation of the closed form",
}


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """(name, docstring) of a file and of all that it defines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, KINDS) and ast.get_docstring(node):
            yield getattr(node, "name", path.stem), ast.get_docstring(node) or ""


def parts(text: str) -> list[str]:
    """All HTML of a document."""
    doc = document(text)
    return [
        doc.summary,
        *(html for _, html in doc.body),
        *(html for _, html in doc.terms),
        doc.derivation_title,
        doc.derivation,
    ]


def without(html: str, *tags: str) -> str:
    """The text of some HTML without the contents of some tags."""
    for tag in tags:
        html = re.sub(rf"<{tag}\b.*?</{tag}>", " ", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", "", html))


def shown(html: str) -> str:
    """The text that a reader sees, formulas included."""
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_every_docstring_is_well_formed_html(path):
    for name, text in docstrings(path):
        for html in parts(text):
            ET.fromstring(f"<div>{html}</div>"), name


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_no_formula_keeps_the_signs_of_its_plain_text(path):
    for name, text in docstrings(path):
        for math in re.findall(r"<math.*?</math>", "".join(parts(text)), re.DOTALL):
            code = re.sub(r'<mtext style="font-family:monospace">.*?</mtext>', "", math)
            leftovers = re.search(r"\\|_|\^|sum(?![a-z])|\bsqrt|[<>]=", shown(code))
            assert not leftovers, (name, shown(math))


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_no_raw_notation_stands_outside_of_formulas_and_code(path):
    for name, text in docstrings(path):
        words = without("".join(parts(text)), "math", "code", "pre")
        found = re.search(r"\\|\w\^|_\{|\b(?:sum|prod)_|\b[a-zA-Z]_[a-z]\b|<[a-z=]|->", words)
        assert not found, (name, words[max(0, found.start() - 40) : found.end() + 20])


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_no_display_of_a_docstring_falls_back_to_plain_text(path):
    """Only the pictures made of signs are preformatted."""
    for name, text in docstrings(path):
        for block in re.findall(r"<pre>(?!<code>)(.*?)</pre>", "".join(parts(text)), re.DOTALL):
            assert re.search(r"[#@.] [#@.]|[01] [01]", block), (name, block)


@pytest.mark.parametrize("file", DERIVATIONS)
def test_the_derivations_of_the_hard_layers_are_folded(file):
    path = PACKAGES[0].parent / file
    derivations = [document(text) for _, text in docstrings(path) if document(text).derivation]
    titles = [shown(doc.derivation_title) for doc in derivations]
    assert any(DERIVATIONS[file] in title for title in titles), titles
    assert all("<math" in doc.derivation for doc in derivations)
    assert not any("Derivation" in "".join(h for _, h in doc.body) for doc in derivations)


def test_a_docstring_has_its_parts_in_order():
    doc = document(
        cleandoc("""y = x Wᵀ + b.   x (N, I) -> y (N, O)

        The bias `b` has no gradient in float32:

            dW = sum_n dy_n x_nᵀ,   db = 0          (a remark)

        * first
        * second, at x > 0

        Derivation of dW. It is short:

            dW = dyᵀ x

        Units: those of x. Raises: ValueError for an x of wrong shape.
        Where we differ: nothing.

        >>> 1 + 1
        2
        """)
    )
    assert [kind for kind, _ in doc.body] == ["p", "equation", "list", "example"]
    assert [name for name, _ in doc.terms] == ["Shapes", "Units", "Raises", "Where we differ"]
    assert "<math" in doc.summary and shown(doc.terms[0][1]) == "x(N,I)→y(N,O)"
    assert "<code>b</code>" in doc.body[0][1]
    assert doc.body[2][1].count("<li>") == 2
    assert shown(doc.derivation_title).replace(" ", "") == "DerivationofdW"
    assert "It is short" in doc.derivation and "<math" in doc.derivation


@pytest.mark.parametrize("text", ["y = f(x", "a -> b -> (c", "y = 2 / / x", "x_{ = 1", "| = |", ""])
def test_a_docstring_that_is_no_notation_is_shown_as_it_stands(text):
    summary = shown(document(text).summary).replace("→", "->")
    assert summary.replace(" ", "") == text.replace(" ", "")


def test_a_line_of_a_raw_docstring_may_be_latex():
    doc = document("Sum.\n\n    $a = \\binom{n}{k}, b$    by choice\n    c = d")
    assert doc.body[0][0] == "equation" and "by choice" in shown(doc.body[0][1])
    assert "\\" not in shown(doc.body[0][1]) and "$" not in shown(doc.body[0][1])


def test_the_right_panel_is_quoted_only_where_it_says_something_else():
    left = "The loss, by hand.\n\nIt is a sum.   Right panel: torch_impl/x.py"
    assert not document(left, "The loss, vectorised.\n\nIt is a sum.   Left panel: x.py").right
    other = document(left, "The loss, vectorised.\n\nIt is a mean.")
    assert other.right == "It is a mean."
    assert document("", "Only the right has this.").summary == "Only the right has this."


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Where l > 0 it is computed for 1 - x.", ["l > 0", "1 - x"]),
        ("-log p(x|z) of each draw, a mask of type A.", ["-log p(x|z)"]),
        ("x (N, I) and b (O) or None -> y.", ["x (N, I)", "b (O)", "y"]),
        ("It adds d total / d parameter to a sum.", ["d total / d parameter"]),
        ("bits in [0, 1), from x_i = 2^-24 u", ["[0, 1)", "x_i = 2^-24 u"]),
        ("Kingma & Welling (2013), appendix B, section 3.1", []),
        ("a sample of N(0, I) in a layer; I inputs", ["N(0, I)", "I"]),
        ("sigmoid' = s (1 - s), and do not", ["sigmoid' = s (1 - s)"]),
        ("see config.samples and running_mean in nn.functional", []),
    ],
)
def test_formulas_of_a_sentence_are_found_and_words_are_left(sentence, expected):
    assert [sentence[start:end] for start, end in formulas(sentence)] == expected


def test_names_of_code_are_set_as_code():
    html = prose("torch.nn.Linear and config.samples, not `x_1` but running_mean; ValueError")
    names = ["torch.nn.Linear", "config.samples", "x_1", "running_mean", "ValueError"]
    assert re.findall(r"<code>(.*?)</code>", html) == names


def test_a_page_knows_the_docstrings_of_both_panels():
    page = read_page(next(file for file in twin_files() if file.stem == "lstm"))
    assert "LSTM language model" in docs_of(page).summary
    model = next(d for d in page.walk() if d.name == "LSTM")
    assert "kernel" in docs_of(model).right


def test_a_long_chain_of_arrows_may_wrap_before_each_arrow_and_a_short_one_is_whole():
    chain = " -> ".join(["x", "a", "b", "c", "d", "e", "loss"])
    assert str(document(f"A net.\n\n    {chain}\n").body[0][1]).count("<math") == 7
    assert str(document("A net.\n\n    x -> h -> loss\n").body[0][1]).count("<math") == 1
