"""Write the site to a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console

from diptych.files import write_atomically
from diptych.parity.reports.report import Report
from diptych.site import pictures
from diptych.site.home.home import home_files
from diptych.site.home.search import Entry
from diptych.site.measured.measure import Measurements, measure_pages
from diptych.site.prose.documentation import documentation
from diptych.site.sources.highlight import Highlighter
from diptych.site.sources.page import SourcePage
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

FOLDER = Path(__file__).parent
SCRIPTS = ("site.js", "code.js", "gutter.js", "values.js", "search.js", "pictures.js")
STYLES = (
    "site.css",
    "code.css",
    "gutter.css",
    "prose.css",
    "values.css",
    "index.css",
    "pictures.css",
    "notebook.css",
)


@dataclass(frozen=True)
class Site:
    """A site that was written: its index, and what is wrong with it."""

    index: Path
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if every definition has its twin and every pair agrees."""
        return not self.problems


def build_site(
    out: Path, console: Console, *, check: bool = True, reports: Sequence[Report] | None = None
) -> Site:
    """Write the site to `out`; with `check`, after a parity run of every pair."""
    environment = Environment(
        loader=PackageLoader("diptych.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages = [read_page(file) for file in twin_files()]
    measured = measure_pages(pages, console, reports) if check else None
    entries: list[Entry] = []
    for page in pages:
        slug = page.file.slug
        drawn = pictures.for_page(slug)
        entries += [(p.title, "picture", f"pages/{slug}.html#{p.id}", page.title) for p in drawn]
        html = environment.get_template("page.html.j2").render(
            root="../",
            pages=pages,
            here=slug,
            page=page,
            code=Highlighter(page),
            pictures=drawn,
            docs=documentation,
            measured=measured.page(slug) if measured else None,
            related=[],
        )
        write_atomically(out / "pages" / f"{slug}.html", html.encode())
    home = home_files(environment, pages, out, measured=_json(measured), extra=entries)
    for name, contents in home:
        write_atomically(out / name, contents)
    _write_assets(out / "assets")
    return Site(out / "index.html", tuple(_problems(pages, measured)))


def _json(measured: Measurements | None) -> Callable[[str], dict[str, Any] | None]:
    def of_page(slug: str) -> dict[str, Any] | None:
        page = measured.page(slug) if measured else None
        return page.json if page else None

    return of_page


def _problems(pages: Sequence[SourcePage], measured: Measurements | None) -> Iterator[str]:
    for page in pages:
        yield from page.missing_twins
    if measured:
        yield from measured.problems
        for report in [*measured.reports.values(), *measured.reports32.values()]:
            if not report.ok:
                yield report.verdict


def _write_assets(folder: Path) -> None:
    for name, parts in (("site.js", SCRIPTS), ("site.css", STYLES)):
        write_atomically(folder / name, _join(parts).encode())


def _join(names: Sequence[str]) -> str:
    return "\n".join((FOLDER / "static" / name).read_text() for name in names)
