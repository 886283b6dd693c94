"""Cut a source file into units (functions, classes, constants), and those into statements."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from diptych.site.sources.page import SideName, Statement

Function = ast.FunctionDef | ast.AsyncFunctionDef
BACKWARD = ("vjp", "backward")
"""The names of nested functions that are a hand-written backward pass."""


class Branch(ast.stmt):
    """The line `else:`, `try:`, `except ...:` or `finally:`, which has no node of its own."""

    _fields = ()

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word


@dataclass
class Unit:
    """A function, class or run of imports or constants, in the order of its file."""

    name: str
    """unique among its siblings: "LSTM", or "pixel_step.ELU" of a registered function"""
    kind: Literal["class", "function", "imports", "constants"]
    node: ast.AST
    statements: list[Statement]
    children: list[Unit] = field(default_factory=list)


def cut(text: str, side: SideName) -> list[Unit]:
    """The units of a file in order; every line but docstrings and blank ones is in one of them."""
    return _Cutter(text.splitlines(), side).units(ast.parse(text).body)


class _Cutter:
    """Cuts the lines of one side; `done` is the last line that belongs to a statement."""

    def __init__(self, lines: list[str], side: SideName) -> None:
        self.lines, self.side, self.done = lines, side, 0

    def units(self, body: list[ast.stmt]) -> list[Unit]:
        result: list[Unit] = []
        for node in body:
            if _is_docstring(node, body):
                self.done = _end(node)
            elif isinstance(node, Function):
                head = self._head(node)
                unit = Unit(_name(node), "function", node, [head, *self._body(node.body)])
                result.append(unit)
            elif isinstance(node, ast.ClassDef):
                unit = Unit(node.name, "class", node, [self._head(node)])
                for inner in self.units(node.body):
                    if inner.kind == "constants":
                        unit.statements += inner.statements
                    else:
                        unit.children.append(inner)
                result.append(unit)
            elif _is_string(node) and result and result[-1].kind == "constants":
                self._extend(result[-1].statements, node)
            else:
                imports = isinstance(node, ast.Import | ast.ImportFrom)
                name = "imports" if imports else _constant(node)
                (statement,) = self._statement(node)
                if imports and result and result[-1].kind == "imports":
                    result[-1].statements.append(statement)
                else:
                    kind: Any = "imports" if imports else "constants"
                    result.append(Unit(name, kind, node, [statement]))
        return result

    def _body(self, body: list[ast.stmt]) -> list[Statement]:
        """The statements of a body in order, blocks opened, without the docstring."""
        statements: list[Statement] = []
        for node in body:
            if _is_docstring(node, body):
                self.done = max(self.done, _end(node))
            elif _end(node) > self.done:  # not on the line of the def
                statements += self._statement(node)
        return statements

    def _statement(self, node: Any) -> list[Statement]:
        if isinstance(node, Function):
            if self.side == "left" and node.name in BACKWARD:
                return [self._take(node, _end(node), "vjp")]
            return [self._head(node), *self._body(node.body)]
        if isinstance(node, ast.If | ast.For | ast.While | ast.With):
            result = [self._head(node), *self._body(node.body)]
            orelse = getattr(node, "orelse", [])
            if orelse and not self.lines[orelse[0].lineno - 1].lstrip().startswith("elif"):
                result.append(self._branch("else"))
            return result + self._body(orelse)
        if isinstance(node, ast.Try):
            result = [self._branch("try"), *self._body(node.body)]
            for handler in node.handlers:
                result += [self._branch("except"), *self._body(handler.body)]
            for word, block in (("else", node.orelse), ("finally", node.finalbody)):
                result += [self._branch(word), *self._body(block)] if block else []
            return result
        return [self._take(node, _end(node))]

    def _head(self, node: Any) -> Statement:
        """The lines from the decorators to the colon of a function, class or block."""
        last = max(node.lineno, node.body[0].lineno - 1)
        while last > node.lineno and self.lines[last - 1].strip()[:1] in ("", "#"):
            last -= 1
        return self._take(node, last, "head")

    def _branch(self, word: str) -> Statement:
        lines = enumerate(self.lines[self.done :], self.done + 1)
        line = next(n for n, text in lines if text.lstrip().startswith(word))
        return self._take(Branch(word), line, "head")

    def _take(
        self, node: ast.AST, last: int, kind: Literal["code", "head", "vjp"] = "code"
    ) -> Statement:
        first = self.done + 1
        blank = not self.lines[first - 1].strip()
        while not self.lines[first - 1].strip():
            first += 1
        self.done = last
        return Statement(node, first, last, kind, blank)

    def _extend(self, statements: list[Statement], node: ast.stmt) -> None:
        """Add an attribute's docstring to its statement."""
        before = statements.pop()
        self.done = _end(node)
        statements.append(
            Statement(before.node, before.first, self.done, before.kind, before.blank_before)
        )


def _name(node: Function) -> str:
    """The name of a function; "pixel_step.ELU" for one that `pixel_step.register` decorates."""
    for decorator in node.decorator_list:
        name = ast.unparse(decorator)
        if node.name == "_" and name.endswith(".register"):
            kind = cast(ast.expr, node.args.args[0].annotation)
            return f"{name.removesuffix('.register')}.{ast.unparse(kind).rpartition('.')[2]}"
    return node.name


def _constant(node: ast.stmt) -> str:
    """The name that a statement outside of functions assigns, else its first word."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return names[0] if names else type(node).__name__.lower()


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_docstring(node: ast.stmt, body: list[ast.stmt]) -> bool:
    return node is body[0] and _is_string(node)


def _end(node: ast.AST) -> int:
    return cast(int, node.end_lineno)  # type: ignore[attr-defined]
