"""The rows of a definition: aligned statements in the order of both files."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from diptych.site.sources.alignment import align
from diptych.site.sources.page import Group, GroupKind, Statement
from diptych.site.sources.remarks import remark

Run = Sequence[Statement]


def group(
    stem: str, name: str, left_head: Run, right_head: Run, left: Run, right: Run
) -> tuple[Group, ...]:
    """The groups of a definition: name.0 is its head, then one for each pair or lone statement.

    vjps take no part in the alignment. A fold that a vjp interrupts is continued below it.
    """
    rows = _rows(left, right)
    heads = [Group(f"{name}.0", "head", tuple(left_head), tuple(right_head))]
    result = heads if left_head or right_head else []
    for number, row in enumerate(rows, 1):
        part_of = f"{name}.{int(row.part_of)}" if row.part_of else ""
        text = _remark(row, stem, name, left, right)
        result.append(replace(row, id=f"{name}.{number}", part_of=part_of, remark=text))
    return tuple(
        replace(after, repeats_remark=bool(after.remark) and after.remark == before.remark)
        for before, after in pairwise([Group("", "head"), *result])
    )


def _rows(left: Run, right: Run) -> list[Group]:
    """The rows without ids; `part_of` has the number of a row."""
    rows: list[Group] = []
    vjps = [s for s in left if s.kind == "vjp"]
    for ours, theirs in align([s for s in left if s.kind != "vjp"], right):
        pieces, begun = _pieces(ours, vjps), 0
        for k, piece in enumerate(pieces):
            if piece[0].kind == "vjp":
                vjps.remove(piece[0])
                rows.append(Group("", "vjp", piece))
            elif begun:
                rows.append(Group("", "left", piece, part_of=str(begun)))
            else:
                kind: GroupKind = "pair" if theirs else "left"
                rows.append(Group("", kind, piece, theirs))
                begun = len(rows) if theirs else 0
        if not pieces:
            rows.append(Group("", "right", (), theirs))
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
