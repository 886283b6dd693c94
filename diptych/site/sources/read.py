"""Read a file of both panels, and align it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import get_args

from diptych.site.sources.groups import group
from diptych.site.sources.page import (
    Definition,
    DefinitionKind,
    Group,
    SideName,
    SourcePage,
    TwinFile,
)
from diptych.site.sources.statements import Unit, cut
from diptych.site.sources.tally import tally
from diptych.site.sources.titles import lede, source, title

Twins = tuple[Unit | None, Unit | None]


def read_page(file: TwinFile) -> SourcePage:
    """Read both panels of a file and align their definitions and statements."""
    paths = {"left": file.left, "right": file.right}
    texts: dict[SideName, str] = {
        side: path.read_text() if (path := paths[side]) else "" for side in get_args(SideName)
    }
    definitions = tuple(_definitions(cut(texts["left"], "left"), cut(texts["right"], "right"), ""))
    text = texts["left"] or texts["right"]
    page = SourcePage(file, title(text), definitions, texts, lede=lede(text), source=source(text))
    return replace(page, tally=tally(page))


def match(left: Sequence[Unit], right: Sequence[Unit]) -> list[Twins]:
    """Units of both sides by name, in the order of the left; one of the right after its neighbour."""
    ours, theirs = {u.name: u for u in left}, {u.name: u for u in right}
    order = list(ours)
    for k, name in enumerate(theirs):
        if name not in ours:
            before = [n for n in list(theirs)[:k] if n in order]
            order.insert(order.index(before[-1]) + 1 if before else 0, name)
    return [(ours.get(name), theirs.get(name)) for name in order]


def _definitions(left: Sequence[Unit], right: Sequence[Unit], prefix: str) -> list[Definition]:
    """The definitions of two bodies; constants that follow each other are one."""
    result = []
    for kind, run in groupby(match(left, right), lambda twins: _kind(twins)):
        if kind == "constants":
            result.append(_module("", list(run)))
        elif kind == "imports":
            result.append(_module("imports", list(run)))
        else:
            result += [_definition(twins, prefix) for twins in run]
    return result


def _kind(twins: Twins) -> str:
    unit = twins[0] or twins[1]
    assert unit
    return unit.kind


def _module(name: str, run: list[Twins]) -> Definition:
    units = [u for twins in run for u in twins if u]
    name = name or units[0].name
    left = [s for ours, _ in run if ours for s in ours.statements]
    right = [s for _, theirs in run if theirs for s in theirs.statements]
    groups = group(name, (), (), left, right)
    nodes = [next((u.node for twins in run if (u := twins[k])), None) for k in (0, 1)]
    return Definition(name, "module", *nodes, groups)


def _definition(twins: Twins, prefix: str) -> Definition:
    left, right = twins
    unit = left or right
    assert unit
    name = f"{prefix}{unit.name}"
    kind: DefinitionKind = "class" if unit.kind == "class" else "method" if prefix else "function"
    ours, theirs = (u.statements if u else [] for u in twins)
    groups: tuple[Group, ...] = group(name, ours[:1], theirs[:1], ours[1:], theirs[1:])
    children = (u.children if u else [] for u in twins)
    return Definition(
        name,
        kind,
        left.node if left else None,
        right.node if right else None,
        groups,
        tuple(_definitions(*children, prefix=f"{name}.")),
    )
