"""The notebooks as pages of the site: links, pictures, formulas, folds and size."""

import re
from html.parser import HTMLParser

import nbformat
import pytest

from diptych.site import books
from diptych.site.books import notebook_pages, reading
from diptych.site.books.outputs import Outputs
from diptych.site.books.prose import Prose
from diptych.site.prose.mathml import mathml
from diptych.site.sources.twin_files import twin_files

PAGES = {page.slug: page for page in books.pages()}
LIMIT = 2.2e6
"""Bytes of all notebooks on the site."""


class Elements(HTMLParser):
    """Collects ids, links, images and the text outside of code."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.images, self.text, self._code = [], [], [], "", 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self._code += tag in ("pre", "code")
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "img":
            self.images.append(attributes)

    def handle_endtag(self, tag):
        self._code -= tag in ("pre", "code")

    def handle_data(self, data):
        self.text += "" if self._code else data


def test_every_notebook_has_a_page_with_a_title_and_its_times():
    names = sorted(path.stem for path in reading.FOLDER.glob("*.ipynb"))
    assert len(names) >= 7
    assert list(PAGES) == [f"notebook.{name}" for name in names]
    for page in PAGES.values():
        assert page.title
        assert page.reading_minutes >= 5
        assert 1 <= page.run_seconds <= 60
        assert len(page.outline) >= 4


@pytest.mark.parametrize("slug", PAGES)
def test_no_formula_is_left_as_latex(slug):
    elements = Elements(PAGES[slug].html)
    assert "\\" not in elements.text
    assert "$" not in elements.text
    assert PAGES[slug].html.count("<math") > 5 or slug == "notebook.07_numpy_torch_gpu"


@pytest.mark.parametrize("slug", PAGES)
def test_links_lead_to_pages_and_anchors_that_exist(slug):
    elements = Elements(PAGES[slug].html)
    slugs = {file.slug for file in twin_files()} | set(PAGES)
    assert {anchor for anchor, _ in PAGES[slug].outline} <= set(elements.ids)
    assert len(set(elements.ids)) == len(elements.ids)
    assert elements.links
    for link in elements.links:
        assert link == "../index.html" or link.removesuffix(".html") in slugs, link


@pytest.mark.parametrize("slug", PAGES)
def test_pictures_are_files_with_a_description_and_a_size(slug):
    page = PAGES[slug]
    images = Elements(page.html).images
    assert [image["src"] for image in images] == [
        f"../assets/notebooks/{name}" for name in page.images
    ]
    for image in images:
        assert len(image["alt"]) > 20
        assert int(image["width"]) > 100
        assert int(image["height"]) > 20


def test_all_notebooks_together_are_small_enough_for_the_site():
    size = sum(
        len(page.html.encode()) + sum(map(len, page.images.values())) for page in PAGES.values()
    )
    assert size < LIMIT


def test_every_answer_is_folded():
    for page in PAGES.values():
        folds = re.findall(r'<details class="fold answer">.*?</details>', page.html, re.DOTALL)
        assert len(folds) >= 2
        assert all("✓" in fold and "✗" not in fold for fold in folds)
        outside = re.sub(r"<details.*?</details>", "", page.html, flags=re.DOTALL)
        assert outside.count("✗") >= len(folds)


def test_pages_of_sources_name_their_notebooks_first_those_about_the_model():
    assert books.for_page("lstm")[0] == (
        "Dropout in a recurrent network, twice",
        "notebook.02_recurrent_dropout.html",
    )
    flow = [address for _, address in books.for_page("autoregressive.flow")]
    assert "notebook.06_flow.html" in flow
    assert books.for_page("no.such.file") == []


def test_an_installed_package_without_notebooks_has_no_pages(tmp_path, monkeypatch):
    caches = notebook_pages.pages, reading.notebooks
    monkeypatch.setattr(reading, "FOLDER", tmp_path)
    try:
        for function in caches:
            function.cache_clear()
        assert books.pages() == ()
        assert books.for_page("lstm") == []
    finally:
        monkeypatch.undo()
        for function in caches:
            function.cache_clear()


def test_pages_and_pictures_are_written_side_by_side(tmp_path):
    books.write_pages(tmp_path, lambda page: page.html)
    for page in PAGES.values():
        assert (tmp_path / "pages" / f"{page.slug}.html").read_text() == page.html
        for name, content in page.images.items():
            assert (tmp_path / "assets" / "notebooks" / name).read_bytes() == content


def test_a_formula_without_mathml_is_named():
    with pytest.raises(ValueError, match=r"latex: got .* with \\nosuchcommand"):
        mathml(r"x + \nosuchcommand y")


@pytest.mark.parametrize(
    ("latex", "html"),
    [
        (r"\mathcal N", "<mi>𝒩</mi>"),
        (r"\mathbb E_q", "<mi>𝔼</mi>"),
        (r"\log p", '<mi>log</mi><mspace width="0.167em"/><mi>p</mi>'),
        (r"\log(p)", '<mi>log</mi><mo stretchy="false">(</mo>'),
        (r"\operatorname{Var} A", '<mi>Var</mi><mspace width="0.167em"/><mi>A</mi>'),
        (r"\mathrm{kl}", "<mi>kl</mi>"),
        ("z_{<i}", '<mo lspace="0" rspace="0">&lt;</mo>'),
        (r"z \sim q", "<mo>∼</mo>"),
        (r"|x|", 'lspace="0" rspace="0">|</mo><mi>x</mi>'),
    ],
)
def test_formulas_have_letters_and_spaces_that_browsers_know(latex, html):
    assert html in mathml(latex)


def test_numbers_of_equations_stand_beside_them():
    html = Prose(()).html("$$\nx = 1 . \\tag{3}\n$$\n")
    assert '<span class="number">(3)</span>' in html
    assert "tag" not in html


def test_names_of_files_are_links_only_if_they_have_a_page():
    prose = Prose({"lstm", "notebook.05_vlae"})
    assert '<a href="lstm.html"><code>numpy_ref/lstm.py</code></a>' in prose.html(
        "`numpy_ref/lstm.py`"
    )
    assert "<a" not in prose.html("`numpy_ref/rnn.py`, `model_specs/lstm.py`")
    assert 'href="notebook.05_vlae.html"' in prose.html("[05](05_vlae.ipynb)")
    assert 'href="lstm.html"' in prose.html("`out/pages/lstm.html`")


def test_printed_text_is_escaped_and_loses_its_colours():
    output = nbformat.v4.new_output("stream", text="\x1b[31ma < b\x1b[0m\n")
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    html = Outputs("name", Prose(())).html(cell)
    assert html == '<pre class="printed">a &lt; b</pre>'


def test_long_formulas_within_a_sentence_can_break_before_a_relation():
    assert mathml("a + b = c").count("<math") == 1
    long = mathml("f(a, b) = g(a, b) + h(a, b)")
    assert long.count("<math") == 3
    assert '<mo form="infix">=</mo>' in long
    assert mathml("f(a, b) = g(a, b) + h(a, b)", "block").count("<math") == 1


def test_verdicts_take_the_colours_of_the_site():
    text = '<p class="verdict bad" style="color: #b3261e"><b>✗ off</b></p>'
    output = nbformat.v4.new_output("display_data", data={"text/html": text})
    html = Outputs("name", Prose(())).html(nbformat.v4.new_code_cell("", outputs=[output]))
    assert '<p class="verdict bad"><b>✗ off</b></p>' in html
