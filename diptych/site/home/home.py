"""The files of the index: index.html, the page of results, and the entries of the search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jinja2 import Environment

from diptych.pairs.meanings import meaning
from diptych.site.books import pages as book_pages
from diptych.site.books.reading import notebooks
from diptych.site.home import reading, repository, results, rows, runs, search
from diptych.site.home.curves import drawing
from diptych.site.home.facts import facts, failures
from diptych.site.home.verdicts import DTYPES, scientific
from diptych.site.images import smaller
from diptych.site.sources.page import SourcePage


def home_files(
    environment: Environment,
    pages: Sequence[SourcePage],
    out: Path,
    *,
    measured: rows.Measured = lambda slug: None,
    extra: Iterable[search.Entry] = (),
    benchmarks: Iterable[tuple[str, str]] = (),
) -> Iterator[tuple[str, bytes]]:
    """The files of the index, each as (path within the site, contents).

    `measured` is a function (slug of a page) -> its measurements as JSON; `extra` are entries of
    the search for what only the caller knows, such as pictures and faults; `benchmarks` are the
    title and the address of the pages of times. The runs that `out` holds are drawn on the index,
    and a benchmark in it is linked.
    """
    books = notebooks()
    records = repository.records()
    sections = results.sections(records)
    common = {"pages": pages, "scientific": scientific, "dtypes": DTYPES}
    chapters = rows.rows_by_chapter(pages, measured, books)
    every = [row for group in chapters.values() for row in group]
    index = environment.get_template("index.html.j2").render(
        root="",
        here="",
        chapters=chapters,
        facts=facts(chapters.get(rows.CHAPTERS[""], []), every),
        failures=failures(every),
        missing=[message for page in pages for message in page.missing_twins],
        walks=reading.walks(pages, books),
        minutes=reading.minutes,
        number=reading.number,
        rate=reading.LINES_A_MINUTE,
        trainings=[(training, drawing(training)) for training in runs.trainings(out)],
        study=runs.summary(out),
        figures=runs.figures(out),
        sections=sections,
        summary=results.summary(records),
        meaning=meaning,
        benchmarks=[*benchmarks, *_own_benchmark(out)],
        **common,
    )
    yield "index.html", index.encode()
    page = environment.get_template("results.html.j2").render(
        root="../", here="results", sections=sections, **common
    )
    yield "pages/results.html", page.encode()
    for path in (path for section in sections for path in section.figures):
        yield f"assets/{path.name}", smaller(path.read_bytes())
    more = [(s.title, "results", f"pages/results.html#{s.id}", "") for s in sections]
    items = [*search.entries(pages, books), *search.sections(book_pages()), *extra, *more]
    yield "assets/search.js", search.script(items).encode()


def _own_benchmark(out: Path) -> list[tuple[str, str]]:
    """The page that `diptych bench` has written below a folder: title and address."""
    address = "bench/index.html"
    return [("the last benchmark of this machine", address)] if (out / address).is_file() else []
