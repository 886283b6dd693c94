"""The rows of a definition: aligned statements in the order of both files."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.site.sources.alignment import align
from diptych.site.sources.page import Group, Statement


def group(
    name: str,
    left_head: Sequence[Statement],
    right_head: Sequence[Statement],
    left: Sequence[Statement],
    right: Sequence[Statement],
) -> tuple[Group, ...]:
    """The groups of a definition: name.0 is its head, then one for each pair or lone statement.

    vjps take no part in the alignment. A fold that a vjp interrupts is continued below it.
    """
    groups = []
    if left_head or right_head:
        groups.append(Group(f"{name}.0", "head", tuple(left_head), tuple(right_head)))
    vjps = [s for s in left if s.kind == "vjp"]
    rows: list[Group] = []

    def add(kind: str, ours: Sequence[Statement], theirs: Sequence[Statement], of: str = "") -> str:
        id = f"{name}.{len(rows) + 1}"
        rows.append(Group(id, kind, tuple(ours), tuple(theirs), part_of=of))  # type: ignore[arg-type]
        return id

    for ours, theirs in align([s for s in left if s.kind != "vjp"], right):
        last_id, piece = "", list[Statement]()
        kind = "pair" if ours and theirs else "left" if ours else "right"
        for statement in ours:
            if vjps and vjps[0].first < statement.first:
                if piece:
                    last_id = add(kind, piece, theirs)
                    piece, kind, theirs = [], "left", ()
                while vjps and vjps[0].first < statement.first:
                    add("vjp", [vjps.pop(0)], ())
            piece.append(statement)
        add(kind, piece, theirs, last_id)
    for vjp in vjps:
        add("vjp", [vjp], ())
    return (*groups, *rows)
