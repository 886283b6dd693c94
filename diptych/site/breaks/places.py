"""The places on the study pages that a planted fault and its first divergence belong to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from diptych import pairs
from diptych.site.breaks.fault import Edit
from diptych.site.sources.page import Definition, Group, SourcePage
from numpy_ref.nn.module import Module


@dataclass(frozen=True)
class Place:
    """A group of a study page."""

    slug: str
    definition: str
    group: str

    @property
    def method(self) -> str:
        """The last part of the definition's name."""
        return self.definition.rpartition(".")[2]

    @property
    def address(self) -> str:
        """Its address from another page, without the fault: lstm.html#LSTM.features.3"""
        return f"{self.slug}.html#{self.group}"


@dataclass(frozen=True)
class Change:
    """Lines that an edit replaces: `old` of the file become `new` of the edited file.

    Numbers from 1. If `old` is empty, the new lines are inserted before its start.
    """

    old: range
    new: range


def changes_of(edit: Edit, text: str) -> list[Change]:
    """The lines of a file that an edit changes, without those between them.

    An edit that does not fit the file any more changes none.
    """
    if text.count(edit.old) != 1:
        return []
    before, after = text.splitlines(), edit.apply(text).splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return [
        Change(range(i1 + 1, i2 + 1), range(j1 + 1, j2 + 1))
        for kind, i1, i2, j1, j2 in matcher.get_opcodes()
        if kind != "equal"
    ]


class Places:
    """The groups of all study pages, by what they compute."""

    def __init__(self, pages: Sequence[SourcePage]) -> None:
        self._pages = {page.file.stem: page for page in pages}
        self._definitions = {
            (page.file.stem, d.name): d for page in pages for d in page.walk() if d.kind != "module"
        }

    def page(self, stem: str) -> SourcePage | None:
        """The page of a file, such as "recurrent/network"; None if there is none."""
        return self._pages.get(stem)

    def of_edit(self, edit: Edit) -> list[tuple[Place, Definition, Change]]:
        """The groups whose lines an edit changes, each with its definition and its first change."""
        page = self.page(edit.stem)
        if page is None:
            return []
        result: dict[Place, tuple[Place, Definition, Change]] = {}
        for change in changes_of(edit, page.texts[edit.panel]):
            line = change.old.start
            for definition in page.walk():
                for group in definition.groups:
                    if any(s.first <= line <= s.last for s in group.side(edit.panel)):
                        place = Place(page.file.slug, definition.name, group.id)
                        result.setdefault(place, (place, definition, change))
        return list(result.values())

    def of_row(self, pair: str, row: dict[str, Any]) -> list[Place]:
        """The calls that lead from the model to a tensor, and last the line that computes it.

        The names of a row are those of the left panel: its modules, methods and arguments.
        """
        registered, config = pairs.find(pair)
        root = registered.left(config)
        modules = dict(root.named_modules())
        windows = (row["module"] or "").partition(".")[0] == "model"  # a loss over several windows
        name, path = (
            re.sub(r"^model(\.|$)", "", text) if windows else text
            for text in (row["name"], row["module"] or "")
        )
        attribute = name.rpartition(".")[2]
        if row["kind"] == "noise":
            return list(self._result(root, "draw_noise"))
        if row["kind"] == "parameter":  # its initial value, which the model sets
            return list(self._line(root, re.sub(r"_l\d+$", "", attribute), "__init__"))
        if row["kind"] == "buffer":
            line = self._line(modules[path], attribute)
            return [*self._calls(modules, path, "forward"), *line]
        backward = "gradient" in row["kind"]
        if row["kind"] == "parameter gradient":
            line = self._line(modules[path], re.sub(r"_l\d+$", "", attribute) + ".grad")
            return [*self._calls(modules, path, "forward"), *line]
        called = re.match(r"\w+", name[len(path) :].lstrip("."))
        method = called[0] if called and hasattr(modules[path], called[0]) else "forward"
        calls = self._calls(modules, path, method)
        return list(dict.fromkeys([*calls, *self._result(modules[path], method, backward)]))

    def _calls(self, modules: dict[str, Module], path: str, method: str) -> Iterator[Place]:
        """The lines that call each module on the path, from the model inwards."""
        parts = path.split(".") if path else []
        for depth, part in enumerate(parts):
            parent = modules[".".join(parts[:depth])]
            patterns = [f"self.{part}("]
            if depth == len(parts) - 1 and method != "forward":
                patterns.insert(0, f"self.{part}.{method}(")
            yield from self._first(parent, patterns)
        if method != "forward":
            yield from self._first(modules[path], [f"self.{method}("])

    def _first(self, module: Module, patterns: list[str]) -> Iterator[Place]:
        """The first line of a module's class with one of the patterns."""
        for pattern in patterns:
            for place, group, code in self._groups(module):
                if group.kind != "head" and pattern in code:
                    yield place
                    return

    def _line(self, module: Module, text: str, method: str = "") -> Iterator[Place]:
        """The last line of a module's class with a text: in one method, or outside __init__."""
        lines = [
            place
            for place, _, code in self._groups(module)
            if text in code
            and (place.method == method or (not method and place.method != "__init__"))
        ]
        yield from lines[-1:]

    def _result(self, module: Module, method: str, backward: bool = False) -> Iterator[Place]:
        """The line that returns the result of a method, or its vjp."""
        groups = [part for part in self._groups(module) if part[0].method == method]
        owner = groups[0][0].definition if groups else ""
        groups = [part for part in groups if part[0].definition == owner]  # not those of a base
        vjps = [place for place, group, _ in groups if group.kind == "vjp"]
        returns = [
            place for place, group, code in groups if "return " in code and group.kind != "vjp"
        ]
        yield from (vjps[:1] if backward and vjps else returns[-1:])

    def _groups(self, module: Module) -> Iterator[tuple[Place, Group, str]]:
        """The groups of the methods of a module's class and bases, with their code on the left."""
        for stem, definition in self._of_class(type(module)):
            for group in definition.groups:
                yield self._place(stem, definition, group), group, self._code(stem, group)

    def _of_class(self, kind: type) -> Iterator[tuple[str, Definition]]:
        """The methods of a class and of its bases, those of the class first."""
        for base in kind.__mro__:
            stem = base.__module__.partition(".")[2].replace(".", "/")
            owner = self._definitions.get((stem, base.__qualname__))
            if owner is not None:
                yield from ((stem, child) for child in owner.children)

    def _code(self, stem: str, group: Group) -> str:
        lines = self._pages[stem].texts["left"].splitlines()
        return "\n".join("\n".join(lines[s.first - 1 : s.last]) for s in group.left)

    def _place(self, stem: str, definition: Definition, group: Group) -> Place:
        return Place(self._pages[stem].file.slug, definition.name, group.id)
