"""The notebooks as they are stored: executed, clean, in order, and quoting the sources as they are.

If code that a notebook shows has changed, make its tables again, or execute it again if numbers
have changed as well:

    python -m diptych.notebook
    cd notebooks && jupyter nbconvert --to notebook --execute --inplace NAME.ipynb
"""

import re
from pathlib import Path

import nbformat
import pytest

from diptych import notebook
from diptych.site.books.quoting import renewed

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 800_000
"""Bytes of a notebook."""
HELPERS = re.compile(rf"^def ({'|'.join(notebook.__all__)})\(", re.MULTILINE)
QUOTATION = re.compile(r"`(\S+\.py)`, `[^`]+`\n\n```python\n(.*)\n```", re.DOTALL)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def book(path):
    return nbformat.read(path, as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def outputs(book, kind):
    """The outputs of one kind, such as "text/html"."""
    data = [output.get("data", {}) for cell in code_cells(book) for output in cell.outputs]
    return [item[kind] for item in data if kind in item]


def test_every_cell_was_executed_once_and_in_order(book):
    counts = [cell.execution_count for cell in code_cells(book)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_cell_warned_or_failed_and_none_tells_where_it_ran(path, book):
    for cell in code_cells(book):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output
    text = path.read_text()
    assert not re.search(r"[\" ]/(root|home|tmp|work|Users)/", text)
    assert len(text.encode()) < LIMIT


def test_helpers_are_those_of_the_package(book):
    assert not any(HELPERS.search(cell.source) for cell in code_cells(book))


def test_the_top_says_what_comes_before_and_after_and_how_long_it_takes(path, book):
    reading = book.cells[1]
    assert reading.metadata.tags == ["reading"]
    place = PATHS.index(path)
    assert f"Notebook {place + 1} of {len(PATHS)}." in reading.source
    for neighbour in PATHS[max(place - 1, 0) : place + 2]:
        assert (f"({neighbour.name})" in reading.source) == (neighbour != path)
    facts = book.metadata.diptych
    assert f"{facts.minutes} minutes to read" in reading.source
    assert f"{facts.seconds} seconds to run" in reading.source
    pages = re.findall(r"`out/pages/([a-z_.]+)\.html`", reading.source)
    assert pages
    for page in pages:
        assert (ROOT / "numpy_ref" / f"{page.replace('.', '/')}.py").exists()


def test_exercises_begin_red_and_their_answers_are_green(book):
    verdicts = {"exercise": [], "answer": []}
    for cell in code_cells(book):
        for tag in set(cell.metadata.get("tags", ())) & set(verdicts):
            texts = [output.data["text/html"] for output in cell.outputs]
            verdicts[tag].append(texts)
    assert len(verdicts["exercise"]) == len(verdicts["answer"]) >= 2
    assert all("✗" in text for texts in verdicts["exercise"] for text in texts)
    assert all("✓" in text for texts in verdicts["answer"] for text in texts)
    assert all(texts for group in verdicts.values() for texts in group)


def test_answers_are_folded_in_jupyter_too(book):
    for cell in code_cells(book):
        is_answer = "answer" in cell.metadata.get("tags", ())
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == is_answer


def test_torch_is_shown_as_often_as_numpy(book):
    both = sum("beside(" in cell.source for cell in code_cells(book))
    alone = sum("quote(" in cell.source for cell in code_cells(book))
    assert both >= alone
    assert both


def test_the_code_of_both_panels_is_that_of_the_sources(book):
    tables = [text for text in outputs(book, "text/html") if 'class="beside"' in text]
    assert tables
    for table in tables:
        assert renewed(table) == table
        assert "data-quote" in table


def test_quoted_code_is_that_of_the_sources(book):
    for text in outputs(book, "text/markdown"):
        if match := QUOTATION.fullmatch(text):
            lines = {line.strip() for line in (ROOT / match[1]).read_text().splitlines()}
            assert {line.strip() for line in match[2].splitlines()} <= lines
