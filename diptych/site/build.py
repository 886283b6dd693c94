"""Write the site to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console

from diptych.files import write_atomically
from diptych.parity.reports.report import Report
from diptych.site import books, pictures
from diptych.site.breaks.page import write_break_page
from diptych.site.breaks.record import Recorded, record_faults
from diptych.site.home.home import home_files
from diptych.site.home.search import Entry
from diptych.site.measured.measure import Measurements, measure_pages
from diptych.site.prose.pages import page_docs
from diptych.site.sources.highlight import Highlighter
from diptych.site.sources.page import SourcePage
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

FOLDER = Path(__file__).parent
SCRIPTS = (
    "site.js",
    "code.js",
    "definitions.js",
    "gutter.js",
    "values.js",
    "search.js",
    "pictures.js",
    "pictures_masks.js",
    "pictures_fields.js",
    "pictures_heat.js",
    "pictures_convolution.js",
    "pictures_optimisers.js",
    "break.js",
    "notebook.js",
)
STYLES = (
    "site.css",
    "code.css",
    "prose.css",
    "gutter.css",
    "values.css",
    "index.css",
    "pictures.css",
    "notebook.css",
    "break.css",
)


@dataclass(frozen=True)
class Site:
    """A site that was written: its index, and what is wrong with it."""

    index: Path
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if every definition has its twin, every pair agrees and every fault is seen."""
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
        failures = _write(out, pages, measured, recorded)
    problems = [*_problems(pages, measured, recorded), *failures]
    return Site(out / "index.html", tuple(problems))


def _write(
    out: Path, pages: list[SourcePage], measured: Measurements | None, recorded: list[Recorded]
) -> list[str]:
    """Write all files. Returns the errors of the pictures that could not be drawn."""
    environment = Environment(
        loader=PackageLoader("diptych.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["links"] = _links(bool(recorded))
    template, docs = environment.get_template("page.html.j2"), page_docs(environment)
    entries: list[Entry] = []
    failures: list[str] = []
    for page in pages:
        slug = page.file.slug
        drawn = pictures.for_page(slug)
        failures += [f"{slug}: {p.problem}" for p in drawn if p.problem]
        entries += [(p.title, "picture", f"pages/{slug}.html#{p.id}", page.title) for p in drawn]
        html = template.render(
            root="../",
            pages=pages,
            here=slug,
            page=page,
            code=Highlighter(page),
            docs=docs,
            measured=measured.page(slug) if measured else None,
            pictures=drawn,
            related=[(title, f"pages/{url}") for title, url in books.for_page(slug)],
        )
        write_atomically(out / "pages" / f"{slug}.html", html.encode())
    notebook = environment.get_template("notebook.html.j2")
    books.write_pages(
        out, lambda book: notebook.render(root="../", pages=pages, here=book.slug, page=book)
    )
    if recorded:
        write_break_page(out, environment, pages, recorded)
        entries.append(("Break it", "page", "pages/break.html", "planted faults"))
        entries += [
            (r.fault.title, "fault", f"pages/break.html#{r.fault.name}", r.fault.pair)
            for r in recorded
        ]

    def json(slug: str) -> Any:
        page = measured.page(slug) if measured else None
        return page.json if page else None

    for name, contents in home_files(environment, pages, out, measured=json, extra=entries):
        write_atomically(out / name, contents)
    for name, parts in (("site.js", SCRIPTS), ("site.css", STYLES)):
        joined = "\n".join((FOLDER / "static" / part).read_text() for part in parts)
        write_atomically(out / "assets" / name, joined.encode())
    return failures


def _links(has_faults: bool) -> dict[str, list[tuple[str, str]]]:
    """The pages of no source file for the navigation: (title, path) by heading."""
    notebooks = [(book.title, f"pages/{book.slug}.html") for book in books.pages()]
    faults = [("Break it", "pages/break.html")] if has_faults else []
    return {"Notebooks": notebooks, "Experiments": [*faults, ("Results", "pages/results.html")]}


def _problems(
    pages: list[SourcePage], measured: Measurements | None, recorded: list[Recorded]
) -> list[str]:
    problems = [message for page in pages for message in page.missing_twins]
    if measured:
        every = [*measured.reports.values(), *measured.reports32.values()]
        problems += [
            f"{report.name}, {report.dtype}: {report.verdict}" for report in every if not report.ok
        ]
        problems += measured.problems
    return problems + [r.problem for r in recorded if r.problem]
