"""Write the site to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.files import write_atomically
from diptych.pairs.meanings import meaning
from diptych.parity.reports.report import Report
from diptych.site import books, look, pictures, speed
from diptych.site.breaks.page import write_break_page
from diptych.site.breaks.record import Recorded, record_faults
from diptych.site.home.home import home_files
from diptych.site.home.search import Entry
from diptych.site.measured.measure import Measurements, measure_pages
from diptych.site.prose.pages import page_docs
from diptych.site.sources import twins
from diptych.site.sources.highlight import Highlighter
from diptych.site.sources.page import SourcePage
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files


@dataclass(frozen=True)
class Site:
    """A site that was written: its index, and what is wrong with it."""

    index: Path
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if every definition has its twin, every pair agrees and every fault is seen.

        False, too, if a table or a notebook speaks of code that is gone.
        """
        return not self.problems


def build_site(
    out: Path, console: Console, *, check: bool = True, reports: Sequence[Report] | None = None
) -> Site:
    """Write the site to `out`; with `check`, after a parity run of every pair.

    `reports` are reports that exist already, which are not made again.
    """
    pages = [read_page(file) for file in twin_files()]
    measured = measure_pages(pages, console, reports) if check else None
    recorded = record_faults(console) if check else []
    with console.status("writing the site"):
        writer = _Writer(out, pages, measured, recorded)
        writer.write_study_pages()
        writer.write_notebooks()
        writer.write_faults()
        writer.write_speed()
        writer.write_home()
        writer.write_assets()
    problems = _problems(pages, measured, recorded) + writer.problems
    return Site(out / "index.html", tuple(problems))


class _Writer:
    """Writes the files of the site, and collects the entries of its search."""

    def __init__(
        self,
        out: Path,
        pages: list[SourcePage],
        measured: Measurements | None,
        recorded: list[Recorded],
    ) -> None:
        self._out, self._pages, self._recorded = out, pages, recorded
        self._measured = measured.pages if measured else {}
        self._benchmarks = speed.recorded()
        self._environment = look.jinja_environment(
            links=_links(bool(recorded), self._benchmarks), meaning=meaning
        )
        self._entries: list[Entry] = []
        self.problems: list[str] = []
        """The errors of the pictures that could not be drawn."""

    def write_study_pages(self) -> None:
        template = self._environment.get_template("page.html.j2")
        docs = page_docs(self._environment)
        for page in self._pages:
            slug = page.file.slug
            drawn = pictures.for_page(slug)
            self.problems += [f"{slug}: {p.problem}" for p in drawn if p.problem]
            self._entries += [
                (p.title, "picture", f"pages/{slug}.html#{p.id}", page.title) for p in drawn
            ]
            html = template.render(
                root="../",
                pages=self._pages,
                here=slug,
                page=page,
                code=Highlighter(page),
                docs=docs,
                measured=self._measured.get(slug),
                pictures=drawn,
                related=[(title, f"pages/{url}") for title, url in books.for_page(slug)],
            )
            write_atomically(self._out / "pages" / f"{slug}.html", html.encode())

    def write_notebooks(self) -> None:
        render = self._environment.get_template("notebook.html.j2").render
        books.write_pages(
            self._out,
            lambda book: render(root="../", pages=self._pages, here=book.slug, page=book),
        )

    def write_faults(self) -> None:
        if not self._recorded:
            return
        write_break_page(self._out, self._environment, self._pages, self._recorded)
        self._entries.append(("Break it", "page", "pages/break.html", "planted faults"))
        self._entries += [
            (r.fault.title, "fault", f"pages/break.html#{r.fault.name}", r.fault.pair)
            for r in self._recorded
        ]

    def write_speed(self) -> None:
        template = self._environment.get_template("speed.html.j2")
        for name, record in self._benchmarks.items():
            html = template.render(
                root="../", pages=self._pages, here=name, **speed.content(record)
            )
            write_atomically(self._out / "pages" / f"{name}.html", html.encode())
            self._entries.append((speed.title(record), "page", f"pages/{name}.html", "benchmark"))

    def write_home(self) -> None:
        measured = {slug: page.json for slug, page in self._measured.items()}
        for name, contents in home_files(
            self._environment,
            self._pages,
            self._out,
            measured=measured.get,
            extra=self._entries,
            benchmarks=[(speed.title(r), f"pages/{n}.html") for n, r in self._benchmarks.items()],
        ):
            write_atomically(self._out / name, contents)

    def write_assets(self) -> None:
        for name, text in (("site.js", look.script()), ("site.css", look.stylesheet())):
            write_atomically(self._out / "assets" / name, text.encode())


def _links(
    has_faults: bool, benchmarks: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[tuple[str, str]]]:
    """The pages of no source file for the navigation: (title, path) by heading."""
    notebooks = [(book.title, f"pages/{book.slug}.html") for book in books.pages()]
    faults = [("Break it", "pages/break.html")] if has_faults else []
    times = [(speed.title(record), f"pages/{name}.html") for name, record in benchmarks.items()]
    results = [("Results", "pages/results.html")]
    return {"Notebooks": notebooks, "Experiments": [*faults, *times, *results]}


def _problems(
    pages: list[SourcePage], measured: Measurements | None, recorded: list[Recorded]
) -> list[str]:
    """The missing twins, divergences, failed runs and stale texts of a site, in words."""
    problems = twins.check(pages) + [p for book in books.pages() for p in book.problems]
    if measured:
        every = [*measured.reports.values(), *measured.reports32.values()]
        problems += [
            f"{report.name}, {report.dtype}: {report.verdict}" for report in every if not report.ok
        ]
        problems += measured.problems
    return problems + [r.problem for r in recorded if r.problem]
