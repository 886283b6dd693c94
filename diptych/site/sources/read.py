"""Read a file of both panels, and align it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import get_args

from diptych.site.sources import twins
from diptych.site.sources.groups import group
from diptych.site.sources.lone import FILES
from diptych.site.sources.page import Definition, DefinitionKind, SideName, SourcePage, TwinFile
from diptych.site.sources.statements import Unit, cut
from diptych.site.sources.supplied import quotes_of, supplied_by
from diptych.site.sources.tally import tally
from diptych.site.sources.titles import lede, source, title

Twins = tuple[Unit | None, Unit | None]


def read_page(file: TwinFile) -> SourcePage:
    """Read both panels of a file and align their definitions and statements."""
    paths = {"left": file.left, "right": file.right}
    texts: dict[SideName, str] = {
        side: path.read_text() if (path := paths[side]) else "" for side in get_args(SideName)
    }
    reader = _Reader(file.stem, has_twin=bool(file.left and file.right))
    units = [cut(texts[side], side) for side in get_args(SideName)]
    remark, torch_names = FILES.get(file.stem, ("", ()))
    text = texts["left"] or texts["right"]
    page = SourcePage(
        file,
        title(file.stem, text),
        tuple(reader.definitions(units[0], units[1])),
        texts,
        lede=lede(text),
        source=source(text),
        remark=remark,
        missing_file=twins.missing_file(file),
        quotes=tuple(quotes_of(name, file.stem)[0] for name in torch_names),
    )
    return replace(page, tally=tally(page))


def match(
    left: Sequence[Unit], right: Sequence[Unit], renamed: dict[str, str] | None = None
) -> list[Twins]:
    """Units of both sides by name, in the order of the left; the right's own after their neighbour.

    `renamed` maps a name of the left to that of its twin.
    """
    names = {theirs: ours for ours, theirs in (renamed or {}).items()}
    ours, theirs = {u.name: u for u in left}, {names.get(u.name, u.name): u for u in right}
    order = list(ours)
    for k, name in enumerate(theirs):
        if name not in ours:
            before = [n for n in list(theirs)[:k] if n in order]
            place = order.index(before[-1]) + 1 if before else 0
            while place < len(order) and order[place] not in theirs:
                place += 1
            order.insert(place, name)
    return [(ours.get(name), theirs.get(name)) for name in order]


@dataclass(frozen=True)
class _Reader:
    """Makes the definitions of one file."""

    stem: str
    has_twin: bool

    def definitions(
        self, left: Sequence[Unit], right: Sequence[Unit], parent: Definition | None = None
    ) -> list[Definition]:
        """The definitions of two bodies; constants that follow each other are one."""
        result = []
        pairs = match(left, right, twins.RENAMED.get(self.stem))
        for kind, run in groupby(pairs, lambda pair: _some(pair).kind):
            if kind in ("imports", "constants"):
                result.append(self._module(list(run)))
            else:
                result += [self._definition(pair, pairs, parent) for pair in run]
        return result

    def _module(self, run: list[Twins]) -> Definition:
        name = _some(run[0]).name
        left = [s for ours, _ in run if ours for s in ours.statements]
        right = [s for _, theirs in run if theirs for s in theirs.statements]
        groups = group(self.stem, name, (), (), left, right)
        ours, theirs = (s[0].node if s else None for s in (left, right))
        return Definition(name, "module", ours, theirs, groups)

    def _definition(
        self, pair: Twins, siblings: list[Twins], parent: Definition | None
    ) -> Definition:
        unit = _some(pair)
        name = f"{parent.name}.{unit.name}" if parent else unit.name
        kind: DefinitionKind = (
            "class" if unit.kind == "class" else "method" if parent else "function"
        )
        left, right = pair
        ours, theirs = (u.statements if u else [] for u in pair)
        result = Definition(
            name,
            kind,
            left.node if left else None,
            right.node if right else None,
            group(self.stem, name, ours[:1], theirs[:1], ours[1:], theirs[1:]),
        )
        if result.only:
            result = self._alone(result, siblings, parent)
        inner = [u.children if u else [] for u in pair]
        return replace(result, children=tuple(self.definitions(inner[0], inner[1], result)))

    def _alone(
        self, definition: Definition, siblings: list[Twins], parent: Definition | None
    ) -> Definition:
        """A definition of one panel with the reason, or with the error message."""
        side = definition.only
        assert side
        torch_name, remark = supplied_by(self.stem, definition.name)
        if torch_name and side == "left":
            quotes = quotes_of(torch_name, self.stem)
            return replace(definition, remark=remark, torch_name=torch_name, quotes=quotes)
        if remark := twins.reason(self.stem, definition.name, side):
            return replace(definition, remark=remark)
        if parent and parent.only:
            return replace(definition, remark=parent.remark, torch_name=parent.torch_name)
        if not self.has_twin:
            return definition
        others = [u.name for pair in siblings if not pair[side == "right"] for u in pair if u]
        prefix = f"{parent.name}." if parent else ""
        message = twins.missing_twin(
            self.stem, definition.name, side, [f"{prefix}{name}" for name in others]
        )
        return replace(definition, missing_twin=message)


def _some(pair: Twins) -> Unit:
    unit = pair[0] or pair[1]
    assert unit
    return unit
