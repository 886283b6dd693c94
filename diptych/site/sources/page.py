"""The parts of a page: definitions, groups of aligned statements, statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SideName = Literal["left", "right"]
GroupKind = Literal["head", "pair", "left", "right", "vjp"]
DefinitionKind = Literal["class", "method", "function", "module"]


@dataclass(frozen=True)
class TwinFile:
    """A file of both panels, such as "nn/layers"; one side is None if only one panel has it."""

    stem: str
    left: Path | None
    right: Path | None

    @property
    def slug(self) -> str:
        """The name of its page: "nn.layers" for pages/nn.layers.html."""
        return self.stem.replace("/", ".")

    @property
    def chapter(self) -> str:
        """The folder within the panel; "" for the models."""
        return self.stem.rpartition("/")[0]


@dataclass(frozen=True)
class Statement:
    """One statement, or the first lines of a block, function or class: lines first to last."""

    node: ast.AST
    first: int
    last: int
    kind: Literal["code", "head", "vjp"] = "code"
    blank_before: bool = False


@dataclass(frozen=True)
class Quote:
    """A line of source that a page shows from another place: where the right panel calls torch."""

    slug: str
    """the page that has the line, "" if none has"""
    path: str
    """the file: "torch_impl/lstm.py" """
    definition: str
    """the definition around them, "" outside of any"""
    line: int
    text: str


@dataclass(frozen=True)
class Group:
    """One row of a page: statements of the left beside those of the right that do the same.

    kind: "head" the line of a def or class; "pair" statements with a twin; "left" and "right"
    statements of one panel alone; "vjp" the hand-written backward pass of the left panel.
    """

    id: str
    """unique on the page and stable: "LSTM.features.3" is the third group of LSTM.features"""
    kind: GroupKind
    left: tuple[Statement, ...] = ()
    right: tuple[Statement, ...] = ()
    remark: str = ""
    """why a side is empty, in words: it is shown there ("autograd does this")"""
    repeats_remark: bool = False
    """True if the row above has the same remark, which needs no second display"""
    part_of: str = ""
    """the id of a pair above, of whose left side this is the rest, after a vjp"""

    def side(self, side: SideName) -> tuple[Statement, ...]:
        """The statements of one side."""
        return self.left if side == "left" else self.right

    @property
    def is_fold(self) -> bool:
        """True if several statements of one side stand beside those of the other."""
        return self.kind == "pair" and (len(self.left) > 1 or len(self.right) > 1)


@dataclass(frozen=True)
class Definition:
    """A class, method or function of both panels with its docstrings and groups.

    kind "module": the imports, or constants that stand between functions and classes.
    """

    name: str
    """qualified within the file: "LSTM.features" """
    kind: DefinitionKind
    left: ast.AST | None
    right: ast.AST | None
    groups: tuple[Group, ...] = ()
    children: tuple[Definition, ...] = ()
    remark: str = ""
    """why only one panel has it, such as "torch supplies this: nn.Linear" """
    missing_twin: str = ""
    """the error message if one panel lacks it without a reason"""
    torch_name: str = ""
    """what torch supplies in its place, such as "torch.nn.functional.linear" """
    quotes: tuple[Quote, ...] = ()
    """lines of the other panel that stand for it: the calls of `torch_name`"""

    @property
    def only(self) -> SideName | None:
        """The panel that has it, if the other has not."""
        if self.left is None:
            return "right"
        return "left" if self.right is None else None

    def walk(self) -> Iterator[Definition]:
        """This definition and all that it contains."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Tally:
    """Counts of the left panel's statements outside vjps, imports and the lines of defs apart."""

    statements: int = 0
    """those that can have a twin: all but the supplied ones"""
    aligned: int = 0
    one_to_one: int = 0
    explained: int = 0
    """statements without a twin whose group or definition says why"""
    supplied: int = 0
    """statements of definitions that torch supplies on the right"""

    @property
    def share(self) -> float:
        """The part of the statements that is aligned with a twin; 1 if there are no statements."""
        return self.aligned / self.statements if self.statements else 1.0


@dataclass(frozen=True)
class SourcePage:
    """Both panels of one file, aligned."""

    file: TwinFile
    title: str
    definitions: tuple[Definition, ...]
    texts: dict[SideName, str] = field(repr=False)
    """the whole source of each side; "" for a side that the file lacks"""
    tally: Tally = Tally()
    lede: str = ""
    """the first sentence of the file's docstring"""
    source: str = ""
    """the paper, from the docstring's "Source:"; "" if it names none"""
    remark: str = ""
    """for a file of one panel: what stands for it on the other"""
    missing_file: str = ""
    """the error message if one panel lacks the file without a reason"""
    quotes: tuple[Quote, ...] = ()
    """lines of the other panel that stand for a file of one panel"""

    def walk(self) -> Iterator[Definition]:
        """All definitions of the page, from top to bottom."""
        for definition in self.definitions:
            yield from definition.walk()

    @property
    def missing_twins(self) -> list[str]:
        """The error messages for definitions that one panel lacks without a reason."""
        messages = [d.missing_twin for d in self.walk() if d.missing_twin]
        return [self.missing_file, *messages] if self.missing_file else messages
