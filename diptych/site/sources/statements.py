"""Cut a function or class into statements."""

from __future__ import annotations

import ast
from typing import cast

from diptych.site.sources.page import Statement

Function = ast.FunctionDef | ast.AsyncFunctionDef


def head(node: Function | ast.ClassDef) -> Statement:
    """The decorators and the signature of a function or class."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return Statement(node, first, max(node.lineno, node.body[0].lineno - 1), "head")


def flatten(body: list[ast.stmt], lines: list[str], done: int) -> list[Statement]:
    """The statements of a body in order, blocks opened; lines after `done` go to the next one."""
    statements: list[Statement] = []
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            done = cast(int, node.end_lineno)
            continue
        is_block = isinstance(node, ast.If | ast.For | ast.While | ast.With)
        last = cast(int, node.body[0].lineno - 1 if is_block else node.end_lineno)  # type: ignore[attr-defined]
        first = done + 1
        blank = first < node.lineno and not lines[first - 1].strip()
        while not lines[first - 1].strip():
            first += 1
        kind = "vjp" if isinstance(node, Function) else "head" if is_block else "code"
        statements.append(Statement(node, first, max(first, last), kind, blank))  # type: ignore[arg-type]
        done = last
        if is_block:
            inner = node.body + getattr(node, "orelse", [])  # type: ignore[attr-defined]
            statements += flatten(inner, lines, done)
            done = cast(int, node.end_lineno)
    return statements
