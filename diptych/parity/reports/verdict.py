"""The verdict of a comparison: one line that says which tensor is off, by how much, and where."""

from __future__ import annotations

import math
import re

from diptych.parity.measures.rows import PROPAGATED, Row
from diptych.parity.reports.outcome import Outcome

_PREDICATES = ("missing", "overwritten", "added", "unused", "frozen", "tied", "computed")
_COUNT = re.compile(r"(\d+ of \d+)( elements)? differ")


def verdict(outcome: Outcome) -> str:
    """The verdict in one line, with the name of the comparison in front."""
    row = outcome.blamed
    if outcome.problem:
        text = outcome.problem
    elif row is not None:
        text = fault(row) + _consequences(outcome, row)
    elif outcome.is_empty:
        text = "; ".join(("nothing was compared", *outcome.not_compared))
    else:
        text = _agreement(outcome)
    text = " ".join(text.split())
    prefix = f"{outcome.name}: " if outcome.name else ""
    return text if prefix and text.startswith(prefix) else prefix + text


def fault(row: Row) -> str:
    """One failing row in words: its name, its kind, and what is wrong with it."""
    subject, note = f"{row.name}: {row.kind}", row.note
    element = element_of(row)
    if count := _COUNT.fullmatch(note):
        return f"{subject} differs in {count[1]} elements{element}"
    if note.startswith(_PREDICATES):
        return f"{subject} is {note}"
    if note.startswith(("shape ", "NaN ")):
        return f"{subject} has {note}{element}"
    if math.isinf(row.error) and note:
        return f"{subject}: {note}{element}"
    remark = f" ({note})" if note else ""
    if math.isinf(row.error) and row.values and row.values[1] == 0:
        return f"{subject} differs from a reference of zeros{element}{remark}"
    bound = format_number(row.bound) + (", loosened by hand" if row.loosened else "")
    return f"{subject} off by {row.error:.1e} (bound {bound}){element}{remark}"


def element_of(row: Row) -> str:
    """The worst element of a row, as " at [4, 1]: -0.673 for 0.0"; "" if both sides are equal."""
    if row.index is None or row.values is None or row.values[0] == row.values[1]:
        return ""
    place = f" at {list(row.index)}" if row.index else ""
    a, b = format_values(*row.values, exact=row.exact)
    return f"{place}: {a} for {b}"


def format_values(a: float, b: float, *, exact: bool = False) -> tuple[str, str]:
    """Two numbers with enough digits, three at least, to show two digits of their difference."""
    if exact and float(a).is_integer() and float(b).is_integer():
        return str(int(a)), str(int(b))
    digits, scale = 3, max(abs(a), abs(b))
    if math.isfinite(a) and math.isfinite(b) and a != b:
        digits = max(3, 2 - math.floor(math.log10(abs(a / scale - b / scale))))
    texts = [repr(x) if digits > 16 else _short(x, digits) for x in (a, b)]
    return (texts[0], texts[1]) if texts[0] != texts[1] else (repr(a), repr(b))


def format_number(number: float) -> str:
    """A bound in two digits, without a trailing zero: 1e-13, 2.4e-06, 0."""
    return f"{number:.1e}".replace(".0e", "e") if number else "0"


def _short(number: float, digits: int) -> str:
    text = f"{number:.{digits}g}"
    return text if re.search(r"[.en]", text) else f"{text}.0"


def _consequences(outcome: Outcome, row: Row) -> str:
    """The other failing rows, counted by origin; "" if there is no other."""
    others = [failure for failure in outcome.failures if failure is not row]
    propagated = sum(failure.origin == PROPAGATED for failure in others)
    rest = len(others) - propagated
    if row.origin == PROPAGATED:
        verb = "is" if propagated == 1 else "are"
        more = f", as {verb} {_count(propagated)}" if propagated else ""
        return f"; it is propagated{more}, and no compared call is at fault"
    parts = []
    if rest:
        parts.append(f"{_count(rest)} {'fails by itself' if rest == 1 else 'fail by themselves'}")
    if propagated:
        verb = "is" if propagated == 1 else "are"
        number = f"and {propagated}" if rest else _count(propagated)
        parts.append(f"{number} {verb} propagated{'' if rest else ' from it'}")
    text = f"; {', '.join(parts)}" if parts else ""
    return text + ("; nothing but parameters was compared" if outcome.is_empty else "")


def _count(number: int) -> str:
    return f"{number} more row{'' if number == 1 else 's'}"


def _agreement(outcome: Outcome) -> str:
    """The number of tensors, the worst of them, and what weakens the result."""
    number, worst = len(outcome.rows), outcome.worst
    text = f"all {number} tensors agree" if number > 1 else "the only tensor agrees"
    if worst.error:
        text += f"; worst {worst.name}, {worst.kind}, off by {worst.error:.1e}"
        text += f" (bound {format_number(worst.bound)})"
    else:
        text += " exactly"
    loosened = sum(row.loosened for row in outcome.rows)
    if loosened:
        text += f"; {loosened} bound{'' if loosened == 1 else 's'} loosened by hand"
    if outcome.not_compared:
        text += f"; {len(outcome.not_compared)} not compared"
    return text
