"""The page "Break it", and what the study pages need to mark a fault."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from diptych.files import write_atomically
from diptych.parity.reports.verdict import format_number
from diptych.site.breaks.excerpt import Excerpt, excerpts
from diptych.site.breaks.fault import Edit, Fault
from diptych.site.breaks.places import Change, Place, Places, changes_of
from diptych.site.breaks.record import ROOT, Recorded
from diptych.site.measured.report_rows import KINDS
from diptych.site.sources.page import SourcePage

SLUG = "break"
MOST_ROWS = 8
"""Failing rows that the page shows of a report."""


@dataclass(frozen=True)
class Link:
    """A group of a study page, with the fault that is marked there."""

    address: str
    text: str
    slug: str


@dataclass(frozen=True)
class Comparison:
    """A comparison of one variant in one dtype."""

    name: str
    dtype: str
    result: str
    """agrees, diverges or fails"""
    verdict: str


@dataclass(frozen=True)
class Card:
    """All that the page shows of one fault."""

    fault: Fault
    recorded: Recorded
    excerpts: list[Excerpt]
    report: Comparison | None
    others: list[Comparison]
    rows: list[dict[str, str]]
    hidden: int
    """failing rows that are not shown"""
    propagated: int
    """failing rows that only inherit an error"""
    trail: list[Link]
    planted: list[Link]
    by_hand: list[tuple[str, int]]
    """file and line of each edit"""
    witness: str
    """the sentence of the witness: its docstring, or its name in words"""

    @property
    def green(self) -> bool:
        """True if the comparison does not see the fault."""
        return self.report is not None and self.report.result == "agrees"


def write_break_page(
    out: Path,
    environment: Environment,
    pages: Sequence[SourcePage],
    recorded: Sequence[Recorded],
) -> None:
    """Write pages/break.html and assets/breaks.js."""
    places = Places(pages)
    cards = [make_card(r, places) for r in recorded]
    models: dict[str, list[Card]] = {}
    for card in cards:
        models.setdefault(card.fault.chapter, []).append(card)
    template = environment.get_template("break.html.j2")
    html = template.render(root="../", pages=pages, here=SLUG, cards=cards, models=models)
    write_atomically(out / "pages" / f"{SLUG}.html", html.encode())
    write_atomically(out / "assets" / "breaks.js", marks_script(recorded, places).encode())


def make_card(recorded: Recorded, places: Places) -> Card:
    """The card of a fault."""
    fault, report = recorded.fault, recorded.report
    failures = [row for row in report.get("rows", []) if not row["ok"]]
    first = [Link(_address(p, fault), p.definition, p.slug) for p in trail(recorded, places)]
    planted = {
        place: Link(_address(place, fault), place.definition, place.slug)
        for edit in fault.edits
        for place, _, _ in places.of_edit(edit)
    }
    return Card(
        fault,
        recorded,
        excerpts(fault, places),
        _comparison(report) if report else None,
        [_comparison(other) for other in recorded.others],
        [_row(row) for row in failures[:MOST_ROWS]],
        len(failures[MOST_ROWS:]),
        sum(row["origin"] == "propagated" for row in failures),
        first,
        list(planted.values()),
        _files(fault, places),
        _sentence(fault.witness),
    )


def trail(recorded: Recorded, places: Places) -> list[Place]:
    """The calls that lead to the first divergence, and the line that computes it."""
    return places.of_row(recorded.fault.pair, recorded.first) if recorded.first else []


def marks_script(recorded: Sequence[Recorded], places: Places) -> str:
    """A script that sets window.BREAKS: for each fault what static/break.js shows of it.

    {name: {title, pair, verdict, first, command, failures: [[kind, tensor, error]],
    marks: [[slug, group, kind, code, ...]]}}, where the kind of a mark is "planted", with the panel, the old and the new lines and the numbers of the old ones,
    "call" on the way to the first divergence, or "first".
    """
    faults = {}
    for r in recorded:
        marks: list[list[Any]] = []
        for edit in r.fault.edits:
            for place, _, change in places.of_edit(edit):
                old, new = _before_and_after(edit, change, places)
                lines = list(change.old or [change.old.start])
                marks.append([place.slug, place.group, "planted", edit.panel, old, new, lines])
        shown = trail(r, places)
        marks += [[place.slug, place.group, "call"] for place in shown[:-1]]
        marks += [[place.slug, place.group, "first"] for place in shown[-1:]]
        faults[r.fault.name] = {
            "title": r.fault.title,
            "pair": r.fault.pair,
            "verdict": r.report.get("verdict", r.problem),
            "first": r.report.get("first_in_words", ""),
            "witness": r.test.get("failed", ""),
            "failures": [
                [KINDS.get(row["kind"], "value"), row["name"], _short(row["error"])]
                for row in r.report.get("rows", [])
                if not row["ok"]
            ],
            "command": f"diptych check '{r.fault.pair}'",
            "marks": marks,
        }
    text = json.dumps(faults, ensure_ascii=False, separators=(",", ":"))
    return f"window.BREAKS = {text.replace('</', '<' + chr(92) + '/')};\n"


def _short(error: float | str) -> float | str:
    """An error of two digits."""
    return error if isinstance(error, str) else float(f"{error:.1e}")


def _address(place: Place, fault: Fault) -> str:
    return f"{place.slug}.html?broken={fault.name}#{place.group}"


def _comparison(report: dict[str, Any]) -> Comparison:
    """A report in brief; its verdict without the name in front."""
    result = "agrees" if report["ok"] else "fails" if report["problem"] else "diverges"
    verdict = report["verdict"].removeprefix(f"{report['name']}: ")
    return Comparison(report["name"], report["dtype"], result, verdict)


def _row(row: dict[str, Any]) -> dict[str, str]:
    """The cells of a failing row."""
    error = row["error"] if isinstance(row["error"], str) else f"{row['error']:.1e}"
    note = row["note"] if isinstance(row["error"], str) else ""
    return {
        "name": row["name"],
        "kind": row["kind"],
        "error": note or error,
        "bound": "" if row["exact"] or note else format_number(row["bound"]),
        "origin": row["origin"],
    }


def _before_and_after(edit: Edit, change: Change, places: Places) -> tuple[str, str]:
    """The lines that a change removes, and those that it inserts, without their indent."""
    page = places.page(edit.stem)
    text = page.texts[edit.panel] if page else ""
    before, after = text.splitlines(), edit.apply(text).splitlines()
    return (
        "\n".join(before[n - 1].strip() for n in change.old),
        "\n".join(after[n - 1].strip() for n in change.new),
    )


def _files(fault: Fault, places: Places) -> list[tuple[str, int]]:
    """File and line of each edit that fits its file."""
    result = []
    for edit in fault.edits:
        page = places.page(edit.stem)
        changes = changes_of(edit, page.texts[edit.panel]) if page else []
        result += [(edit.file, change.old.start) for change in changes[:1]]
    return result


def _sentence(witness: str) -> str:
    """The docstring's first line of a test, else its name in words."""
    if not witness:
        return ""
    file, _, name = witness.partition("::")
    if (ROOT / file).is_file():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                docstring = ast.get_docstring(node)
                if docstring:
                    return docstring.splitlines()[0]
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}."
