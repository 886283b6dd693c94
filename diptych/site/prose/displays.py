"""Indented blocks of a docstring: equations in rows, a picture made of signs, or code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from diptych.site.prose.equations import equations, latex, mathml, relation
from diptych.site.prose.inline import formulas, prose
from diptych.site.prose.tokens import NotationError
from diptych.site.sources.code import highlight

_PICTURE = re.compile(r"(?:^|\s)(?:[#@.] ){2,}|(?:^|\s)[01] [01] [01](?:\s|$)|# \. \.|@ \.")
_CODE = re.compile(r'"|\[:|\w\)\.\w')
_COLUMN = re.compile(r"\s{3,}|(?<=[;,])\s{2,}(?=\S+ =)")
LONG = 64
"""Equations with more signs are set in smaller type, so that half a page is wide enough."""
MANY_ARROWS = 6
"""A chain of more links wraps."""
_NUMBER = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Row:
    """One line of a display: a name, the equation, a remark on it, and its number."""

    equation: str
    label: str = ""
    remark: str = ""
    number: str = ""


def display(text: str) -> tuple[str, Markup]:
    """The kind (equation, sketch or code) and the HTML of an indented block."""
    if _PICTURE.search(text):
        return "sketch", Markup("<pre>{}</pre>").format(text)
    if _CODE.search(text):
        return "code", code(text)
    try:
        return "equation", _rows([_row(line) for line in _lines(text)])
    except NotationError:
        return "sketch", Markup("<pre>{}</pre>").format(text)


def code(text: str) -> Markup:
    """Python, or a doctest, highlighted."""
    return Markup("<pre><code>{}</code></pre>").format(highlight(text))


def equation(text: str) -> Markup:
    """One equation on a line of its own."""
    return _rows([_row(text)])


def _lines(text: str) -> list[str]:
    """Equations; a line that is indented further, or begins with words, continues the last."""
    result: list[str] = []
    for line in text.splitlines():
        continues = line.startswith("   ") and not line.lstrip().startswith("=")
        if continues and result:
            result[-1] += "   " + line.strip()
        else:
            result.append(line.strip())
    return result


def _row(line: str) -> Row:
    number = ""
    if match := _NUMBER.search(line):
        line, number = line[: match.start()].rstrip(), match[0]
    first, *rest = (part.strip() for part in _COLUMN.split(re.sub(r"\s+(?=[=~] )", " ", line)))
    label = ""
    if rest and not formulas(first):
        label, (first, *rest) = first, rest
    remarks: list[str] = []
    for part in (r.removeprefix("; ") for r in rest):
        starts = [start for start, _ in formulas(part)]
        if relation(part) and starts[:1] == [0] and part[0] != "(" and not remarks:
            first = f"{first.rstrip(';,')}; {part}"
        else:
            remarks.append(part)
    first = first.rstrip(",.;:" if not first.endswith("...") else ";")
    latex(first)
    return Row(first, label, " ".join(remarks), number)


def _rows(rows: list[Row]) -> Markup:
    """Rows whose relation signs stand below each other, if there are several."""
    html = Markup()
    aligned = len(rows) > 1 and any(relation(row.equation) for row in rows)
    for row in rows:
        html += Markup("<div>")
        if any(r.label for r in rows):
            html += _span("label", prose(row.label))
        first, *others = equations(row.equation)
        signs = relation(first) if aligned else []
        if signs:
            left, right = first[: signs[0]], first[signs[0] :]
            html += _span("lhs", mathml(left, block=True) if left.strip() else Markup())
            html += _span("rhs", _side_by_side([right, *others]))
        else:
            html += _span("whole", _side_by_side([first, *others]))
        if row.number:
            html += _span("number", escape(row.number))
        if row.remark:
            html += _span("remark", prose(row.remark))
        html += Markup("</div>")
    kind = "eqs aligned" if aligned else "eqs"
    if any(len(part) > LONG for row in rows for part in equations(row.equation)):
        kind += " long"
    return Markup('<div class="{}">{}</div>').format(kind, html)


def _side_by_side(parts: list[str]) -> Markup:
    html = (Markup(" ").join(mathml(link, block=True) for link in _links(part)) for part in parts)
    return Markup("<span>{}</span>").format(Markup("</span> <span>").join(html))


def _links(equation: str) -> list[str]:
    """The links of a long chain of arrows, so that it may wrap before each; else the equation."""
    arrows = [at for at in relation(equation) if equation.startswith("->", at)]
    if len(arrows) < MANY_ARROWS:
        return [equation]
    ends = [*arrows, len(equation)]
    return [equation[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]


def _span(name: str, html: Markup) -> Markup:
    return Markup('<span class="{}">{}</span>').format(name, html)
