"""The rows of a definition: aligned statements in the order of both files."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from diptych.site.sources.alignment import Pair, align
from diptych.site.sources.lone import FILES
from diptych.site.sources.page import Group, GroupKind, SideName, Statement
from diptych.site.sources.remarks import AUTOGRAD, remark
from diptych.site.sources.supplied import BODIES, supplies

Run = Sequence[Statement]


def group(
    stem: str, name: str, left_head: Run, right_head: Run, left: Run, right: Run
) -> tuple[Group, ...]:
    """The groups of a definition: name.0 is its head, then one for each pair or lone statement.

    vjps take no part in the alignment. A fold that a vjp interrupts is continued below it.
    """
    forward = [s for s in left if s.kind != "vjp"]
    torch_name = BODIES.get(stem, {}).get(name, "") if forward and right else ""
    pairs = [(tuple(forward), tuple(right))] if torch_name else align(forward, right)
    rows = _rows(pairs, [s for s in left if s.kind == "vjp"])
    has_reason = stem in FILES or bool(left_head) != bool(right_head)
    rows = [replace(row, remark=_remark(row, stem, name, left, right)) for row in rows]
    rows = [replace(row, remark=row.remark or _of_block(row, rows)) for row in rows]
    if has_reason:  # of the file or of the definition, which holds for all of its statements
        rows = [row if AUTOGRAD in row.remark else replace(row, remark="") for row in rows]
    if torch_name:
        rows[0] = replace(rows[0], remark=supplies(torch_name))
    result = [Group("", "head", tuple(left_head), tuple(right_head)), *rows]
    result = [
        replace(row, id=f"{name}.{number}", part_of=f"{name}.{row.part_of}" if row.part_of else "")
        for number, row in enumerate(result)
    ]
    result = [result[0], *(_repeating(before, row) for before, row in pairwise(result))]
    return tuple(result if left_head or right_head else result[1:])


def _rows(pairs: list[Pair], vjps: list[Statement]) -> list[Group]:
    """The rows without ids; `part_of` has the number of a row."""
    rows: list[Group] = []
    for ours, theirs in pairs:
        begun = 0
        if not ours:
            rows.append(Group("", "right", (), theirs))
        for piece in _pieces(ours, vjps):
            if piece[0].kind == "vjp":
                vjps.remove(piece[0])
                rows.append(Group("", "vjp", piece))
            elif begun:
                rows.append(Group("", "left", piece, part_of=str(begun)))
            else:
                kind: GroupKind = "pair" if theirs else "left"
                rows.append(Group("", kind, piece, theirs))
                begun = len(rows) if theirs else 0
    return [*rows, *(Group("", "vjp", (vjp,)) for vjp in vjps)]


def _pieces(run: Run, vjps: Run) -> list[tuple[Statement, ...]]:
    """The run cut where vjps stand in its midst or before it."""
    pieces: list[tuple[Statement, ...]] = []
    before = [v for v in vjps if run and v.first < run[-1].first]
    for statement in sorted([*run, *before], key=lambda s: s.first):
        if statement.kind == "vjp" or not pieces or pieces[-1][0].kind == "vjp":
            pieces.append((statement,))
        else:
            pieces[-1] = (*pieces[-1], statement)
    return pieces


def _remark(row: Group, stem: str, name: str, left: Run, right: Run) -> str:
    if row.part_of:
        returns = isinstance(row.left[0].node, ast.Return)
        return "the right returns this above" if returns else "the right does this above"
    if row.left and row.right:
        return ""
    if row.left:
        return remark(row.left[0], "left", stem, name, left)
    return remark(row.right[0], "right", stem, name, right)


def _of_block(row: Group, rows: list[Group]) -> str:
    """The remark of the lone `if` or `for` around a lone statement."""
    if row.kind not in ("left", "right"):
        return ""
    side: SideName = row.kind
    line = row.side(side)[0].node.__dict__.get("lineno", 0)
    for other in reversed(rows):
        node = other.side(side)[0].node if other.kind == side else None
        if not isinstance(node, ast.If | ast.For):
            continue
        if node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0):
            return other.remark
    return ""


def _repeating(before: Group, row: Group) -> Group:
    return replace(row, repeats_remark=bool(row.remark) and row.remark == before.remark)
